"""Pictures of explanations: every function returns what it drew and shows nothing."""

from pellucid.inputs.image import read_image
from pellucid.plots.beeswarm import beeswarm
from pellucid.plots.board import board, distributions, panel
from pellucid.plots.boxes import boxes
from pellucid.plots.dispatch import plot
from pellucid.plots.effects import effect
from pellucid.plots.embedding import embedding, neighbours
from pellucid.plots.feature_visualization import features
from pellucid.plots.files import read_images, save_image, save_images
from pellucid.plots.force import force
from pellucid.plots.grid import grid
from pellucid.plots.image import heatmap, overlay, picture, side_by_side
from pellucid.plots.importance import importance
from pellucid.plots.maps import feature_maps
from pellucid.plots.masks import masks
from pellucid.plots.performance import (
    calibration,
    class_balance,
    confusion,
    histogram,
    precision_recall,
    residuals,
    roc,
)
from pellucid.plots.pixels import principal_colours, to_pixels
from pellucid.plots.receptive import receptive_field
from pellucid.plots.samples import decision, table_heatmap
from pellucid.plots.scale import Scale, limit, reduce_channels
from pellucid.plots.scatter import scatter
from pellucid.plots.segments import segments
from pellucid.plots.series import series
from pellucid.plots.skeletons import MPII_BONES, MPII_JOINTS, skeletons
from pellucid.plots.statistics import activation_statistics
from pellucid.plots.style import OKABE_ITO
from pellucid.plots.table import bars, top_features
from pellucid.plots.tiles import frame, image_grid, mosaic
from pellucid.plots.waterfall import waterfall
from pellucid.plots.weights import dense_weights, filters

__all__ = [
    "MPII_BONES",
    "MPII_JOINTS",
    "OKABE_ITO",
    "Scale",
    "activation_statistics",
    "bars",
    "beeswarm",
    "board",
    "boxes",
    "calibration",
    "class_balance",
    "confusion",
    "decision",
    "dense_weights",
    "distributions",
    "effect",
    "embedding",
    "feature_maps",
    "features",
    "filters",
    "force",
    "frame",
    "grid",
    "heatmap",
    "histogram",
    "image_grid",
    "importance",
    "limit",
    "masks",
    "mosaic",
    "neighbours",
    "overlay",
    "panel",
    "picture",
    "plot",
    "precision_recall",
    "principal_colours",
    "read_image",
    "read_images",
    "receptive_field",
    "reduce_channels",
    "residuals",
    "roc",
    "save_image",
    "save_images",
    "scatter",
    "segments",
    "series",
    "side_by_side",
    "skeletons",
    "table_heatmap",
    "to_pixels",
    "top_features",
    "waterfall",
]
