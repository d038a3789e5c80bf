"""Pictures of how well a model does: curves, confusion, calibration, residuals, histograms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

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

if TYPE_CHECKING:
    from matplotlib.typing import LegendLocType, LineStyleType

    from pellucid.board.curves import Curves
    from pellucid.board.performance import Calibration, Regression

_DASHES: "tuple[LineStyleType, ...]" = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)))
"""As many as share no divisor with the colours: the first 40 lines are told apart by the pair."""

_MOST_CELLS = 12
_MOST_INSIDE = 4
LEGEND_ROW = 0.17
"""The height of a legend's line, in inches."""


def _title(axes: Axes, text: str, theme: Theme) -> None:
    axes.set_title(text, color=theme.ink, fontsize=10, loc="left", parse_math=False)


def _labels(axes: Axes, x: str, y: str, theme: Theme) -> None:
    axes.set_xlabel(x, color=theme.ink, fontsize=9, parse_math=False)
    axes.set_ylabel(y, color=theme.ink, fontsize=9, parse_math=False)


def _share(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _colour(place: int, theme: Theme) -> str:
    colour = OKABE_ITO[place % len(OKABE_ITO)]
    return theme.ink if colour == "#000000" else colour


def _line(place: int, theme: Theme) -> "tuple[str, LineStyleType]":
    """A colour and a dash that no other of 40 lines has together."""
    return _colour(place, theme), _DASHES[place % len(_DASHES)]


def _legend(axes: Axes, where: "LegendLocType", theme: Theme, **options: Any) -> None:
    made = axes.legend(loc=where, fontsize=7.5, frameon=False, labelcolor=theme.ink, **options)
    for text in made.get_texts():
        text.set_parse_math(False)


def _legend_above(axes: Axes, theme: Theme) -> None:
    """A legend that covers no data: on the line of the title, to the right."""
    _legend(axes, "lower right", theme, bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2,
            columnspacing=1.0, handlelength=1.4)  # fmt: skip


def legend_rows(curves: int) -> int:
    """How many lines the legend of so many curves takes below the axes; few stand inside."""
    return 0 if curves <= _MOST_INSIDE else -(-curves // 2)


def _legend_of_curves(axes: Axes, where: "LegendLocType", curves: int, theme: Theme) -> None:
    """In the corner that is mostly free; of many curves below, where it covers none."""
    if legend_rows(curves):
        # Below ticks and label, whose heights are those of fonts and not of the axes.
        below = ScaledTranslation(0, -0.5, axes.figure.dpi_scale_trans)
        _legend(axes, "upper center", theme, bbox_to_anchor=(0.5, 0), ncols=2, columnspacing=1.0,
                bbox_transform=axes.transAxes + below, borderaxespad=0.0)  # fmt: skip
    elif curves:
        _legend(axes, where, theme)


def confusion(
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    most: int = _MOST_CELLS,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw a confusion matrix: a row a label, coloured by the share of the label's rows.

    Of more than `most` classes those that are most often confused are drawn, each pair's two.
    """
    colours = theme_of(theme)
    matrix = np.asarray(matrix)
    kept = most_confused(matrix, most)
    part = matrix[np.ix_(kept, kept)]
    shares = part / np.maximum(matrix[kept].sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.42 * len(kept)
    axes = axes_or_new(ax, side + 1.0, side, colours)
    axes.imshow(shares, cmap=colours.unsigned, vmin=0, vmax=1, aspect="equal")
    size = 9 if len(kept) <= 6 else 7
    for i, j in np.ndindex(*part.shape):
        if part[i, j] or len(kept) <= 6:
            ink = "#000000" if shares[i, j] > 0.6 else "#ffffff"
            axes.text(j, i, number(float(part[i, j])), ha="center", va="center", color=ink,
                      fontsize=size)  # fmt: skip
    words = [elide(names[k], 18) for k in kept]
    slanted = max(map(len, words)) > 4
    axes.set_xticks(range(len(kept)), labels=words, parse_math=False, fontsize=8,
                    rotation=40 if slanted else 0, ha="right" if slanted else "center")  # fmt: skip
    axes.set_yticks(range(len(kept)), labels=words, parse_math=False, fontsize=8)
    axes.tick_params(colors=colours.muted, labelcolor=colours.ink, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _labels(axes, "predicted", "label", colours)
    left = len(matrix) - len(kept)
    _title(axes, "Confusion" + (f" ({left} classes left out)" if left else ""), colours)
    return axes


def most_confused(matrix: np.ndarray, most: int) -> np.ndarray:
    """The numbers of at most so many classes, with the pairs most often confused first to enter."""
    if len(matrix) <= most:
        return np.arange(len(matrix))
    wrong = np.asarray(matrix).copy()
    np.fill_diagonal(wrong, 0)
    kept: list[int] = []
    for cell in np.argsort(-wrong, axis=None, kind="stable"):
        pair = [int(k) for k in np.unravel_index(cell, wrong.shape)]
        fresh = [k for k in dict.fromkeys(pair) if k not in kept]
        if len(kept) + len(fresh) > most or not wrong.flat[cell]:
            break
        kept += fresh
    return np.array(sorted(kept or range(most)))


def roc(curves: "Curves", *, ax: Axes | None = None, theme: ThemeName = "light") -> Axes:
    """Draw true against false positive rates of each class against the rest."""
    colours = theme_of(theme)
    drawn = [*curves.drawn, *([curves.micro] if curves.micro is not None else [])]
    axes = axes_or_new(ax, 4.4, 4.0 + LEGEND_ROW * legend_rows(len(drawn)), colours)
    style_axes(axes, colours)
    axes.plot([0, 1], [0, 1], color=colours.muted, linewidth=0.8)
    for i, curve in enumerate(drawn):
        colour, dash = _line(i, colours)
        axes.plot(
            curve.false_positive_rate, curve.true_positive_rate, color=colour, linestyle=dash,
            linewidth=1.6,
            label=f"{elide(curve.name, 22)}: AUC {curve.auc.value:.3f}",
        )  # fmt: skip
    _share(axes)
    _labels(axes, "false positive rate", "true positive rate", colours)
    _title(axes, "ROC (grey: guessing)", colours)
    _legend_of_curves(axes, "lower right", len(drawn), colours)
    return axes


def precision_recall(
    curves: "Curves", *, ax: Axes | None = None, theme: ThemeName = "light"
) -> Axes:
    """Draw precision against recall of each class against the rest."""
    colours = theme_of(theme)
    drawn = [*curves.drawn, *([curves.micro] if curves.micro is not None else [])]
    axes = axes_or_new(ax, 4.4, 4.0 + LEGEND_ROW * legend_rows(len(drawn)), colours)
    style_axes(axes, colours)
    for i, curve in enumerate(drawn):
        colour, dash = _line(i, colours)
        axes.plot(
            curve.recall, curve.precision, color=colour, linestyle=dash, linewidth=1.6,
            drawstyle="steps-pre",
            label=f"{elide(curve.name, 22)}: AP {curve.average_precision.value:.3f}",
        )  # fmt: skip
    if len(drawn) == 1:
        axes.axhline(drawn[0].share, color=colours.muted, linewidth=0.8)
    _share(axes)
    _labels(axes, "recall", "precision", colours)
    guess = " (grey: guessing)" if len(drawn) == 1 else ""
    _title(axes, f"Precision and recall{guess}", colours)
    _legend_of_curves(axes, "lower left", len(drawn), colours)
    return axes


def calibration(
    found: "Calibration", *, ax: Axes | None = None, theme: ThemeName = "light"
) -> Axes:
    """Draw observed against stated shares with Wilson's intervals; strokes below say how many."""
    colours = theme_of(theme)
    axes = axes_or_new(ax, 4.4, 4.0, colours)
    style_axes(axes, colours)
    axes.plot([0, 1], [0, 1], color=colours.muted, linewidth=0.8)
    some = found.counts > 0
    stated, observed = found.stated[some], found.observed[some]
    errors = np.maximum([observed - found.low[some], found.high[some] - observed], 0)
    axes.errorbar(stated, observed, yerr=errors, fmt="o-", color=_colour(0, colours),
                  ecolor=colours.muted, markersize=4, linewidth=1.2, elinewidth=1)  # fmt: skip
    share = found.counts / max(found.counts.max(), 1)
    axes.bar(found.edges[:-1], 0.16 * share, np.diff(found.edges), align="edge", zorder=0,
             color=colours.muted, alpha=0.35, linewidth=0)  # fmt: skip
    _share(axes)
    _labels(axes, elide(found.of, 44), "observed share", colours)
    _title(axes, f"Calibration: error {found.ece.value:.3f} (bars: rows)", colours)
    return axes


def residuals(found: "Regression", *, ax: Axes | None = None, theme: ThemeName = "light") -> Axes:
    """Draw residuals, label less prediction, against the prediction."""
    colours = theme_of(theme)
    axes = axes_or_new(ax, 5.2, 4.0, colours)
    style_axes(axes, colours)
    axes.axhline(0, color=colours.muted, linewidth=0.8)
    axes.scatter(found.predicted, found.residuals, s=8, color=_colour(0, colours), alpha=0.4,
                 linewidths=0, rasterized=True)  # fmt: skip
    _labels(axes, "prediction", "label − prediction", colours)
    _title(axes, f"Residuals of {len(found.predicted)} rows", colours)
    return axes


def histogram(
    edges: np.ndarray,
    counts: np.ndarray | Sequence[np.ndarray],
    *,
    names: Sequence[str] = (),
    label: str = "",
    title: str = "",
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw counts between edges as bars; several rows of counts are stacked and named."""
    colours = theme_of(theme)
    axes = axes_or_new(ax, 4.6, 3.4, colours)
    style_axes(axes, colours)
    below = np.zeros(len(edges) - 1)
    for i, own in enumerate(np.atleast_2d(np.asarray(counts))):
        hatch: dict[str, Any] = {"hatch": "////", "edgecolor": colours.ground} if i else {}
        axes.bar(edges[:-1], own, np.diff(edges), bottom=below, align="edge", linewidth=0,
                 color=_colour(i if not i else 5, colours),
                 label=names[i] if names else None, **hatch)  # fmt: skip
        below = below + own
    _labels(axes, label, "rows", colours)
    _title(axes, title, colours)
    if names:
        _legend_above(axes, colours)
    return axes


def class_balance(
    names: Sequence[str],
    labels: np.ndarray,
    predicted: np.ndarray,
    *,
    most: int = 12,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw how many rows have each label, and how many are predicted so; the commonest first."""
    colours = theme_of(theme)
    order = np.argsort(-labels, kind="stable")[:most]
    axes = axes_or_new(ax, 4.6, 1.2 + 0.36 * len(order), colours)
    style_axes(axes, colours)
    place = np.arange(len(order))
    axes.barh(place - 0.2, labels[order], 0.38, color=_colour(0, colours), linewidth=0,
              label="label")  # fmt: skip
    axes.barh(place + 0.2, predicted[order], 0.38, color=_colour(5, colours), linewidth=0,
              label="predicted", hatch="////", edgecolor=colours.ground)  # fmt: skip
    axes.set_yticks(place, labels=[elide(names[k], 24) for k in order], parse_math=False,
                    fontsize=8)  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlabel("rows", color=colours.ink, fontsize=9)
    left = len(labels) - len(order)
    _title(axes, "Classes" + (f" ({len(order)} of {len(labels)})" if left else ""), colours)
    _legend_above(axes, colours)
    return axes
