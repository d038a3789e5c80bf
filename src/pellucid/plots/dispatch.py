"""One call that chooses the picture by what the values are."""

from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.image import heatmap, is_image, overlay, picked, picture, side_by_side
from pellucid.plots.series import series
from pellucid.plots.table import bars

Kind = Literal["auto", "overlay", "heatmap", "picture", "side_by_side", "bars", "series"]

DRAWN_ON_AXES = {
    "overlay": overlay,
    "heatmap": heatmap,
    "picture": picture,
    "bars": bars,
    "series": series,
}


def plot(
    explanation: Explanation,
    sample: int = 0,
    *,
    kind: Kind = "auto",
    ax: Axes | None = None,
    part: int = 0,
    **options: Any,
) -> Axes | Figure:
    """Draw one sample and never show it; returns the axes, or the figure for several panels.

    Pictures come side by side with their map (on `ax`: the overlay), series as lines on a
    coloured ground, everything else as bars.
    """
    if kind == "auto":
        kind = _natural(explanation, sample, part, ax)
    if kind == "side_by_side":
        if ax is not None:
            raise InputError("side_by_side draws three panels; leave out ax or take 'overlay'.")
        return side_by_side(explanation, sample, part=part, **options)
    if kind not in DRAWN_ON_AXES:
        known = ", ".join(["auto", "side_by_side", *DRAWN_ON_AXES])
        raise InputError(f"kind is one of {known}; got {kind!r}.")
    return DRAWN_ON_AXES[kind](explanation, sample, part=part, ax=ax, **options)


def _natural(explanation: Explanation, sample: int, part: int, ax: Axes | None) -> Kind:
    chosen = picked(explanation, sample, part)
    if is_image(chosen):
        return "side_by_side" if ax is None else "overlay"
    return "series" if "step" in chosen.dims else "bars"
