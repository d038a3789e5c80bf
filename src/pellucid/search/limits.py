"""Whether a candidate keeps the limits of a goal."""

from collections.abc import Sequence

import numpy as np

from pellucid.search.goal import Goal
from pellucid.search.record import Record, Scores
from pellucid.search.utility import joined
from pellucid.standard.metric import Metric, metric_named
from pellucid.standard.statistics import summarise

_UNITS = {"seconds": "s", "memory": "MiB"}


def broken(
    goal: Goal,
    metrics: Sequence[Metric],
    records: Sequence[Record],
    evaluations: float,
    *,
    sure: bool,
) -> str:
    """The first limit that is not kept, in words; "" where all are.

    A metric's median must be on the right side of its minimum, and a gate's that is among
    `metrics` on that of its own limit; with `sure`, it is broken only where the whole 95 %
    interval is on the wrong one.
    """
    if goal.evaluations is not None and evaluations > goal.evaluations:
        return f"{evaluations:.0f} evaluations a sample, {goal.evaluations:g} allowed"
    for name in ("seconds", "memory", "gap"):
        limit = getattr(goal, name)
        known = [r.facts[name] for r in records if name in r.facts]
        if limit is None or not known:
            continue
        value = max(known) if not np.isnan(known).any() else np.nan
        unit = f" {_UNITS[name]}" if name in _UNITS else ""
        if np.isnan(value):
            why = "claims no completeness" if name == "gap" else f"its {name} cannot be measured"
            return f"{why}, {limit:g}{unit} asked"
        if value > limit:
            return f"{name} {value:.3g}{unit}, {limit:g}{unit} allowed"
    scores = joined(records)
    for name, limit in goal.minimum.items():
        why = _short_of(metric_named(name), limit, scores, sure=sure)
        if why:
            return why
    for metric in metrics:
        if metric.limit is None or metric.name in goal.minimum:
            continue
        known = [v for v in scores.get(metric.name, {}).values() if not np.isnan(v).all()]
        why = _short_of(metric, metric.limit, scores, sure=sure) if known else ""
        if why:
            return why
    return ""


def _short_of(metric: Metric, limit: float, scores: Scores, *, sure: bool) -> str:
    asked = metric.scored(scores.get(metric.name, {}))
    if not asked:
        return f"{metric.name} could not be asked, {limit:g} asked"
    for way, values in asked:
        told = summarise(values)
        lower = metric.better == "lower"
        bound = told.median
        if sure and not np.isnan(told.low):
            bound = told.low if lower else told.high
        if sure and np.isnan(told.low) and not np.isnan(told.median):
            continue
        good = bound <= limit if lower else bound >= limit
        if not good:
            word = f"{metric.name}{f' ({way})' if way else ''}"
            return f"{word} {told.median:.3g}, {'at most' if lower else 'at least'} {limit:g} asked"
    return ""
