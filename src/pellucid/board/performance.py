"""How well the model does: scores with intervals, confusion, calibration, residuals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.board.curves import Curves, curves_of
from pellucid.board.scores import Score, drawn_rows, middle, of_confusion
from pellucid.shares import wilson

BINS = 15
_SHOWN_RESIDUALS = 2000
_HISTOGRAM = 30


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether a stated probability holds: bins of equal width over 0 to 1, `(15,)` each.

    Of two classes the probability of the second, of several that of the predicted class. `low`
    and `high` are Wilson's interval of the `observed` share; bins without rows are NaN. `ece` is
    Σ (rows in bin / rows) |observed − stated|: it cannot fall below zero, so of few rows it is
    too large. Source: Guo et al. 2017 (arXiv 1706.04599), equation 3.
    """

    of: str
    edges: np.ndarray
    stated: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    ece: Score


@dataclass(frozen=True, eq=False)
class Classification:
    """Scores over all rows, the confusion matrix (row: label, column: prediction), and curves."""

    scores: tuple[Score, ...]
    by_class: tuple[tuple[str, int, int, Score, Score], ...]
    """Name, rows with this label, rows predicted so, recall and precision of each class."""
    confusion: np.ndarray
    curves: Curves
    calibration: Calibration
    confidence: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Edges, and how many right and wrong answers have such a confidence."""


@dataclass(frozen=True, eq=False)
class Regression:
    """Scores over all rows, and residuals: label less prediction."""

    scores: tuple[Score, ...]
    predicted: np.ndarray
    """Of at most 2 000 rows, for a picture."""
    residuals: np.ndarray
    histogram: tuple[np.ndarray, np.ndarray]
    """Edges and counts of the residuals of all rows."""


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """`(classes, classes)`: rows of each label predicted as each class."""
    cells = np.bincount(labels * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def balanced_accuracy(matrix: np.ndarray) -> float:
    """The mean recall of the classes that have rows."""
    rows = matrix.sum(axis=1)
    return float((np.diag(matrix)[rows > 0] / rows[rows > 0]).mean())


def f1(matrix: np.ndarray) -> np.ndarray:
    """2TP / (2TP + FP + FN) of each class; NaN where it neither is nor is predicted."""
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    return np.where(both > 0, 2 * np.diag(matrix) / np.maximum(both, 1e-12), np.nan)


def classification(
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    seed: int,
) -> Classification:
    """All of a classifier's performance, from labels `(n,)` and probabilities `(n, classes)`."""
    count, classes = probabilities.shape
    matrix = confusion_matrix(labels, predicted, classes)
    curves = curves_of(labels, probabilities, names, seed)
    told = _calibration(labels, predicted, probabilities, names)
    right = predicted == labels
    hits = int(right.sum())
    accuracy = [float(end) for end in wilson(hits, count)]
    two = classes == 2
    f1_name = f"F1 of {names[1]}" if two else "F1, mean of classes"
    scores = [
        Score("accuracy", hits / count, accuracy[0], accuracy[1], how="Wilson"),
        Score("accuracy of the commonest class", np.bincount(labels).max() / count, better="",
              how="what always answering it would reach"),
        _resampled("balanced accuracy", matrix, balanced_accuracy, seed, "mean recall of classes"),
        *([] if two and not matrix[1].any() else [_resampled(
            f1_name, matrix, lambda m: float(f1(m)[1] if two else np.nanmean(f1(m))), seed,
        )]),
        _log_loss(labels, probabilities),
        *_areas(curves, names, two),
        told.ece,
    ]  # fmt: skip
    confidence = probabilities.max(axis=1)
    edges = np.linspace(min(1 / classes, float(confidence.min())), 1, 21)
    return Classification(
        tuple(scores), _by_class(matrix, names), matrix, curves, told,
        (edges, np.histogram(confidence[right], edges)[0],
         np.histogram(confidence[~right], edges)[0]),
    )  # fmt: skip


def _resampled(
    name: str,
    matrix: np.ndarray,
    measure: Callable[[np.ndarray], float],
    seed: int,
    what: str = "",
) -> Score:
    value, low, high = of_confusion(matrix, measure, seed)
    return Score(name, value, low, high, how="; ".join(w for w in (what, "bootstrap") if w))


