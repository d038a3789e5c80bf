"""Pictures of explanations: every function returns what it drew and shows nothing."""

from pellucid.plots.beeswarm import beeswarm
from pellucid.plots.dispatch import plot
from pellucid.plots.effects import effect
from pellucid.plots.embedding import embedding, neighbours
from pellucid.plots.force import force
from pellucid.plots.grid import grid
from pellucid.plots.image import heatmap, overlay, picture, side_by_side
from pellucid.plots.importance import importance
from pellucid.plots.maps import feature_maps
from pellucid.plots.pixels import principal_colours, to_pixels
from pellucid.plots.samples import decision, table_heatmap
from pellucid.plots.scale import Scale, limit, reduce_channels
from pellucid.plots.scatter import scatter
from pellucid.plots.segments import segments
from pellucid.plots.series import series
from pellucid.plots.style import OKABE_ITO
from pellucid.plots.table import bars, top_features
from pellucid.plots.tiles import frame, image_grid, mosaic
from pellucid.plots.waterfall import waterfall

__all__ = [
    "OKABE_ITO",
    "Scale",
    "bars",
    "beeswarm",
    "decision",
    "effect",
    "embedding",
    "feature_maps",
    "force",
    "frame",
    "grid",
    "heatmap",
    "image_grid",
    "importance",
    "limit",
    "mosaic",
    "neighbours",
    "overlay",
    "picture",
    "plot",
    "principal_colours",
    "reduce_channels",
    "scatter",
    "segments",
    "series",
    "side_by_side",
    "table_heatmap",
    "to_pixels",
    "top_features",
    "waterfall",
]
