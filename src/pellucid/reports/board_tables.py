"""The numbers of a board as tables of words."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pellucid.importance import OF_WORDS, ROUNDING
from pellucid.plots.style import elide, number, short_name

if TYPE_CHECKING:
    from pellucid.board.result import Board
    from pellucid.board.scores import Score

_MOST_CLASSES = 40


class ScoreLine(NamedTuple):
    """One score as words."""

    name: str
    value: str
    interval: str
    how: str


class Bar(NamedTuple):
    """A column's importance as words and as a bar."""

    name: str
    value: str
    interval: str
    width: float


def in_words(value: float) -> str:
    """A score with three decimals; large ones with three figures."""
    if np.isnan(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else number(value)


def interval(score: "Score") -> str:
    """The interval of a score; empty where it has none."""
    return "" if np.isnan(score.low) else f"{in_words(score.low)} to {in_words(score.high)}"


def score_line(score: "Score") -> ScoreLine:
    """A score as a line of the table."""
    words = {"higher": "more is better", "lower": "less is better", "": ""}[score.better]
    how = "; ".join(w for w in (words, score.how) if w)
    return ScoreLine(score.name, in_words(score.value), interval(score), how)


def error_in_words(board: "Board", value: float) -> str:
    """A mean error: the share that is wrong, or a number."""
    return f"{100 * value:.1f} % wrong" if board.task == "classification" else number(value)


def classes(board: "Board") -> dict[str, Any]:
    """The table of classes, those with the lowest recall where there are many."""
    if board.task != "classification":
        return {"classes": (), "classes_note": ""}
    rows = board.performance.by_class  # type: ignore[union-attr]
    kept = sorted(rows, key=lambda r: r[3].value if r[1] else 2.0)[:_MOST_CLASSES]
    some = len(rows) > len(kept)
    kept = kept if some else rows
    note = f"The {len(kept)} of {len(rows)} classes with the lowest recall." if some else ""
    table = tuple(
        (short_name(name), f"{count:,}", f"{said:,}", in_words(recall.value), interval(recall),
         in_words(precision.value), interval(precision))
        for name, count, said, recall, precision in kept
    )  # fmt: skip
    return {"classes": table, "classes_note": note}


def slices(board: "Board") -> tuple[tuple[str, ...], ...]:
    """A line for each slice."""
    if board.slices is None:
        return ()
    found = []
    for s in board.slices:
        share = f"{s.size:,} ({100 * s.size / board.rows:.1f} %)"
        if board.task == "classification":
            numbers = [f"{100 * v:.1f} %" for v in (s.error, s.rest, s.difference, s.low, s.high)]
        else:
            numbers = [number(v) for v in (s.error, s.rest, s.difference, s.low, s.high)]
        error, rest, difference, low, high = numbers
        p = "< 0.001" if s.p < 0.001 else f"{s.p:.3f}"
        words = " and ".join(elide(c, 70) for c in s.conditions)
        found.append((words, share, error, f"{low} to {high}", rest, difference, p))
    return tuple(found)


def slices_words(board: "Board") -> str:
    """How slices were searched, and how to read them."""
    s = board.slices
    if s is None:
        return (
            "No slices: there are no errors, or no columns to cut by. What else is known of the"
            " rows can be given as slices=."
        )
    head = f"Searched: {s.note}; at least {s.support} rows a slice. "
    if not len(s):
        return head + (
            f"None errs more than the rest beyond chance (alpha {s.alpha:g}, corrected for all)."
        )
    return head + (
        "p is one-sided and corrected for all conditions (Holm). Rows of a slice are left out of"
        " those below it: each line is about the rows in none of those above. A slice says where"
        " errors are, not why."
    )


def importance(board: "Board") -> tuple[Bar, ...]:
    """A bar for each of the columns that count most."""
    if board.importance is None:
        return ()
    rows = board.importance.rows[:15]
    most = max([max(abs(m), abs(high)) for _, m, _, high in rows] + [ROUNDING])
    return tuple(
        Bar(elide(n, 48), _small(m), f"{_small(low)} to {_small(high)}",
            round(100 * max(m, 0.0) / most, 1))
        for n, m, low, high in rows
    )  # fmt: skip


def of_words(board: "Board") -> bool:
    """Whether importance is of words."""
    return board.importance is not None and board.importance.statistic == OF_WORDS


def _small(value: float) -> str:
    """A loss without what is only rounding."""
    return number(0.0 if abs(value) < ROUNDING else value)


def importance_words(board: "Board") -> str:
    """What importance is, or why there is none."""
    found = board.importance
    if found is None:
        return next((n for n in board.notes if n.startswith("No importance")), "")
    left = len(found) - 15
    if of_words(board):
        return (
            "What hiding one occurrence of a word changes the predicted class's score by, on the"
            f" mean over {found.count:,} texts (occlusion), with its {found.level:.0%} interval"
            " over texts. Words by their numbers; one that is rare may count much and still explain"
            " little of the whole." + (f" {left} smaller ones are left out." if left > 0 else "")
        )
    return (
        f"{found.statistic.capitalize()} where a column's values are shuffled among"
        f" {found.count:,} rows, with its {found.level:.0%} interval over rows. What columns say"
        " together is lost with none of them, so columns that repeat each other look small."
        + (f" {left} smaller ones are left out." if left > 0 else "")
    )


def places(board: "Board") -> tuple[tuple[str, ...], ...]:
    """Of each class the cells that count most, with their intervals."""
    found = board.places
    if found is None:
        return ()
    lines = []
    for k, (name, count) in enumerate(zip(found.class_names, found.counts, strict=True)):
        cells = np.argsort(-found.means[k].ravel(), kind="stable")[:2]
        words = []
        for row, column in zip(*np.unravel_index(cells, found.means[k].shape), strict=True):
            share, low, high = (
                100 * a[k, row, column] for a in (found.means, found.low, found.high)
            )
            words.append(
                f"row {row + 1}, column {column + 1}: {share:.1f} % ({low:.1f} to {high:.1f})"
            )
        words += [""] * (2 - len(words))
        lines.append((short_name(name), f"{count:,}", *words, f"{found.agreement[k]:.2f}"))
    return tuple(lines)


def places_words(board: "Board") -> str:
    """What the maps are, and whether a place means the same in every picture."""
    found = board.places
    if found is None:
        return ""
    cells = found.means[0].size
    text = (
        f"The share of each picture's |a| ({found.method}) that lies in each of {cells} cells, on"
        f" the mean over the {sum(found.counts):,} pictures looked at, by the class that the model"
        f" names; evenly spread it would be {100 / cells:.1f} %. "
    )
    together = float(np.average(found.agreement, weights=found.counts))
    if found.registered:
        return text + (
            f"Single pictures agree with the mean of the others of their class (correlation"
            f" {together:.2f}), so a place means about the same in all of them."
        )
    return text + (
        f"Single pictures have little in common with the mean of the others of their class"
        f" (correlation {together:.2f}): things lie elsewhere in every picture, as in photographs,"
        " and a mean over places says little about any of them. Look at the rows below instead."
    )
