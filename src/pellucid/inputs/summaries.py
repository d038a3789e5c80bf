"""A few rows that stand for many: smaller backgrounds for the methods that average over one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.inputs.frames import Frame, is_frame, rows_of_frame

_BLOCK = 2000
_ROUNDS = 100
_CATEGORIES = 100


@dataclass(frozen=True)
class WeightedRows:
    """Rows that stand for unequal shares of a data set: `weights (k,)`, above 0, add up to 1.

    The Shapley methods take them as `background=`, and average by the weights; methods that count
    all rows alike refuse them.
    """

    rows: Any
    weights: np.ndarray

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.shape != (len(self.rows),) or not (weights > 0).all():
            raise InputError(
                f"Expected a weight above 0 for each of the {len(self.rows)} rows, got"
                f" {np.array2string(weights, threshold=6)}."
            )
        object.__setattr__(self, "weights", weights / weights.sum())

    def __len__(self) -> int:
        return len(self.rows)


def summarise(
    rows: Any, count: int, *, how: str = "herding", at_most: int = 10_000, seed: int = 0
) -> Any:
    """`count` of the rows, chosen so that means over them are near the means over all.

    Kernel herding (Chen, Welling, Smola 2010, eq. 8): each next row is the one that brings the
    chosen nearest to all rows in maximum mean discrepancy, by a Gaussian kernel of the median
    distance on standardised columns, missing values set to the mean. The rows are real ones and
    count alike, so they go wherever a background goes; the same error takes two to three times
    fewer of them than of rows drawn by chance. Of more than `at_most` rows so many are drawn
    first, by `seed`. A data frame of any library comes back as one, its words too: two rows are
    apart by each category that they do not share.

    With `how="kmeans"` the rows nearest to the centres of `count` clusters on standardised columns
    (Lloyd 1982, started as in Arthur, Vassilvitskii 2007), as `WeightedRows`: each counts as much
    as its cluster has rows.

    Raises `InputError` for a count below 1, no rows, or another `how`.

    >>> summarise(np.arange(9.0)[:, None], 1)       # the middle one
    array([[4.]])
    """
    framed = is_frame(rows)
    array = rows if framed else np.asarray(rows)
    if (not framed and (array.ndim < 2 or array.dtype.kind not in "fiub")) or not len(rows):
        raise InputError(
            f"Expected rows of numbers, or a data frame, got {type(rows).__name__} of shape"
            f" {array.shape}."
        )
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InputError(f"Expected a count of 1 or more, got {count!r}.")
    if how not in {"herding", "kmeans"}:
        raise InputError(f"Expected how to be 'herding' or 'kmeans', got {how!r}.")
    index = np.arange(len(rows))
    if len(rows) > at_most:
        index = np.sort(np.random.default_rng([seed, 30]).permutation(len(rows))[:at_most])
    some = _numbers(rows_of_frame(rows, index)) if framed else array[index]
    points, count = _standardised(some), min(int(count), len(index))
    weights = None
    if how == "herding":
        chosen = index[_herded(points, count)]
    else:
        nearest, weights = _clustered(points, count, np.random.default_rng([seed, 33]))
        chosen = index[nearest]
    found = rows_of_frame(rows, chosen) if framed else array[chosen]
    return found if weights is None else WeightedRows(found, weights)


def _numbers(frame: Any) -> np.ndarray:
    """The columns of a data frame as numbers: a column for each category of one of words.

    Columns with more than `_CATEGORIES` of them are left out: nearly all rows are apart there.
    """
    known = Frame(frame)
    coded = known.encode(frame)
    columns = [
        coded[:, i : i + 1] if words is None else coded[:, i : i + 1] == np.arange(len(words))
        for i, words in enumerate(known.categories)
        if words is None or len(words) <= _CATEGORIES
    ]
    return np.concatenate(columns, axis=1, dtype=np.float64) if columns else 0 * coded


def _standardised(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(len(array), -1).astype(np.float64)
    known = np.isfinite(flat)
    held = np.where(known, flat, 0.0)
    counts = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, flat - held.sum(axis=0) / counts, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / counts)
    return centred / np.where(spread > 0, spread, 1.0)


def _herded(points: np.ndarray, count: int) -> np.ndarray:
    squares = (points**2).sum(axis=1)

    def distances(some: slice | np.ndarray) -> np.ndarray:
        return np.maximum(squares[some, None] + squares - 2 * points[some] @ points.T, 0)

    few = np.arange(0, len(points), max(1, len(points) // 200))
    middle = float(np.median(distances(few)[:, few])) or 1.0
    attraction = np.concatenate(
        [
            np.exp(-distances(slice(a, a + _BLOCK)) / (2 * middle)).mean(axis=1)
            for a in range(0, len(points), _BLOCK)
        ]
    )
    chosen: list[int] = []
    repulsion = np.zeros(len(points))
    for k in range(count):
        score = attraction - repulsion / (k + 1)
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
        repulsion += np.exp(-distances(np.array(chosen[-1:]))[0] / (2 * middle))
    return np.array(chosen)


def _clustered(
    points: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The rows nearest to the centres of `count` clusters, and the clusters' sizes.

    Fewer where fewer rows differ.
    """
    centres = points[generator.integers(len(points), size=1)]
    while len(centres) < count:
        far = _squared(points, centres).min(axis=1)
        if far.max() <= 1e-12 * max(float((points**2).sum(axis=1).max()), 1e-300):
            break
        following = np.searchsorted(np.cumsum(far), generator.random() * far.sum(), side="right")
        centres = np.concatenate([centres, points[min(following, len(points) - 1), None]])
    owner = np.full(len(points), -1)
    for _ in range(_ROUNDS):
        before, owner = owner, _squared(points, centres).argmin(axis=1)
        if np.array_equal(before, owner):
            break
        sizes = np.bincount(owner, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, owner, points)
        held = sizes > 0  # a centre that has lost all rows stays where it is
        centres[held] = sums[held] / sizes[held, None]
    distances = _squared(points, centres)
    owner = distances.argmin(axis=1)
    found, sizes = np.unique(owner, return_counts=True)
    nearest = [int(np.where(owner == c, distances[:, c], np.inf).argmin()) for c in found]
    return np.array(nearest), sizes.astype(np.float64)


def _squared(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The squared distance of each point to each centre."""
    products = points @ centres.T
    lengths = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    return np.maximum(lengths - 2 * products, 0)
