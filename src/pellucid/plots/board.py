"""The main panels of a board in one figure, and how its columns lie."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.plots.performance import (
    calibration,
    class_balance,
    confusion,
    histogram,
    legend_rows,
    precision_recall,
    residuals,
    roc,
)
from pellucid.plots.style import (
    OKABE_ITO,
    Theme,
    ThemeName,
    elide,
    new_figure,
    settle,
    style_axes,
    theme_of,
)

if TYPE_CHECKING:
    from pellucid.board.columns import Distribution
    from pellucid.board.result import Board

_ACROSS = 4
_ERROR = OKABE_ITO[5]


def panels(found: "Board") -> tuple[str, ...]:
    """The names of the panels that a board has."""
    if found.task == "regression":
        return ("residuals", "histogram")
    several = found.label_counts is not None and np.count_nonzero(found.label_counts) > 1
    curves = ("roc", "precision_recall") if several else ()
    return ("confusion", *curves, "calibration", "confidence", "classes")


def panel(found: "Board", name: str, *, ax: Axes | None = None, theme: ThemeName = "light") -> Axes:
    """Draw one panel of a board by its name; `panels` lists those it has.

    Raises `InputError` for another name.
    """
    if name not in panels(found):
        raise InputError(f"Expected a panel of {', '.join(panels(found))}, got {name!r}.")
    own, options = found.performance, {"ax": ax, "theme": theme}
    if name == "residuals":
        return residuals(own, **options)  # type: ignore[arg-type]
    if name == "histogram":
        edges, counts = own.histogram  # type: ignore[union-attr]
        return histogram(edges, counts, label="label − prediction", title="Residuals", **options)  # type: ignore[arg-type]
    if name == "confusion":
        return confusion(own.confusion, found.class_names, **options)  # type: ignore[union-attr]
    if name == "calibration":
        return calibration(own.calibration, **options)  # type: ignore[union-attr]
    if name == "confidence":
        edges, right, wrong = own.confidence  # type: ignore[union-attr]
        return histogram(
            edges, [right, wrong], names=("right", "wrong"), label="probability of the answer",
            title="Confidence", **options,  # type: ignore[arg-type]
        )  # fmt: skip
    if name == "classes":
        predicted = own.confusion.sum(axis=0)  # type: ignore[union-attr]
        return class_balance(found.class_names, found.label_counts, predicted, **options)  # type: ignore[arg-type]
    draw = roc if name == "roc" else precision_recall
    return draw(own.curves, **options)  # type: ignore[union-attr, arg-type]


def board(found: "Board", *, theme: ThemeName = "light") -> Figure:
    """Draw all panels of a board's performance in one figure; returned, never shown."""
    colours, names = theme_of(theme), panels(found)
    across = min(3, len(names))
    down = -(-len(names) // across)
    many = False
    if "roc" in names:
        many = legend_rows(len(found.performance.curves.drawn)) > 0  # type: ignore[union-attr]
    figure = new_figure(4.4 * across, 3.9 * down + 0.4 + (1.2 if many else 0.0), colours)
    ratios = [1.3 if many and not row else 1.0 for row in range(down)]
    held = figure.subplots(down, across, squeeze=False, height_ratios=ratios).ravel()
    for axes, name in zip(held, names, strict=False):
        axes.set_facecolor(colours.ground)
        panel(found, name, ax=axes, theme=theme)
    for axes in held[len(names) :]:
        axes.set_axis_off()
    first = found.performance.scores[0]
    figure.suptitle(
        f"{elide(found.title, 60)}: {first.name} {first.value:.3f} over {found.rows:,} rows",
        color=colours.ink, fontsize=11, parse_math=False,
    )  # fmt: skip
    return settle(figure)


def distributions(
    found: Sequence["Distribution"], *, error: str = "error", theme: ThemeName = "light"
) -> Figure:
    """Draw how each column lies (bars, left axis), and the mean error of its rows (points, right).

    All error axes are one, so that columns can be compared. Returns the figure, never shown.
    """
    colours = theme_of(theme)
    across = min(_ACROSS, max(len(found), 1))
    down = -(-len(found) // across)
    figure = new_figure(3.1 * across, 2.25 * down + 0.4, colours)
    # Of fixed places: so many panels take seconds to be laid out against each other.
    figure.set_layout_engine(None)
    height = 2.25 * down + 0.4
    width = 3.1 * across
    figure.subplots_adjust(left=0.42 / width, right=1 - 0.42 / width, bottom=0.95 / height,
                           top=1 - 0.28 / height, hspace=0.75, wspace=0.42)  # fmt: skip
    held = figure.subplots(down, across, squeeze=False).ravel()
    known = [d.errors[np.isfinite(d.errors)] for d in found]
    top = max([float(e.max(initial=0)) for e in known] + [1e-12])
    for axes, own in zip(held, found, strict=False):
        _distribution(axes, own, top, colours)
    for axes in held[len(found) :]:
        axes.set_axis_off()
    figure.text(0.42 / width, 0.12 / height, f"bars, left axis: rows\npoints, right axis: {error}",
                fontsize=9, color=colours.ink)  # fmt: skip
    return figure


def _distribution(axes: Axes, own: "Distribution", top: float, theme: Theme) -> None:
    style_axes(axes, theme)
    axes.set_facecolor(theme.ground)
    if own.edges is not None:
        place, width = (own.edges[:-1] + own.edges[1:]) / 2, np.diff(own.edges)
        axes.locator_params(axis="x", nbins=4)
    else:
        place, width = np.arange(len(own.counts)), np.full(len(own.counts), 0.8)
        words = [elide(w, 12) for w in own.words or ()]
        slanted = len(words) > 4 or max(map(len, words), default=0) > 6
        axes.set_xticks(place, labels=words, parse_math=False, rotation=40 if slanted else 0,
                        ha="right" if slanted else "center")  # fmt: skip
    axes.bar(place, own.counts, width * 0.94, color=theme.colour_map(False)(0.35), linewidth=0)
    axes.tick_params(labelsize=6.5)
    other = axes.twinx()
    other.plot(place, own.errors, "o", color=_ERROR, markersize=3)
    other.set_ylim(-0.02 * top, 1.08 * top)
    other.locator_params(axis="y", nbins=4)
    other.tick_params(labelsize=6.5, colors=_ERROR, labelcolor=theme.ink, length=2)
    for side in other.spines.values():
        side.set_visible(False)
    missing = f", {own.missing:,} missing" if own.missing else ""
    axes.set_title(f"{elide(own.name, 26)}{missing}", color=theme.ink, fontsize=8, loc="left",
                   parse_math=False)  # fmt: skip
