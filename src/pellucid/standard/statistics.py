"""Medians with intervals, and paired tests that are corrected for how many they are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_DRAWS = 2000


class Summary(NamedTuple):
    """The median of the samples that have a number, its interval, and how many have none."""

    median: float
    low: float
    high: float
    missing: int


def summarise(values: np.ndarray, *, level: float = 0.95, seed: int = 0) -> Summary:
    """The median with a percentile bootstrap interval over samples.

    2 000 resamplings of `default_rng([seed, 43])`; samples without a number (NaN) are counted, not
    used. NaN where no sample has one; an interval wants two.
    """
    known = values[~np.isnan(values)]
    missing = int(values.size - known.size)
    if not known.size:
        return Summary(np.nan, np.nan, np.nan, missing)
    median = float(np.median(known))
    if known.size == 1:
        return Summary(median, np.nan, np.nan, missing)
    generator = np.random.default_rng([seed, 43])
    drawn = np.median(known[generator.integers(known.size, size=(_DRAWS, known.size))], axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Summary(median, float(low), float(high), missing)


def median_of(values: np.ndarray) -> float:
    """The median of what is a number, infinite ones too; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else np.nan


def lead(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The difference own − other of each sample; where `own` alone has no number, −∞.

    NaN where `other` has none.
    """
    with np.errstate(invalid="ignore"):  # of two that are behind of all, neither is ahead: NaN
        difference = own - other
    return np.where(np.isnan(own) & ~np.isnan(other), -np.inf, difference)


def paired_p(better: np.ndarray, worse: np.ndarray) -> float:
    """Wilcoxon's signed-rank test that `better` is larger than `worse`, one-sided.

    Samples where `worse` has no number are left out; where `better` alone has none, or an infinite
    one, it is behind by more than anywhere else (see `lead`). 1 where none is left, or all are
    equal.
    """
    difference = lead(better, worse)
    difference = difference[~np.isnan(difference)]
    difference = difference[difference != 0]
    finite = np.abs(difference[np.isfinite(difference)])
    most = 2 * finite.max(initial=0.0) + 1
    difference = np.where(np.isfinite(difference), difference, np.sign(difference) * most)
    if not difference.size:
        return 1.0
    from scipy.stats import wilcoxon

    found: Any = wilcoxon(difference, alternative="greater")
    return float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction (1979) of some p values, in their order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    scaled = np.minimum(1.0, values[order] * (len(values) - np.arange(len(values))))
    found = np.empty_like(scaled)
    found[order] = np.maximum.accumulate(scaled)
    return [float(v) for v in found]
