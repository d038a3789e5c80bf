"""Bars of what each column counts for over a data set, with intervals."""

import numpy as np
from matplotlib.axes import Axes

from pellucid.explanation import Explanation
from pellucid.plots.naming import method_words
from pellucid.plots.style import ThemeName, axes_or_new, elide, style_axes, theme_of


def importance(
    explanation: Explanation,
    *,
    k: int = 10,
    ax: Axes | None = None,
    level: float = 0.95,
    seed: int = 0,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the k columns of largest mean |a| with bootstrap intervals; returns the axes."""
    colours = theme_of(theme)
    found = explanation.importance(level=level, seed=seed)
    rows = found.top(k).rows
    axes = axes_or_new(ax, 6.4, 1.3 + 0.36 * len(rows), colours)
    style_axes(axes, colours)
    means = np.array([mean for _, mean, _, _ in rows])
    errors = np.array([[m - low, high - m] for _, m, low, high in rows]).T
    axes.barh(
        range(len(rows)), means, height=0.66, color=colours.colour_map(False)(0.35), linewidth=0,
        xerr=np.maximum(errors, 0), error_kw={"ecolor": colours.ink, "elinewidth": 1.1,
                                              "capsize": 3},
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), labels=[elide(r[0], 34) for r in rows], parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color=colours.muted, linewidth=0.8)
    axes.set_xlabel(
        f"{found.statistic} over {found.count} samples, {level:.0%} interval",
        color=colours.ink, fontsize=9, parse_math=False,
    )  # fmt: skip
    left_out = len(found) - len(rows)
    axes.set_title(
        f"{method_words(explanation)}: importance"
        + (", classes mixed (each row's own)" if found.note else "")
        + (f" ({left_out} smaller ones left out)" if left_out else ""),
        color=colours.ink, fontsize=10, loc="left", parse_math=False,
    )  # fmt: skip
    return axes
