"""Panels of any kind on one sheet: for several inputs, and for methods on tables and series."""

import inspect
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.explanation import Explanation, Part
from pellucid.plots.image import colour_bar, heatmap, image_map, is_image, overlay, signed_part
from pellucid.plots.parts import looked_at
from pellucid.plots.scale import Reduction, Scale
from pellucid.plots.series import series, step_values
from pellucid.plots.style import ThemeName, elide, new_figure, settle, theme_of, wrap
from pellucid.plots.table import bars

ACROSS = 3
"""Panels in one line, where nothing else says how many."""


class Panel(NamedTuple):
    """One input of one explanation under its title; panels of one `group` share their scale."""

    title: str
    explanation: Explanation
    sample: int
    part: int
    group: str


def kind_of(part: Part) -> Literal["image", "series", "table"]:
    """How such an input is drawn."""
    if is_image(part):
        return "image"
    return "series" if "step" in part.dims else "table"


def draw_panels(
    panels: Sequence[Panel],
    *,
    title: str = "",
    across: int | None = None,
    image: Literal["overlay", "heatmap"] = "overlay",
    percentile: float = 99.0,
    reduction: Reduction = "sum",
    theme: ThemeName = "light",
    **options: Any,
) -> Figure:
    """Draw every panel as its kind of input asks for; returns the figure.

    Other options go to those of `overlay`, `series` and `bars` that know them.
    """
    colours = theme_of(theme)
    kinds = [kind_of(p.explanation.parts[p.part]) for p in panels]
    across = min(across or ACROSS, len(panels))
    lines = -(-len(panels) // across)
    columns = [kinds[c::across] for c in range(across)]
    widths = [max({"image": 3.3, "series": 6.0, "table": 5.2}[k] for k in c) for c in columns]
    rows = [kinds[r * across : (r + 1) * across] for r in range(lines)]
    heights = [max({"image": 3.0, "series": 2.4, "table": 3.4}[k] for k in r) for r in rows]
    figure = new_figure(sum(widths) + 0.6, sum(heights) + 0.6, colours)
    space = figure.add_gridspec(lines, across, width_ratios=widths, height_ratios=heights)
    scales = _scales(panels, kinds, percentile, reduction)
    drawn: dict[str, list[Axes]] = {}
    draw = {"image": overlay if image == "overlay" else heatmap, "series": series, "table": bars}
    for index, (panel, kind) in enumerate(zip(panels, kinds, strict=True)):
        axes = figure.add_subplot(space[divmod(index, across)])
        axes.set_facecolor(colours.ground)
        e, sample, part = panel.explanation, panel.sample, panel.part
        if not looked_at(e, part):
            axes.set_axis_off()
            axes.text(
                0.5, 0.5, f"{e.method} does not look at this input", ha="center", va="center",
                transform=axes.transAxes, color=colours.muted, fontsize=9, parse_math=False,
            )  # fmt: skip
        else:
            scale = scales.get((panel.group, kind))
            given = _known(draw[kind], {**options, "reduction": reduction, "scale": scale})
            draw[kind](e, sample, part=part, ax=axes, theme=theme, **given)
            if scale is not None:
                cax = axes.inset_axes((1.02, 0.0, 0.025, 1.0))
                colour_bar(figure, cax, scale, "", colours, method=e.method)
            else:
                drawn.setdefault(panel.group, []).append(axes)
                last = index == max(i for i, k in enumerate(kinds) if k == "table")
                legend = axes.get_legend()
                if legend is not None and not last:
                    legend.remove()
        words = wrap(panel.title, 32 if kind == "image" else 50, 4)
        axes.set_title(words, loc="left", color=colours.ink, fontsize=10, parse_math=False)
    for group in drawn.values():
        low = min(axes.get_xlim()[0] for axes in group)
        high = max(axes.get_xlim()[1] for axes in group)
        for axes in group:
            axes.set_xlim(low, high)
    if title:
        figure.suptitle(elide(title, 90), color=colours.ink, fontsize=11, parse_math=False)
    return settle(figure)


def _known(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Those options that this drawing function takes."""
    taken = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in taken}


def _scales(
    panels: Sequence[Panel], kinds: Sequence[str], percentile: float, reduction: Reduction
) -> dict[tuple[str, str], Scale]:
    """One scale for the maps, and one for the series, of every group; bars share their axis."""
    maps: dict[tuple[str, str], list[np.ndarray]] = {}
    signs: dict[tuple[str, str], bool] = {}
    for panel, kind in zip(panels, kinds, strict=True):
        part = panel.explanation.parts[panel.part]
        if kind == "table" or not looked_at(panel.explanation, panel.part):
            continue
        values_of = image_map if kind == "image" else step_values
        key = (panel.group, kind)
        maps.setdefault(key, []).append(values_of(part, panel.sample, reduction))
        signed = reduction != "abs_sum" and signed_part(panel.explanation, panel.part)
        signs[key] = signs.get(key, False) or signed
    return {k: Scale.of(m, percentile=percentile, signed=signs[k]) for k, m in maps.items()}
