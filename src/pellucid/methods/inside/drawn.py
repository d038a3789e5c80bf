"""How the rows at each node lie along the column it asks about, for its picture."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pellucid.methods.inside.imitation import Examples
from pellucid.methods.inside.questions import Drawn, Node, Nodes, Question, visits

_BINS = 20
_CATEGORIES = 8


def with_drawn(
    nodes: Nodes, examples: Examples, picture: Callable[[int], np.ndarray] | None = None
) -> Nodes:
    """The nodes with the distribution of the column they ask about (leaves: of the score).

    `picture` shows where a column is looked for.
    """
    edges: np.ndarray | None = None
    if not examples.classes:
        edges = np.linspace(examples.said.min(), examples.said.max(), _BINS + 1)
    return tuple(
        replace(node, drawn=_pictured(_drawn(node, examples.rows(rows), edges), node, picture))
        for node, rows in zip(nodes, visits(nodes, examples.table), strict=True)
    )


def _pictured(
    drawn: Drawn | None, node: Node, picture: Callable[[int], np.ndarray] | None
) -> Drawn | None:
    if drawn is None or picture is None or node.leaf:
        return drawn
    return replace(drawn, picture=picture(next(iter(node.questions)).column))


def _drawn(node: Node, own: Examples, of_score: np.ndarray | None) -> Drawn | None:
    if node.leaf:
        if of_score is None or of_score[0] == of_score[-1]:
            return None
        counts, _ = np.histogram(own.said, of_score)
        return Drawn(counts[:, None].astype(float), edges=of_score)
    if len(node.questions) > 1 or node.listed:
        return None
    question = next(iter(node.questions))
    column = own.table[:, question.column]
    if question.threshold is not None:
        return _of_numbers(column, own, question.threshold)
    return _of_words(column, own, question)


def _of_numbers(column: np.ndarray, own: Examples, threshold: float) -> Drawn:
    there = np.isfinite(column)
    numbers = column[there]
    distinct = np.unique(numbers)
    if len(distinct) < 2:  # missing or not is all that is asked
        low, high = sorted((float(distinct[0]), float(threshold))) if len(distinct) else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, 3)
    elif distinct[-1] - distinct[0] < _BINS and (distinct == np.rint(distinct)).all():
        low, high = distinct[0], distinct[-1]  # a bin around each whole number
        edges = np.linspace(low - 0.5, high + 0.5, int(high - low) + 2)
    else:
        edges = np.linspace(distinct[0], distinct[-1], _BINS + 1)
    place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    counts, means = _counted(place, own.rows(np.flatnonzero(there)), len(edges) - 1)
    return Drawn(counts, edges=edges, means=means, missing=int((~there).sum()))


def _of_words(column: np.ndarray, own: Examples, question: Question) -> Drawn:
    words = own.words[question.column]
    assert words is not None
    codes, counts = np.unique(column.astype(np.int64), return_counts=True)
    order = [int(codes[i]) for i in np.argsort(-counts, kind="stable")]
    groups: list[tuple[str, list[int]]] = []
    sides = [[c for c in order if (c in question.codes) == side] for side in (True, False)]
    limits = (_CATEGORIES // 2, _CATEGORIES // 2)
    for side, limit in zip(sides, limits, strict=True):
        shown = side if len(side) <= limit else side[: limit - 1]
        groups += [(words[c], [c]) for c in shown]
        if len(side) > len(shown):
            groups.append((f"{len(side) - len(shown)} more", side[len(shown) :]))
    place = np.empty(len(column), dtype=np.int64)
    for number, (_, members) in enumerate(groups):
        place[np.isin(column, members)] = number
    counted, means = _counted(place, own, len(groups))
    yes = min(len(sides[0]), limits[0])
    return Drawn(counted, words=tuple(w for w, _ in groups), yes=yes, means=means)


def _counted(place: np.ndarray, own: Examples, bins: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Counts `(bins, classes)`; of a score counts `(bins, 1)` and the mean in each bin."""
    if own.classes:
        flat = np.bincount(place * own.classes + own.said, minlength=bins * own.classes)
        return flat.reshape(bins, own.classes).astype(np.float64), None
    counts = np.bincount(place, minlength=bins).astype(np.float64)
    sums = np.bincount(place, weights=own.said, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts[:, None], sums / counts
