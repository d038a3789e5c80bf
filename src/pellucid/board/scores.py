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


def wilson(hits: np.ndarray | float, count: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share; (0, 1) where nothing was counted.

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96. Source: Wilson 1927.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + LEVEL / 2))
    total = np.asarray(count, dtype=np.float64)
    n = np.maximum(total, 1e-12)
    p = np.asarray(hits, dtype=np.float64) / n
    middle, width = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle - width) / (1 + z**2 / n), (middle + width) / (1 + z**2 / n)
    some = total > 0
    return np.where(some, np.clip(low, 0, 1), 0.0), np.where(some, np.clip(high, 0, 1), 1.0)


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
