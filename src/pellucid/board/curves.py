"""Curves over all thresholds of one class against the rest, and the areas below them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.board.scores import Score, drawn_rows, middle

_POINTS = 200
_MOST_CLASSES = 10
"""Beyond so many classes areas have no interval, and not all curves are drawn."""

_DRAWN = 6
_FEWEST = 10
_MOST_PAIRS = 4_000_000


@dataclass(frozen=True, eq=False)
class Curve:
    """ROC and precision-recall curve of one class against the rest, thinned to 200 points.

    The areas are of all thresholds. Rates start at (0, 0), precision at a recall of 0.
    """

    name: str
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    auc: Score
    average_precision: Score
    share: float
    """Of positive rows: what a guess has for precision."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of the classes drawn, and the mean over all classes and over all decisions."""

    drawn: tuple[Curve, ...]
    note: str
    macro: Score | None
    """The mean AUC of all classes that have rows on both sides."""
    micro: Curve | None
    """All decisions of row and class as one."""


class _Sorted:
    """Scores of a class from high to low, ties as one threshold."""

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        self.positive = positive[self.order].astype(np.float64)

    def counts(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives at each threshold, from the highest on."""
        own = 1.0 if weights is None else weights[self.order].astype(np.float64)
        hits = np.cumsum(self.positive * own)[self.ends]
        return hits, np.cumsum((1 - self.positive) * own)[self.ends]


def areas(hits: np.ndarray, misses: np.ndarray) -> tuple[float, float]:
    """AUC by trapezes and average precision by steps; NaN where one side is empty."""
    if not hits[-1] or not misses[-1]:
        return np.nan, np.nan
    rate, false = np.append(0, hits) / hits[-1], np.append(0, misses) / misses[-1]
    precision = hits / np.maximum(hits + misses, 1)
    return float(np.trapezoid(rate, false)), float(np.diff(rate) @ precision)


def curves_of(
    labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], seed: int
) -> Curves:
    """The curves of each class against the rest; of two classes those of the second."""
    count, classes = probabilities.shape
    asked = [1] if classes == 2 else list(range(classes))
    sides = np.bincount(labels, minlength=classes)
    asked = [c for c in asked if 0 < sides[c] < count]
    held = {c: _Sorted(probabilities[:, c], labels == c) for c in asked} if classes <= 10 else {}
    found = {c: areas(*(held.get(c) or _Sorted(probabilities[:, c], labels == c)).counts())
             for c in asked}  # fmt: skip
    intervals, mean = _intervals(held, count, seed)
    drawn, note = asked, ""
    if len(asked) > _MOST_CLASSES:
        enough = [c for c in asked if sides[c] >= _FEWEST] or asked
        drawn = sorted(enough, key=lambda c: found[c][0])[:_DRAWN]
        note = (
            f"Of {len(asked)} classes the {len(drawn)} with the smallest AUC are drawn"
            f" ({_FEWEST} rows or more); intervals are left out for more than {_MOST_CLASSES}."
        )
    curves = tuple(
        _curve(str(names[c]), held.get(c) or _Sorted(probabilities[:, c], labels == c), found[c],
               intervals.get(c))
        for c in drawn
    )  # fmt: skip
    if classes == 2 or not asked:
        return Curves(curves, note, None, None)
    macro = Score(
        "mean AUC", float(np.mean([found[c][0] for c in asked])), *mean,
        how="mean over classes, each against the rest",
    )  # fmt: skip
    micro = None
    if count * classes <= _MOST_PAIRS:
        truth = (labels[:, None] == np.arange(classes)).ravel()
        pairs = _Sorted(probabilities.ravel(), truth)
        micro = _curve("all decisions (micro)", pairs, areas(*pairs.counts()), None)
    return Curves(curves, note, macro, micro)


def _intervals(
    held: dict[int, _Sorted], count: int, seed: int
) -> tuple[dict[int, np.ndarray], tuple[float, float]]:
    """`(low, high)` of both areas by class, and of the mean AUC, from the same draws of rows."""
    if not held:
        return {}, (np.nan, np.nan)
    found = np.array(
        [[areas(*s.counts(weights)) for s in held.values()] for weights in drawn_rows(count, seed)]
    )
    limits = {c: np.array([middle(found[:, i, k]) for k in (0, 1)]) for i, c in enumerate(held)}
    return limits, middle(found[:, :, 0].mean(axis=1))


def _curve(
    name: str, ranked: _Sorted, found: tuple[float, float], limits: np.ndarray | None
) -> Curve:
    hits, misses = ranked.counts()
    rate, false = np.append(0, hits) / hits[-1], np.append(0, misses) / misses[-1]
    precision = hits / (hits + misses)
    precision = np.append(precision[0], precision)
    kept = _thinned(false, rate), _thinned(rate, precision)
    (a, b), (c, d) = ((np.nan, np.nan),) * 2 if limits is None else limits
    how = "bootstrap over rows" if limits is not None else ""
    return Curve(
        name, false[kept[0]], rate[kept[0]], rate[kept[1]], precision[kept[1]],
        Score("AUC", found[0], a, b, how=how),
        Score("average precision", found[1], c, d, how=how),
        float(hits[-1] / (hits[-1] + misses[-1])),
    )  # fmt: skip


def _thinned(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Places of at most 200 points, evenly along the curve's own length."""
    if len(along) <= _POINTS:
        return np.arange(len(along))
    length = np.append(0, np.cumsum(np.hypot(np.diff(along), np.diff(across))))
    places = np.searchsorted(length, np.linspace(0, length[-1], _POINTS))
    return np.unique(np.append(0, places))