def _areas(curves: Curves, names: Sequence[str], two: bool) -> list[Score]:
    if two:
        return [
            s._replace(name=f"{s.name} of {names[1]}")
            for c in curves.drawn
            for s in (c.auc, c.average_precision)
        ]
    return [s for s in (curves.macro, curves.micro and curves.micro.auc._replace(
        name="AUC, all decisions as one", how="micro")) if s]  # fmt: skip


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> Score:
    tiny = np.finfo(np.float32).eps
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.clip(own, tiny, 1))
    spread = 1.96 * loss.std(ddof=1) / np.sqrt(len(loss)) if len(loss) > 1 else np.nan
    mean = float(loss.mean())
    return Score(
        "log loss", mean, mean - spread, mean + spread, "lower", "mean ± 1.96 standard errors"
    )


def _by_class(
    matrix: np.ndarray, names: Sequence[str]
) -> tuple[tuple[str, int, int, Score, Score], ...]:
    rows, columns, hits = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    found = []
    for i, name in enumerate(names):
        pair = []
        for title, total in (("recall", rows[i]), ("precision", columns[i])):
            low, high = wilson(hits[i], total)
            value = hits[i] / total if total else np.nan
            limits = (float(low), float(high)) if total else (np.nan, np.nan)
            pair.append(Score(title, float(value), *limits, how="Wilson"))
        found.append((str(name), int(rows[i]), int(columns[i]), pair[0], pair[1]))
    return tuple(found)


def _calibration(
    labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, names: Sequence[str]
) -> Calibration:
    two = probabilities.shape[1] == 2
    stated = probabilities[:, 1] if two else probabilities.max(axis=1)
    held = labels == 1 if two else predicted == labels
    edges = np.linspace(0, 1, BINS + 1)
    place = np.searchsorted(edges[1:-1], stated)
    counts = np.bincount(place, minlength=BINS)
    hits = np.bincount(place, weights=held, minlength=BINS)
    sums = np.bincount(place, weights=stated.astype(np.float64), minlength=BINS)
    some, n = counts > 0, np.maximum(counts, 1)
    low, high = wilson(hits, counts)
    ece = float(np.abs(hits - sums).sum() / len(labels))
    how = f"{BINS} bins of equal width; of few rows it is too large"
    stated_mean, observed, low, high = (
        np.where(some, a, np.nan) for a in (sums / n, hits / n, low, high)
    )
    return Calibration(
        f"probability of {names[1]}" if two else "probability of the predicted class",
        edges, stated_mean, observed, low, high, counts,
        Score("expected calibration error", ece, better="lower", how=how),
    )  # fmt: skip


def regression(labels: np.ndarray, predicted: np.ndarray, seed: int) -> Regression:
    """All of a regressor's performance, from labels and predictions `(n,)`."""
    count = len(labels)
    residuals = labels - predicted
    centred = labels - labels.mean()
    rows = np.stack([residuals**2, np.abs(residuals), centred, centred**2, residuals])
    value = _measures(rows.sum(axis=1), count)
    drawn = np.array([_measures(rows @ w, count) for w in drawn_rows(count, seed)])
    names = ("R²", "mean absolute error", "root mean squared error", "mean residual")
    better = ("higher", "lower", "lower", "")
    scores = [
        Score(name, float(v), *middle(drawn[:, i]), better=better[i], how="bootstrap over rows")
        for i, (name, v) in enumerate(zip(names, value, strict=True))
    ]
    guess = float(np.abs(labels - np.median(labels)).mean())
    scores.append(Score("mean absolute error of the median", guess, better="",
                        how="what always answering it would reach"))  # fmt: skip
    order = np.random.default_rng([seed, 62]).permutation(count)[:_SHOWN_RESIDUALS]
    counts, edges = np.histogram(residuals, _HISTOGRAM)
    return Regression(tuple(scores), predicted[order], residuals[order], (edges, counts))


def _measures(sums: np.ndarray, count: int) -> tuple[float, float, float, float]:
    """R², MAE, RMSE and bias from sums over rows; R² is NaN where all labels are one."""
    squares, sizes, offset, about, residual = sums
    total = about - offset**2 / count
    r2 = 1 - squares / total if total > 1e-12 * max(about, 1e-300) else np.nan
    return r2, sizes / count, float(np.sqrt(squares / count)), residual / count
