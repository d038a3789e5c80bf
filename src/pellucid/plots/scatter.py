"""Dependence: what a column adds against its value, coloured by the column it works with."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from pellucid.explanation import Explanation
from pellucid.plots.columns import Columns, columns_of, title, value_ends, value_map
from pellucid.plots.style import (
    OKABE_ITO,
    Theme,
    ThemeName,
    axes_or_new,
    elide,
    number,
    style_axes,
    theme_of,
)

_BINS = 10


def scatter(
    explanation: Explanation,
    feature: str | int | None = None,
    *,
    colour: str | int | None = "auto",
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw each sample's attribution of one column against the column's value; returns the axes.

    The strongest column where none is named. `colour` is another column, "auto" for the one that
    explains most of the spread at equal values (an interaction), or None. Missing values stand
    apart at the left; categories side by side.
    """
    colours, columns = theme_of(theme), columns_of(explanation, part)
    chosen = int(columns.order(1)[0]) if feature is None else columns.column(feature)
    other = None
    if colour is not None and columns.values.shape[1] > 1:
        other = partner(columns, chosen) if colour == "auto" else columns.column(colour)
    axes = axes_or_new(ax, 6.4, 4.2, colours)
    style_axes(axes, colours)
    x, words = columns.inputs[:, chosen].copy(), columns.categories[chosen]
    missing = ~np.isfinite(x)
    if missing.any():
        there = x[~missing] if (~missing).any() else np.zeros(1)
        x[missing] = there.min() - 0.08 * (float(np.ptp(there)) or 1.0)
    if words is not None:
        # Points of one category side by side, in an order that repeats itself.
        x = x + 0.5 * (np.modf(np.arange(len(x)) * 0.618034)[0] - 0.5)
    _points(axes, x, columns, chosen, other, colours)
    if words is not None:
        there = np.unique(columns.inputs[:, chosen]).astype(int)
        axes.set_xticks(
            there, labels=[elide(words[i], 18) for i in there], parse_math=False,
            rotation=30 if len(there) > 4 else 0, ha="right" if len(there) > 4 else "center",
        )  # fmt: skip
    elif missing.any():
        axes.axvline(x[missing][0], color=colours.muted, linewidth=0.6, linestyle=":", zorder=0)
        axes.text(x[missing][0], 1.0, "missing", transform=axes.get_xaxis_transform(), fontsize=8,
                  ha="center", va="bottom", color=colours.muted)  # fmt: skip
    axes.axhline(0, color=colours.muted, linewidth=0.8, zorder=0)
    axes.set_xlabel(elide(columns.names[chosen], 50), color=colours.ink, fontsize=9,
                    parse_math=False)  # fmt: skip
    axes.set_ylabel(columns.amount, color=colours.ink, fontsize=9,
                    parse_math=False)  # fmt: skip
    title(axes, columns, colours)
    return axes


def partner(columns: Columns, chosen: int) -> int:
    """The column whose value explains most of what `chosen` adds at nearly equal own values.

    Samples are sorted by the chosen column and cut into ten; within each part, the correlation of
    what it adds with every other column, weighted by the spread there.
    """
    a, own = columns.values[:, chosen], columns.inputs[:, chosen]
    parts = np.array_split(np.argsort(np.nan_to_num(own), kind="stable"), min(_BINS, len(own)))
    strength = np.zeros(len(columns.names))
    for rows in parts:
        y = a[rows] - a[rows].mean()
        if len(rows) < 3 or not y.any():
            continue
        for j in range(len(strength)):
            strength[j] += _explained(y, columns.inputs[rows, j], columns.categories[j] is not None)
    strength[chosen] = -1.0
    return int(strength.argmax())


def _explained(y: np.ndarray, x: np.ndarray, category: bool) -> float:
    """How much of the spread of y goes with x: by groups of a category, else along a line."""
    if category:
        means = {g: y[x == g].mean() for g in np.unique(x) if (x == g).sum() > 1}
        return float(np.sqrt(sum((x == g).sum() * m**2 for g, m in means.items())))
    x = np.nan_to_num(x - np.nanmean(x)) if np.isfinite(x).any() else np.zeros(len(x))
    size = np.sqrt((x**2).sum())
    return float(abs(y @ x) / size) if size else 0.0


def _points(
    axes: Axes, x: np.ndarray, columns: Columns, chosen: int, other: int | None, theme: Theme
) -> None:
    y = columns.values[:, chosen]
    size = float(np.clip(6000 / max(len(x), 1), 6, 28))
    style = {"s": size, "linewidths": 0, "alpha": 0.85}
    if other is None:
        axes.scatter(x, y, color=theme.colour_map(False)(0.35), **style)
        return
    name, words, values = columns.names[other], columns.categories[other], columns.inputs[:, other]
    if words is not None:
        found, counts = np.unique(values.astype(int), return_counts=True)
        named = found[np.argsort(-counts, kind="stable")][: len(OKABE_ITO) - 1]
        rest = ~np.isin(values, named)
        for ink, code in zip(OKABE_ITO, named, strict=False):
            axes.scatter(x[values == code], y[values == code], color=ink,
                         label=elide(words[code], 24), **style)  # fmt: skip
        if rest.any():
            axes.scatter(x[rest], y[rest], color=theme.muted, label="others", **style)
        legend = axes.legend(
            title=elide(name, 30), loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
            fontsize=8, title_fontsize=8, labelcolor=theme.ink, markerscale=1.5,
        )  # fmt: skip
        legend.get_title().set_color(theme.ink)
        return
    there = values[np.isfinite(values)]
    low, high = value_ends(there) if len(there) else (0.0, 1.0)
    high = high if high > low else low + 1.0
    norm = Normalize(low, high, clip=True)
    shades = value_map(theme)(norm(np.nan_to_num(values, nan=low)))
    shades[~np.isfinite(values)] = (0.55, 0.55, 0.58, 1.0)
    axes.scatter(x, y, color=shades, **style)
    cax = axes.inset_axes((1.03, 0.1, 0.025, 0.8))
    bar = axes.figure.colorbar(ScalarMappable(norm, value_map(theme)), cax=cax)
    bar.set_ticks([low, high], labels=[number(low), number(high)])
    bar.set_label(elide(name, 40), color=theme.ink, fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8, colors=theme.muted, labelcolor=theme.ink)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
