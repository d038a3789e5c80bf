"""Waterfall: from what is expected to one sample's score, column by column."""

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from pellucid.explanation import Explanation
from pellucid.plots.columns import columns_of, require_sum, signs, title
from pellucid.plots.image import picked
from pellucid.plots.style import ThemeName, axes_or_new, elide, number, style_axes, theme_of
from pellucid.plots.table import top_features


def waterfall(
    explanation: Explanation,
    sample: int = 0,
    *,
    k: int = 10,
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the k strongest columns as steps from the base to the score; returns the axes.

    The strongest stands on top, next to the score; what is left is one step at the bottom. The
    base is f of the reference where the method has one, else the score less all attributions.
    Raises `InputError` for a method whose values do not add up.
    """
    require_sum(explanation, "waterfall")
    picked(explanation, sample, part)
    colours, columns = theme_of(theme), columns_of(explanation, part, sample)
    features = top_features(explanation, sample, k, part=part)
    steps = [(replace(f, name=elide(f.name, 34)).label, f.attribution) for f in features]
    rest = float(columns.values[sample].sum() - sum(a for _, a in steps))
    others = columns.values.shape[1] - len(features)
    if others:
        steps.append((f"{others} other column{'s' * (others > 1)}", rest))
    axes = axes_or_new(ax, 7.2, 1.7 + 0.4 * len(steps), colours)
    style_axes(axes, colours)
    ink = signs(colours)
    base = float(columns.base[sample])
    ends = base + float(columns.values[sample].sum())
    values = np.array([a for _, a in steps])
    tops = ends - np.concatenate([[0.0], np.cumsum(values)[:-1]])
    span = float(np.ptp(np.concatenate([tops, tops - values]))) or 1.0
    for row, (value, end) in enumerate(zip(values, tops, strict=True)):
        axes.barh(
            row, value, left=end - value, height=0.66, color=ink[value >= 0], linewidth=0,
            edgecolor=colours.ground, hatch=None if value >= 0 else "////",
        )  # fmt: skip
        axes.annotate(
            ("+" if value >= 0 else "") + number(value), (max(end, end - value), row),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=colours.ink,
        )  # fmt: skip
        if row + 1 < len(steps):
            axes.plot([end - value] * 2, [row - 0.33, row + 1.33], color=colours.muted,
                      linewidth=0.7, linestyle=":")  # fmt: skip
    axes.set_yticks(range(len(steps)), labels=[name for name, _ in steps], parse_math=False)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    low, high = min(*tops, base), max(*tops, base)
    axes.set_xlim(low - 0.06 * span, high + 0.16 * span)
    axes.axvline(base, color=colours.muted, linewidth=0.8, linestyle="--", zorder=0)
    axes.axvline(ends, color=colours.muted, linewidth=0.8, zorder=0)
    axes.set_xlabel(
        f"{columns.explained}: from {number(base)} "
        f"({columns.base_name}, dashed) to {number(ends)}",
        color=colours.ink, fontsize=9, parse_math=False,
    )  # fmt: skip
    title(axes, columns, colours, f"   f(x) = {number(float(columns.score[sample]))}")
    return axes
