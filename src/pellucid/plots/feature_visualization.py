"""What features like most: one panel an optimised input, beside what real inputs reach."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.plots.style import (
    OKABE_ITO,
    Theme,
    ThemeName,
    elide,
    new_figure,
    number,
    settle,
    short_name,
    style_axes,
    theme_of,
)

if TYPE_CHECKING:
    from pellucid.inside.feature_visualization import FeatureVisualization


def features(
    found: "FeatureVisualization",
    *,
    columns: int = 4,
    course: bool = False,
    transparent: bool | None = None,
    max_items: int = 16,
    theme: ThemeName = "light",
) -> Figure:
    """Draw each optimised input with its name and what it reaches; returns the figure.

    Pictures as pictures, series as lines, tables as bars. `course` adds a panel with the objective
    along the steps, and dashed what the best real input reaches. `transparent` fades what the
    objective hardly looked at; by default of MACO only. Raises `InputError` for a volume.
    """
    colours, count = theme_of(theme), min(len(found), max_items)
    panels = count + int(course)
    across = max(1, min(columns, panels))
    down = -(-panels // across)
    figure = new_figure(2.6 * across, 2.9 * down, colours)
    axes = figure.subplots(down, across, squeeze=False).reshape(-1)
    fade = found.parametrisation == "maco" if transparent is None else transparent
    for k in range(count):
        _panel(axes[k], found, k, fade, colours)
        real = ""
        if found.best is not None:
            real = f"\nbest real input {number(float(found.best[k]))}"
        axes[k].set_title(
            f"{elide(short_name(found.names[k]), 30)}\n{found.explained}"
            f" {number(float(found.reached[k]))}{real}",
            fontsize=8, color=colours.ink, parse_math=False,
        )  # fmt: skip
    if course:
        _course(axes[count], found, count, colours)
    for left in axes[panels:]:
        left.set_axis_off()
    more = f"; {len(found) - count} more" if len(found) > count else ""
    of = f"input {found.input_name}; " if found.input_name else ""
    figure.supxlabel(
        f"{of}{found.parametrisation}, {found.course.shape[1]} steps, seed {found.seed}{more}",
        fontsize=8, color=colours.muted,
    )  # fmt: skip
    return settle(figure)


def _panel(axes: Axes, found: "FeatureVisualization", k: int, fade: bool, theme: Theme) -> None:
    if {"height", "width"} <= set(found.dims):
        if "depth" in found.dims:
            raise InputError("A volume has no picture of its own: draw slices of found.images.")
        picture = found.pictures[k]
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, axis=-1)
        if fade:
            size = found.opacity[k]
            high = float(np.percentile(size, 98)) or 1.0
            picture = np.concatenate([picture, np.clip(size / high, 0.05, 1)[..., None]], axis=-1)
        axes.imshow(picture, interpolation="nearest")
        axes.set_axis_off()
        return
    style_axes(axes, theme)
    axes.set_facecolor(theme.ground)
    values = found.images[k]
    if "step" in found.dims:
        lines = values if found.dims.index("channel") == 1 else values.T
        for channel, line in enumerate(lines):
            axes.plot(line, color=OKABE_ITO[channel % 7], linewidth=1.2)
        axes.set_xlabel("step", fontsize=8, color=theme.ink)
        return
    flat = values.reshape(-1)
    order = np.argsort(-np.abs(flat), kind="stable")[:10][::-1]
    names = found.columns or [f"feature {i}" for i in range(len(flat))]
    axes.barh(range(len(order)), flat[order], color=theme.colour_map(False)(0.35))
    axes.set_yticks(range(len(order)), labels=[elide(names[i], 18) for i in order], fontsize=7,
                    parse_math=False)  # fmt: skip
    axes.axvline(0, color=theme.muted, linewidth=0.8)


def _course(axes: Axes, found: "FeatureVisualization", count: int, theme: Theme) -> None:
    style_axes(axes, theme)
    axes.set_facecolor(theme.ground)
    for k in range(count):
        colour = OKABE_ITO[k % 7]
        name = elide(short_name(found.names[k]), 18)
        style = ("-", ":", "-.")[k // 7 % 3]
        axes.plot(found.course[k], color=colour, linewidth=1.2, linestyle=style, label=name)
        if found.best is not None:
            axes.axhline(float(found.best[k]), color=colour, linewidth=0.8, linestyle="--")
    # Said in the title: below the axes is the legend.
    best = "" if found.best is None else "\n(dashed: best real input)"
    axes.set_title(f"{found.explained} by step{best}", fontsize=8, color=theme.ink)
    legend = axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1 + (count > 3), fontsize=7,
        frameon=False, labelcolor=theme.ink,
    )  # fmt: skip
    for text in legend.get_texts():  # a class may be called "$a"
        text.set_parse_math(False)
