"""How long it takes: V1, in seconds and in forwards of the model."""

import time

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.metric import register_metric

REPEATS = 5
ROWS = 4
"""Samples that are explained one by one."""
TOGETHER = 8
"""Samples that are explained at once for the throughput."""


@register_metric(
    "speed", axis="speed", better="lower", needs=("forward", "explainer"), identifier="V1",
    limits=(0.0, np.inf), told=("p95", "throughput", "cold"), upward=("throughput",),
    cost="24 explanations of one sample, 2 of eight", source="performance.md",
    without="a sample was not timed: four are at most",
)  # fmt: skip
def speed(case: Case) -> dict[str, np.ndarray]:
    """How long one sample's explanation takes, warm.

    Four samples at most, each explained alone five times after a first time that is not counted:
    "seconds" each sample's median, "p95" the 95th percentile of those five, "forwards" the median
    in units of one forward of one sample, measured beside it in the same way, so that machines
    compare. "throughput" is samples a second of explaining eight at once (all, where there are
    fewer). "cold" is the first time that the explanation was made, of all samples at once, with
    whatever is traced, compiled or loaded then; of several methods the first bears what they
    share. Both are stored with the first sample. NaN for samples that were not timed.
    """
    names = ("seconds", "p95", "forwards", "throughput", "cold")
    found = {name: np.full(case.count, np.nan) for name in names}
    if case.asker is None:
        return found
    arrays = case.subject.task.batch.arrays
    found["cold"][0] = case.explanation.seconds
    for sample in range(min(case.count, ROWS)):
        rows = np.array([sample])
        one = tuple(a[rows] for a in arrays)
        target = case.target_of(rows)
        if sample == 0:
            case.asker.explain(one, target=target)
            case.subject.forward_seconds(sample)
        taken, forward = [], []
        for _ in range(REPEATS):
            began = time.perf_counter()
            case.asker.explain(one, target=target)
            taken.append(time.perf_counter() - began)
            forward.append(case.subject.forward_seconds(sample))
        found["seconds"][sample] = np.median(taken)
        found["p95"][sample] = np.quantile(taken, 0.95)
        found["forwards"][sample] = np.median(taken) / np.median(forward)
    rows = np.arange(min(case.count, TOGETHER))
    some, target = tuple(a[rows] for a in arrays), case.target_of(rows)
    case.asker.explain(some, target=target)
    began = time.perf_counter()
    case.asker.explain(some, target=target)
    found["throughput"][0] = len(rows) / (time.perf_counter() - began)
    return found
