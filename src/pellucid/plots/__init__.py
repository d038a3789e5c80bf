"""Pictures of explanations: every function returns what it drew and shows nothing."""

from pellucid.plots.dispatch import plot
from pellucid.plots.grid import grid
from pellucid.plots.image import heatmap, overlay, picture, side_by_side
from pellucid.plots.scale import Scale, limit, reduce_channels
from pellucid.plots.series import series
from pellucid.plots.style import OKABE_ITO
from pellucid.plots.table import bars, top_features

__all__ = [
    "OKABE_ITO",
    "Scale",
    "bars",
    "grid",
    "heatmap",
    "limit",
    "overlay",
    "picture",
    "plot",
    "reduce_channels",
    "series",
    "side_by_side",
    "top_features",
]
