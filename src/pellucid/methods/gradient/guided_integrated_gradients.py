"""Guided integrated gradients: a path that moves first where the gradient is small."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.base import Attribution
from pellucid.methods.gradient.base import GradientMethod
from pellucid.methods.registry import register_method
from pellucid.running.gradients import over_samples
from pellucid.task import Task
from pellucid.types import Leaves

_TIE = 1e-5  # of the largest gradient: rounding must not decide which of two equals moves first


@register_method("guided_integrated_gradients")
@dataclass(frozen=True)
class GuidedIntegratedGradients(GradientMethod):
    """Attribute f(x) − f(x') along a path that keeps away from steep, irrelevant directions.

    At each of T `steps` the values with the smallest |∂f/∂z_i| (the lowest `fraction` of all;
    those that have arrived count as infinite) move towards x until ‖x − z‖₁ has fallen by a T-th
    of ‖x − x'‖₁:   a_i += Δz_i · (∂f(z)/∂z_i before the step + after it) / 2

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − f(x') up to
    `gap`. In ReLU networks the path is drawn to the kinks, and the gap levels off, near 10 % as a
    rule, however many steps are taken. `anchors=K` makes the path pass through the K − 1 points
    x' + (k/K)(x − x'), so that it stays nearer to the straight one, and brings the gap down.
    `baseline` is x'. The quantile is each sample's own, over all its inputs together;
    whole-number inputs stay at x. With
    `layer`, z is what the layer returns. Steps follow one another, so a micro-batch is over
    samples only. Cost: a forward and a backward a step and at x, one forward for f(x').
    Source: Kapishnikov et al. 2021 (arXiv 2106.09788), algorithm 1 and section 4.3. Departs from
    the paper: the gradient of a step is the mean of both ends, where the paper takes the one
    before it (`rule="left"` does; its gap is some five times as large); and gradients within 1e-5
    of the largest count as equal to the quantile, so that rounding does not choose the path.

    Raises `MethodError` for steps, anchors, budget, rule or a fraction out of range.

    >>> explain(linear, x, "guided_integrated_gradients", steps=10).values   # exact, any path
    array([[6., 4.]], dtype=float32)
    """

    steps: int = 100
    fraction: float = 0.25
    anchors: int = 1
    rule: str = "trapezoid"
    budget: int | None = None
    baseline: Any = "zeros"
    layer: str | None = None

    shares_forward = False
    claims_completeness = True
    cost = "2 F a step: 100"
    source = "Kapishnikov et al. 2021"

    def __post_init__(self) -> None:
        if not 1 <= self.anchors <= self._count():
            raise MethodError(
                f"{self.name} needs at least 1 step for each of its anchors, got"
                f" steps={self.steps}, anchors={self.anchors}, budget={self.budget}."
            )
        if self.rule not in {"trapezoid", "left"}:
            raise MethodError(f"Expected the rule 'trapezoid' or 'left', got {self.rule!r}.")
        if not 0 < self.fraction <= 1:
            raise MethodError(f"Expected a fraction above 0, at most 1, got {self.fraction}.")

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"steps": self._count()}

    def _count(self) -> int:
        spent = 3 if self.rule == "trapezoid" else 2
        return self.steps if self.budget is None else min(self.steps, self.budget - spent)

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        start = task.baselines(self.baseline)
        flat = _Flat(task)
        low, high = flat.join(start), flat.join(task.batch.arrays)
        place, found = low.copy(), np.zeros(low.shape)
        stages = _stages(self._count(), self.anchors)
        slopes = flat.gradients(place)
        for step, (start_share, end_share, left) in enumerate(stages):
            first, last = low + start_share * (high - low), low + end_share * (high - low)
            length = np.abs(last - first).sum(axis=1)
            before = place.copy()
            for i in range(task.count):
                _move(place[i], last[i], slopes[i], left * length[i], self.fraction)
            if self.rule == "left":
                found += (place - before) * slopes
                slopes = flat.gradients(place) if step + 1 < len(stages) else slopes
            else:
                after = flat.gradients(place)
                found += (place - before) * (slopes + after) / 2
                slopes = after
        attribution = Attribution(
            tuple(v.astype(np.float32) for v in flat.split(found, empty=0)),
            baseline=start,
            baseline_score=task.baseline_scores(start),
        )
        return (attribution,)


def _stages(steps: int, anchors: int) -> list[tuple[float, float, float]]:
    """For each step: where its stretch of the path begins and ends, and what share is then left."""
    stages = []
    for k in range(anchors):
        count = steps // anchors + (k < steps % anchors)
        stages += [
            (k / anchors, (k + 1) / anchors, 1 - (step + 1) / count) for step in range(count)
        ]
    return stages


def _move(
    place: np.ndarray,
    end: np.ndarray,
    slope: np.ndarray,
    goal: float,
    fraction: float,
) -> None:
    """Move one sample in place until ‖end − place‖₁ is `goal`, lowest |slope| first."""
    size = np.abs(slope)
    tie = _TIE * size.max(initial=0)
    rank = int(fraction * (len(size) - 1))
    left = np.abs(end - place)
    moving = left > 0
    while moving.any():
        need = left.sum() - goal
        if need <= 0:
            return
        waiting = np.where(moving, size, np.inf)
        chosen = moving & (waiting <= np.partition(waiting, rank)[rank] + tie)
        share = need / left[chosen].sum()
        arrived = share >= 1 - 1e-12
        place[chosen] = end[chosen] if arrived else place[chosen] + share * (end - place)[chosen]
        if not arrived:
            return
        left[chosen] = 0
        moving &= ~chosen


class _Flat:
    """The real inputs of each sample as one row of float64 numbers."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.real = [i for i, real in enumerate(task.differentiable) if real]

    def join(self, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
        rows = [arrays[i].reshape(len(arrays[i]), -1).astype(np.float64) for i in self.real]
        return np.concatenate(rows, axis=1)

    def split(self, rows: np.ndarray, *, empty: float | None = None) -> tuple[np.ndarray, ...]:
        """One array an input; integers at x, or all `empty`."""
        made, start = [], 0
        for i, array in enumerate(self.task.batch.arrays):
            if i not in self.real:
                made.append(array if empty is None else np.full(array.shape, empty))
                continue
            stop = start + array[0].size
            made.append(rows[:, start:stop].reshape(array.shape))
            start = stop
        return tuple(made)

    def gradients(self, rows: np.ndarray) -> np.ndarray:
        """∂score/∂z at each sample's own z, as rows."""
        task = self.task
        arrays = [
            z.astype(a.dtype) for z, a in zip(self.split(rows), task.batch.arrays, strict=True)
        ]

        def evaluate(samples: np.ndarray) -> tuple[np.ndarray, ...]:
            leaves: Leaves = tuple(task.asarray(a[samples]) for a in arrays)
            grads = task.gradient(leaves, samples)[1]
            return tuple(task.to_numpy(g).astype(np.float32) for g in grads)

        return self.join(over_samples(task, evaluate, key="gradient"))
