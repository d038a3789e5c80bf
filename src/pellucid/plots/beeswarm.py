"""Beeswarm: every sample's attribution of every column, coloured by the column's value."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from pellucid.explanation import Explanation
from pellucid.plots.columns import columns_of, relative, title, value_map
from pellucid.plots.style import Theme, ThemeName, axes_or_new, elide, style_axes, theme_of

MOST_POINTS = 2000
_HALF = 0.42
"""How far from its line a swarm may spread."""


def beeswarm(
    explanation: Explanation,
    *,
    k: int = 10,
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw a line of points for each of the k strongest columns; returns the axes.

    A point is a sample, its place what the column added there, its colour the column's value from
    low to high; grey for categories and what is missing. Beyond 2000 samples an even choice of
    them is drawn, and the title says so.
    """
    colours, columns = theme_of(theme), columns_of(explanation, part)
    order = columns.order(k)
    count = len(columns.values)
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int))
    axes = axes_or_new(ax, 7.4, 1.3 + 0.42 * len(order), colours)
    style_axes(axes, colours)
    values = columns.values[np.ix_(rows, order)]
    room = float(np.ptp(values)) or 1.0
    size = float(np.clip(2500 / max(len(rows), 1), 5, 24))
    for line, column in enumerate(order):
        x = values[:, line]
        place = line + _swarm(x, room)
        shade = relative(columns.inputs[rows, column])
        if columns.categories[column] is not None:
            shade = np.full(len(rows), np.nan)
        axes.scatter(
            x, place, s=size, linewidths=0, zorder=3, color=_shades(shade, colours), alpha=0.85
        )
        axes.axhline(line, color=colours.muted, linewidth=0.5, alpha=0.4, zorder=1)
    names = [elide(columns.names[c], 34) for c in order]
    axes.set_yticks(range(len(order)), labels=names, parse_math=False)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.axvline(0, color=colours.muted, linewidth=0.8, zorder=2)
    below, above = columns.directions
    axes.set_xlabel(f"← {below}   {columns.amount}   {above} →", color=colours.ink,
                    fontsize=9, parse_math=False)  # fmt: skip
    shown = f", {len(rows)} of {count} samples" if len(rows) < count else ""
    title(axes, columns, colours, shown)
    grey = [columns.categories[c] is not None or np.isnan(columns.inputs[rows, c]).any()
            for c in order]  # fmt: skip
    value_bar(axes, colours, grey=any(grey))
    return axes


def value_bar(axes: Axes, theme: Theme, *, grey: bool = False) -> None:
    """The bar that says which colour is a high value, inside the axes' right margin.

    With `grey` also what grey points are.
    """
    cax = axes.inset_axes((1.02, 0.15, 0.018, 0.7))
    mappable = ScalarMappable(Normalize(0, 1), value_map(theme))
    bar = axes.figure.colorbar(mappable, cax=cax)
    bar.set_ticks([0, 1], labels=["low", "high"])
    words = "value of the column" + ("\n(grey: categories, missing)" if grey else "")
    bar.set_label(words, color=theme.ink, fontsize=8)
    bar.ax.tick_params(labelsize=8, colors=theme.muted, labelcolor=theme.ink, length=0)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _shades(shade: np.ndarray, theme: Theme) -> np.ndarray:
    grey = np.array([0.55, 0.55, 0.58, 1.0])
    coloured = value_map(theme)(np.nan_to_num(shade, nan=0.5))
    return np.where(np.isfinite(shade)[:, None], coloured, grey)


def _swarm(x: np.ndarray, room: float, cells: int = 100) -> np.ndarray:
    """Offsets that pile points of one place up on both sides of their line, widest at `_HALF`."""
    cell = np.floor((x - x.min()) / room * cells).astype(int)
    heights = np.zeros(len(x))
    for number in np.unique(cell):
        inside = np.flatnonzero(cell == number)
        layers = np.arange(len(inside))
        heights[inside] = np.where(layers % 2, 1, -1) * ((layers + 1) // 2)
    return heights * min(_HALF / max(np.abs(heights).max(), 1), 0.07)
