"""One number with its interval, and how rows are drawn again to find intervals."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
DRAWS = 400
"""Bootstrap draws of rows; of cells of a confusion matrix, which cost less, 1 000."""

CELL_DRAWS = 1000
_MANY_CELLS = 5000
_PURPOSE = 60


class Score(NamedTuple):
    """A measure over rows with its 95 % interval; NaN where it has none."""

    name: str
    value: float
    low: float = np.nan
    high: float = np.nan
    better: str = "higher"
    """"higher", "lower", or "" for what is no praise."""
    how: str = ""
    """How value and interval are computed, in a few words."""


def drawn_rows(count: int, seed: int, draws: int = DRAWS) -> Iterator[np.ndarray]:
    """How often each row is in a bootstrap draw, `(count,)`, once for each draw.

    Draws are `integers(count, size=count)` of `default_rng([seed, 60])`.
    """
    generator = np.random.default_rng([seed, _PURPOSE])
    for _ in range(draws):
        yield np.bincount(generator.integers(count, size=count), minlength=count)


def of_confusion(
    matrix: np.ndarray, measure: Callable[[np.ndarray], float], seed: int
) -> tuple[float, float, float]:
    """A measure of a confusion matrix with its percentile bootstrap interval.

    Drawing rows again is a multinomial draw of the matrix's cells, from `default_rng([seed, 61])`:
    1 000 draws, of a matrix with more than 5 000 filled cells 200.
    """
    filled = np.flatnonzero(matrix)
    total = int(matrix.sum())
    shares = matrix.ravel()[filled] / total
    draws = CELL_DRAWS if len(filled) <= _MANY_CELLS else CELL_DRAWS // 5
    generator = np.random.default_rng([seed, _PURPOSE + 1])
    found = np.empty(draws)
    for i in range(draws):
        drawn = np.zeros(matrix.size)
        drawn[filled] = generator.multinomial(total, shares)
        found[i] = measure(drawn.reshape(matrix.shape))
    low, high = middle(found)
    return measure(matrix.astype(np.float64)), low, high


def middle(found: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; NaN where any has no value."""
    if np.isnan(found).any():
        return np.nan, np.nan
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
