"""One call that chooses the picture by what the values are."""

from typing import Any, Literal, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError, quote_nearest
from pellucid.explanation import Explanation
from pellucid.plots.beeswarm import beeswarm
from pellucid.plots.force import force
from pellucid.plots.image import (
    heatmap,
    is_image,
    overlay,
    picked,
    picture,
    side_by_side,
)
from pellucid.plots.importance import importance
from pellucid.plots.naming import method_and_target, name_map, say_uncovered
from pellucid.plots.panels import Panel, draw_panels, kind_of
from pellucid.plots.parts import part_label, seen_parts
from pellucid.plots.samples import decision, table_heatmap
from pellucid.plots.scatter import scatter
from pellucid.plots.segments import segments
from pellucid.plots.series import series
from pellucid.plots.style import theme_of
from pellucid.plots.table import bars
from pellucid.plots.waterfall import waterfall

Kind = Literal[
    "auto", "overlay", "heatmap", "picture", "side_by_side", "bars", "series", "segments",
    "waterfall", "force", "importance", "beeswarm", "scatter", "decision",
]  # fmt: skip

DRAWN_ON_AXES = {
    "overlay": overlay,
    "heatmap": heatmap,
    "picture": picture,
    "bars": bars,
    "series": series,
    "segments": segments,
    "waterfall": waterfall,
    "force": force,
}
OF_ALL_SAMPLES = {
    "importance": importance,
    "beeswarm": beeswarm,
    "scatter": scatter,
    "heatmap": table_heatmap,
    "decision": decision,
}
"""Pictures of a whole table; "heatmap" of a picture is one of `DRAWN_ON_AXES`."""


def plot(
    explanation: Explanation,
    sample: int = 0,
    *,
    kind: Kind = "auto",
    ax: Axes | None = None,
    part: int | None = None,
    **options: Any,
) -> Axes | Figure:
    """Draw one sample and never show it; returns a new Figure, or `ax` where that is given.

    Pictures come side by side with their map (on `ax`: the overlay), series as lines on a
    coloured ground, everything else as bars. Of several inputs each gets a panel, with its share
    of the attribution; `part` picks one of them, counted from 0. Of one row of a table also
    "waterfall" and "force"; of the whole table, whatever `sample` is, "importance", "beeswarm",
    "scatter", "heatmap" and "decision". Where operations without a rule passed on their plain
    gradient, the picture says so.
    """
    drawn = _drawn(explanation, sample, kind, ax, part, options)
    return say_uncovered(drawn, {"": [explanation]})


def _drawn(
    explanation: Explanation,
    sample: int,
    kind: Kind,
    ax: Axes | None,
    part: int | None,
    options: dict[str, Any],
) -> Axes | Figure:
    known = dict.fromkeys(("auto", "side_by_side", *DRAWN_ON_AXES, *OF_ALL_SAMPLES))
    if kind not in known:
        raise InputError(
            f"kind is one of {', '.join(known)}; got {kind!r}. {quote_nearest(kind, known)}".strip()
        )
    if kind in OF_ALL_SAMPLES and (kind != "heatmap" or _first_table(explanation, part)):
        given = options if kind == "importance" else {"part": _table(explanation, part), **options}
        axes = OF_ALL_SAMPLES[kind](explanation, ax=ax, **given)
        return _figure_or(axes, ax)
    if part is None:
        fitting = _fitting(explanation, kind)
        picked(explanation, sample, fitting[0])
        if len(fitting) > 1:
            return _each_part(explanation, sample, fitting, kind, ax, options)
        part = fitting[0]
    if kind == "auto":
        kind = _natural(explanation, sample, part, ax)
    if kind == "side_by_side":
        if ax is not None:
            raise InputError("side_by_side draws three panels; leave out ax or take 'overlay'.")
        return side_by_side(explanation, sample, part=part, **options)
    axes = DRAWN_ON_AXES[kind](explanation, sample, part=part, ax=ax, **options)
    if ax is not None and kind in ("overlay", "heatmap"):
        _name_on(ax, explanation, sample, options)
    return _figure_or(axes, ax)


def _name_on(ax: Axes, explanation: Explanation, sample: int, options: dict[str, Any]) -> None:
    """Say whose map is on the caller's axes, unless they have a title of their own."""
    if not any(ax.get_title(loc=place) for place in ("left", "center", "right")):
        name_map(ax, explanation, sample, theme_of(options.get("theme", "light")))


def _figure_or(axes: Axes, ax: Axes | None) -> Axes | Figure:
    return cast(Figure, axes.get_figure(root=True)) if ax is None else axes


def _table(explanation: Explanation, part: int | None) -> int:
    """The number of the input that is a table; the first of several."""
    if part is not None:
        return part
    return next((i for i in range(len(explanation.parts)) if _first_table(explanation, i)), 0)


def _first_table(explanation: Explanation, part: int | None) -> bool:
    parts = explanation.parts
    chosen = parts[0 if part is None or not 0 <= part < len(parts) else part]
    return kind_of(chosen) == "table"


def _fitting(explanation: Explanation, kind: Kind) -> list[int]:
    """The inputs that were looked at and can be drawn so; the first where none can."""
    parts = explanation.parts
    seen = seen_parts(explanation)
    if kind in ("auto", "bars"):
        return seen
    if kind in ("waterfall", "force"):
        return [i for i in seen if kind_of(parts[i]) == "table"] or seen[:1]
    wanted = "series" if kind == "series" else "image"
    return [i for i in seen if kind_of(parts[i]) == wanted] or seen[:1]


def _each_part(
    explanation: Explanation,
    sample: int,
    parts: list[int],
    kind: Kind,
    ax: Axes | None,
    options: dict[str, Any],
) -> Figure:
    """One panel an input, the shares in their titles."""
    if ax is not None or kind not in ("auto", "overlay", "heatmap", "series"):
        names = ", ".join(f"{i} {explanation.parts[i].name}" for i in parts)
        raise InputError(
            f"this explanation has several inputs to draw: choose one with part= ({names})."
        )
    panels = [
        Panel(part_label(explanation, sample, i), explanation, sample, i, "all") for i in parts
    ]
    image = "heatmap" if kind == "heatmap" else "overlay"
    return draw_panels(panels, title=method_and_target(explanation, sample), image=image, **options)


def _natural(explanation: Explanation, sample: int, part: int, ax: Axes | None) -> Kind:
    chosen = picked(explanation, sample, part)
    if is_image(chosen):
        return "side_by_side" if ax is None else "overlay"
    return "series" if "step" in chosen.dims else "bars"
