"""How long it takes: V1, in seconds and in forwards of the model."""

import time

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.metric import register_metric

REPEATS = 3
ROWS = 4
"""Samples that are explained one by one."""


@register_metric(
    "speed", axis="speed", better="lower", needs=("forward", "explainer"), identifier="V1",
    limits=(0.0, np.inf), cost="12 explanations of one sample", source="performance.md",
    without="a sample was not timed: four are at most",
)  # fmt: skip
def speed(case: Case) -> dict[str, np.ndarray]:
    """How long one sample's explanation takes, warm.

    Four samples at most, each explained alone three times after a first time that is not counted:
    "seconds" each sample's median, "forwards" that in units of one forward of one sample, measured
    beside it in the same way, so that machines compare; "cold" the very first time. NaN for
    samples that were not timed.
    """
    found = {name: np.full(case.count, np.nan) for name in ("seconds", "forwards", "cold")}
    if case.asker is None:
        return found
    arrays = case.subject.task.batch.arrays
    began = time.perf_counter()
    for sample in range(min(case.count, ROWS)):
        rows = np.array([sample])
        one = tuple(a[rows] for a in arrays)
        target = case.target_of(rows)
        if sample == 0:
            began = time.perf_counter()
            case.asker.explain(one, target=target)
            found["cold"][0] = time.perf_counter() - began
            case.subject.forward_seconds(sample)
        taken, forward = [], []
        for _ in range(REPEATS):
            began = time.perf_counter()
            case.asker.explain(one, target=target)
            taken.append(time.perf_counter() - began)
            forward.append(case.subject.forward_seconds(sample))
        found["seconds"][sample] = np.median(taken)
        found["forwards"][sample] = np.median(taken) / np.median(forward)
    return found
