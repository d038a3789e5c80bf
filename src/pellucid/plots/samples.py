"""Many samples at once: as a map of samples by columns, and as paths from base to score."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.columns import Columns, adds_up, columns_of, require_sum, title, value_map
from pellucid.plots.image import colour_bar
from pellucid.plots.naming import method_of
from pellucid.plots.scale import Scale
from pellucid.plots.style import Theme, ThemeName, axes_or_new, elide, number, style_axes, theme_of
from pellucid.units import by_unit

_MOST_PATHS = 200


def table_heatmap(
    explanation: Explanation,
    *,
    k: int = 10,
    part: int = 0,
    ax: Axes | None = None,
    sort: str | None = "score",
    percentile: float = 99.0,
    theme: ThemeName = "light",
) -> Axes:
    """Draw samples from left to right, columns from top to bottom; returns the axes.

    Red adds to the score, blue takes from it; the line above is f(x). Samples are in the order of
    their score, or as given with `sort=None`; columns beyond the k strongest are summed in the
    last row.
    """
    if sort not in {"score", None}:
        raise InputError(f'Expected sort to be "score" or None, got {sort!r}.')
    colours, columns = theme_of(theme), columns_of(explanation, part)
    order = columns.order(k)
    names = [elide(columns.names[c], 34) for c in order]
    rows = np.argsort(columns.score, kind="stable") if sort else np.arange(len(columns.score))
    values = columns.values[rows][:, order].T
    left = columns.values[rows].sum(axis=1) - values.sum(axis=0)
    if len(order) < len(columns.names):
        others = len(columns.names) - len(order)
        values = np.vstack([values, left])
        names.append(f"{others} other column{'s' * (others > 1)}")
    axes = axes_or_new(ax, 8, 2.0 + 0.36 * len(names), colours)
    scale = Scale.of([values], percentile=percentile, signed=True)
    axes.imshow(scale.colours(values, colours), aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(names)), labels=names, parse_math=False)
    axes.tick_params(colors=colours.muted, labelcolor=colours.ink)
    for side in axes.spines.values():
        side.set_visible(False)
    by = "in the order of f(x)" if sort else "as given"
    axes.set_xlabel(f"{len(rows)} samples, {by}", color=colours.ink, fontsize=9)
    line = axes.inset_axes((0.0, 1.02, 1.0, 0.16), sharex=axes)
    line.plot(np.arange(len(rows)), columns.score[rows], color=colours.ink, linewidth=1.2)
    if adds_up(explanation):
        line.axhline(float(columns.base.mean()), color=colours.muted, linewidth=0.7, linestyle="--")
    line.set_ylabel("f(x)", color=colours.ink, fontsize=8, rotation=0, ha="right", va="center")
    line.set_facecolor("none")
    line.tick_params(labelbottom=False, labelsize=7, colors=colours.muted, bottom=False)
    for side in ("top", "right", "bottom", "left"):
        line.spines[side].set_visible(False)
    cax = axes.inset_axes((1.02, 0.0, 0.018, 1.0))
    colour_bar(axes.figure, cax, scale, "", colours, method=explanation.method)  # pyright: ignore[reportArgumentType]
    words = f"{method_of(columns.method, elide(columns.target, 40))}   {scale.words()}"
    line.set_title(words, color=colours.ink, fontsize=10, loc="left", parse_math=False)
    return axes


def decision(
    explanation: Explanation,
    *,
    samples: list[int] | None = None,
    k: int = 12,
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw each sample as a path from the base at the bottom to its score on top; returns the axes.

    A step to the right at a column is what the column added. Columns rise by mean |a|; those
    beyond the k strongest are one step at the bottom. Raises `InputError` for a method whose values
    do not add up. Without `samples` an even choice of at most
    200 is drawn. With one sample its values stand at the steps.
    """
    colours, columns = theme_of(theme), columns_of(explanation, part)
    require_sum(explanation, "decision")
    rows = _rows(columns, samples)
    order = columns.order(k)[::-1]
    steps = columns.values[rows][:, order]
    others = len(columns.names) - len(order)
    names = [elide(columns.names[c], 34) for c in order]
    if others:
        rest = columns.values[rows].sum(axis=1) - steps.sum(axis=1)
        steps = np.column_stack([rest, steps])
        names = [f"{others} other column{'s' * (others > 1)}", *names]
    base = columns.base[rows]
    paths = np.column_stack([base, base[:, None] + np.cumsum(steps, axis=1)])
    axes = axes_or_new(ax, 6.8, 1.6 + 0.36 * len(names), colours)
    style_axes(axes, colours)
    heights = np.arange(paths.shape[1]) - 0.5
    norm = Normalize(float(paths[:, -1].min()), float(paths[:, -1].max()))
    if norm.vmin == norm.vmax:
        norm = Normalize(float(norm.vmin or 0) - 1, float(norm.vmax or 0) + 1)
    lines = [np.column_stack([path, heights]) for path in paths]
    axes.add_collection(
        LineCollection(
            lines,
            colors=value_map(colours)(norm(paths[:, -1])),
            linewidths=1.6 if len(rows) <= 20 else 0.8,
            alpha=0.9 if len(rows) <= 20 else 0.6,
        )
    )
    axes.autoscale_view()
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)), labels=names, parse_math=False)
    axes.grid(axis="y", color=colours.muted, alpha=0.25, linewidth=0.6)
    axes.axvline(float(base.mean()), color=colours.muted, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xlabel(f"{columns.explained}, from {number(float(base.mean()))} (dashed) upwards",
                    color=colours.ink, fontsize=9, parse_math=False)  # fmt: skip
    if len(rows) == 1:
        _values(axes, explanation, part, rows[0], order, others, paths[0], colours)
    else:
        cax = axes.inset_axes((1.02, 0.15, 0.02, 0.7))
        bar = axes.figure.colorbar(ScalarMappable(norm, value_map(colours)), cax=cax)
        bar.set_label("f(x)", color=colours.ink, fontsize=8)
        bar.ax.tick_params(labelsize=8, colors=colours.muted, labelcolor=colours.ink)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    shown = f", {len(rows)} of {len(columns.score)} samples"
    title(axes, columns, colours, shown if len(rows) < len(columns.score) else "")
    return axes


def _rows(columns: Columns, samples: list[int] | None) -> np.ndarray:
    count = len(columns.score)
    if samples is None:
        return np.unique(np.linspace(0, count - 1, min(count, _MOST_PATHS)).astype(int))
    rows = np.asarray(samples, dtype=int)
    if not len(rows) or rows.min() < 0 or rows.max() >= count:
        raise InputError(f"Expected samples from 0 to {count - 1}, got {samples!r}.")
    return rows


def _values(
    axes: Axes,
    explanation: Explanation,
    part: int,
    sample: int,
    order: np.ndarray,
    others: int,
    path: np.ndarray,
    theme: Theme,
) -> None:
    from pellucid.plots.table import value_words

    chosen = by_unit(explanation.parts[part])
    for line, column in enumerate(order, start=int(others > 0)):
        value = chosen.value_at(int(sample), int(column))
        if value is not None:
            right = max(path[line], path[line + 1])
            axes.annotate(
                f"({value_words(value)})", (right, line), xytext=(6, -3),
                textcoords="offset points", fontsize=8, color=theme.muted, parse_math=False,
            )  # fmt: skip
