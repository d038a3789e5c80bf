"""A few rows that stand for many: smaller backgrounds for the methods that average over one."""

from typing import Any

import numpy as np

from pellucid.errors import InputError

_BLOCK = 2000


def summarise(rows: Any, count: int, *, at_most: int = 10_000, seed: int = 0) -> np.ndarray:
    """`count` of the rows, chosen so that means over them are near the means over all.

    Kernel herding (Chen, Welling, Smola 2010, eq. 8): each next row is the one that brings the
    chosen nearest to all rows in maximum mean discrepancy, by a Gaussian kernel of the median
    distance on standardised columns, missing values set to the mean. The rows are real ones and
    count alike, so they go wherever a background goes; the same error takes two to three times
    fewer of them than of rows drawn by chance. Of more than `at_most` rows so many are drawn
    first, by `seed`. A data frame comes back as one.

    Raises `InputError` for a count below 1 or no rows.

    >>> summarise(np.arange(9.0)[:, None], 1)       # the middle one
    array([[4.]])
    """
    array = np.asarray(rows)
    if array.ndim < 2 or not len(array) or array.dtype.kind not in "fiub":
        raise InputError(
            f"Expected rows of numbers, got {type(rows).__name__} of shape {array.shape}."
        )
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InputError(f"Expected a count of 1 or more, got {count!r}.")
    index = np.arange(len(array))
    if len(array) > at_most:
        index = np.sort(np.random.default_rng([seed, 30]).permutation(len(array))[:at_most])
    chosen = index[_herded(_standardised(array[index]), min(int(count), len(index)))]
    return rows.iloc[chosen] if hasattr(rows, "iloc") else array[chosen]


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
