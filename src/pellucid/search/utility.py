"""Scores as utilities between fixed points, and what paired differences of them say."""

from collections.abc import Mapping, Sequence

import numpy as np

from pellucid.search.record import Record, Scores
from pellucid.standard.metric import AXES, Metric
from pellucid.standard.utilities import utility

_DRAWS = 2000
_BOUND_DRAWS = 4000


def joined(records: Sequence[Record]) -> Scores:
    """The scores of chunks of samples as those of all of them; NaN where a chunk lacks some."""
    names = {m: list(ways) for r in records for m, ways in r.scores.items()}
    sizes = [_count(r) for r in records]
    found: dict[str, dict[str, np.ndarray]] = {}
    for metric, ways in names.items():
        found[metric] = {
            way: np.concatenate(
                [
                    r.scores.get(metric, {}).get(way, np.full(size, np.nan))
                    for r, size in zip(records, sizes, strict=True)
                ]
            )
            for way in ways
        }
    return found


def _count(record: Record) -> int:
    return max((len(v) for ways in record.scores.values() for v in ways.values()), default=0)


def axis_utilities(
    own: Scores, anchor: Scores, metrics: Sequence[Metric], evaluations: float, count: int
) -> dict[str, np.ndarray]:
    """Each sample's utility on each axis, `(n,)`: 0 is the random control, 1 the ideal.

    u = (m − r) / (m_ideal − r), see `standard.utilities.utility`, with r the median of the random
    control over the samples: the mean over a score's ways, then over the axis' scores. A score that
    this explanation lacks where the control has one counts 0; NaN where the control has none
    either, or nothing of the axis is asked. Speed is 1 − log₁₀(evaluations) / 4 of one sample's
    explanation: counted at the model, so that it is the same on every machine.
    """
    found = {axis: np.full(count, np.nan) for axis in AXES}
    for axis in AXES:
        each = [
            values
            for metric in metrics
            if metric.axis == axis and metric.ideal is not None and not metric.is_gate
            if (values := _of_metric(metric, own, anchor, count)) is not None
        ]
        if each:
            found[axis] = _mean_of_known(each)
    speed = 1 - np.log10(max(evaluations, 1.0)) / 4
    found["speed"] = np.full(count, float(np.clip(speed, 0, 1)))
    return found


def _of_metric(metric: Metric, own: Scores, anchor: Scores, count: int) -> np.ndarray | None:
    each = []
    held = dict(metric.for_utility(own.get(metric.name, {})))
    for way, control in metric.for_utility(anchor.get(metric.name, {})):
        known = control[~np.isnan(control)]
        values = held.get(way, np.full(count, np.nan))
        found = utility(metric, values, float(np.median(known)) if known.size else np.nan)
        if known.size and not np.isclose(metric.ideal or 0.0, np.median(known)):
            each.append(np.where(np.isnan(found) & ~np.isnan(control), 0.0, found))
    return _mean_of_known(each) if each else None


def _mean_of_known(each: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.stack(each)
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def weighted(axes: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Σ w u / Σ w of each sample over the axes that have a number there, `(n,)`."""
    names = [axis for axis, weight in weights.items() if weight > 0]
    values = np.stack([axes[name] for name in names])
    shares = np.array([weights[name] for name in names], dtype=np.float64)[:, None]
    known = ~np.isnan(values)
    total = (shares * known).sum(axis=0)
    summed = (shares * np.where(known, values, 0)).sum(axis=0)
    return np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)


def mean_of(values: np.ndarray) -> float:
    """The mean of the samples that have a number; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def mean_interval(values: np.ndarray, *, seed: int, level: float = 0.95) -> tuple[float, float]:
    """A percentile bootstrap interval of the mean over samples, 2 000 resamplings.

    Of `default_rng([seed, 51])`; NaN with fewer than two samples that have a number.
    """
    known = values[~np.isnan(values)]
    if known.size < 2:
        return np.nan, np.nan
    generator = np.random.default_rng([seed, 51])
    drawn = known[generator.integers(known.size, size=(_DRAWS, known.size))].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def lead_bound(difference: np.ndarray, level: float, *, seed: int) -> float:
    """The lower bound of the mean of some paired differences, one-sided, by a paired bootstrap.

    The `level` quantile of mean + (mean* − mean) · √(n / χ²ₙ₋₁), mean* of n differences drawn anew
    from `default_rng([seed, 52])`, 4 000 times, and χ² with them. Without the factor this is the
    percentile bootstrap, which is far too narrow for the three samples that a race begins with: it
    drops one of two equal candidates ten times as often as it says. The factor draws how wide the
    differences are, too, which of few samples is not known: for normal differences the bound is
    Student's, for many samples the percentile bootstrap's (Hesterberg 2015, section 3.2, on how
    narrow bootstraps of few samples are). −∞ with fewer than two samples, and 0 where all
    differences are rounding errors.
    """
    known = difference[~np.isnan(difference)]
    if known.size < 2:
        return -np.inf
    if np.abs(known).max() < 1e-9:
        return 0.0
    generator = np.random.default_rng([seed, 52])
    rows = generator.integers(known.size, size=(_BOUND_DRAWS, known.size))
    away = known[rows].mean(axis=1) - known.mean()
    spread = np.sqrt(known.size / generator.chisquare(known.size - 1, _BOUND_DRAWS))
    return float(known.mean() + np.quantile(away * spread, level))
