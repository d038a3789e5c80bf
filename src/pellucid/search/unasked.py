"""What was to be judged and could not be: by whom, and what is left to decide by."""

from collections.abc import Mapping, Sequence

import numpy as np

from pellucid.search.race import Race, Runner
from pellucid.standard.metric import Metric


def unasked(race: Race) -> dict[str, str]:
    """The metrics of which nobody has a number, with the reason."""
    judged = [r for r in (*race.runners.values(), *race.anchors.values()) if r.judged]
    return {m.name: why for m in race.metrics if (why := _why(m, judged))}


def unasked_of(race: Race, runner: Runner, besides: Mapping[str, str]) -> dict[str, str]:
    """The metrics of which this one alone has no number."""
    named = [m for m in race.metrics if m.name not in besides]
    return {m.name: why for m in named if (why := _why(m, [runner]))}


def _why(metric: Metric, judged: Sequence[Runner]) -> str:
    records = [record for runner in judged for record in runner.records]
    for record in records:
        ways = record.scores.get(metric.name, {})
        if any(not np.isnan(values).all() for _, values in metric.scored(ways)):
            return ""
    reasons = [r.skipped[metric.name] for r in records if metric.name in r.skipped]
    if reasons:
        return reasons[0]
    return f"it has no number where {metric.without}" if metric.without else "it has no number"


def decides_by_speed(race: Race, chosen: Runner) -> bool:
    """Whether no axis but speed has a number for the chosen one."""
    weighed = {axis for axis, weight in race.goal.weights.items() if weight > 0} - {"speed"}
    axes = race.axes(chosen)
    return all(np.isnan(axes[axis]).all() for axis in weighed)
