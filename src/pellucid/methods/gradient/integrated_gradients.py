"""Integrated gradients: the gradient averaged along a straight path from the baseline."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import MethodError
from pellucid.methods.base import Attribution, Method
from pellucid.methods.gradient.quadrature import FINEST_LEVEL, gauss_legendre, gauss_patterson
from pellucid.methods.gradient.sums import GradientSums, on_path
from pellucid.methods.registry import register_method
from pellucid.task import Task

_FIRST_LEVEL = 2  # 7 points; two levels are compared, so 15 is the least that is ever returned


def _points(level: int) -> int:
    return 2 ** (level + 1) - 1


@register_method("integrated_gradients")
@dataclass(frozen=True)
class IntegratedGradients(Method):
    """Attribute f(x) − f(x') to the inputs by the path integral of the gradient.

    a_i = (x_i − x'_i) ∫₀¹ ∂f(x' + t(x − x')) / ∂x_i dt

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − f(x') up to
    `gap`. `baseline` is x' (see `explain`). With `tolerance`, the nested Gauss–Patterson rules of
    7, 15, 31, 63, 127, 255 points are refined for each sample until its attribution moves by less
    than the tolerance (relative L1), 15 points at the least; a sample that does not get there
    before `max_steps` is named in `warnings`. The error is then far below the tolerance for
    smooth networks, and about it for ReLU networks, whose gradient jumps along the path. With
    `steps`, one Gauss–Legendre rule of that many points. Cost: a forward and a backward for each
    point, one forward for f(x').
    Source: Sundararajan, Taly, Yan 2017 (arXiv 1703.01365), eq. 1. Departs from the paper: the
    rules above instead of a left sum, and a stop on the attribution: the completeness gap is
    blind to errors that cancel.

    Raises `MethodError` for steps, tolerance or budget out of range.

    >>> explain(linear, x, "integrated_gradients", baseline=1.0).values   # (x − 1) · w, exactly
    array([[4., 3.]], dtype=float32)
    """

    steps: int | None = None
    tolerance: float = 0.01
    max_steps: int = 255
    budget: int | None = None
    baseline: Any = "zeros"

    family = "gradient"
    needs = Tier.DIFFERENTIABLE
    claims_completeness = True
    conflicts = (("steps", "tolerance"), ("steps", "max_steps"))
    cost = "2 F a step: 15 to 255"
    source = "Sundararajan et al. 2017"

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise MethodError(f"integrated_gradients needs at least 1 step, got {self.steps}.")
        if not self.tolerance > 0:
            raise MethodError(f"Expected a tolerance above 0, got {self.tolerance}.")
        if self.steps is None and self._last_level() < _FIRST_LEVEL + 1:
            raise MethodError(
                "integrated_gradients to a tolerance needs at least 15 points and 2 predictions,"
                f" but max_steps={self.max_steps}, budget={self.budget} allow fewer.\n"
                "  steps= with a smaller number is a fixed rule that says nothing of its error."
            )
        if self.steps is not None and self.budget is not None and self.steps + 2 > self.budget:
            raise MethodError(
                f"{self.steps} steps need {self.steps + 2} evaluations,"
                f" the budget is {self.budget}."
            )

    def parameters(self) -> dict[str, Any]:
        known = super().parameters()
        return known | ({"tolerance": None, "max_steps": None} if self.steps is not None else {})

    def attribute(self, task: Task) -> Attribution:
        baseline = task.baselines(self.baseline)
        path = _Path(task, baseline)
        if self.steps is not None:
            means, nodes, warnings = path.fixed(self.steps), None, ()
        else:
            means, nodes, change = path.refined(self.tolerance, self._last_level())
            warnings = _not_converged(change, self.tolerance)
        return Attribution(
            tuple((d * m).astype(np.float32) for d, m in zip(path.delta, means, strict=True)),
            baseline=baseline,
            baseline_score=task.baseline_scores(baseline),
            extras={} if nodes is None else {"nodes": nodes},
            warnings=warnings,
        )

    def _last_level(self) -> int:
        allowed = self.max_steps if self.budget is None else min(self.max_steps, self.budget - 2)
        return max((k for k in range(FINEST_LEVEL + 1) if _points(k) <= allowed), default=-1)


class _Path:
    """Averages of the gradient along the straight paths of all samples."""

    def __init__(self, task: Task, baseline: tuple[np.ndarray, ...]) -> None:
        self.task = task
        self.start = tuple(map(task.asarray, baseline))
        self.delta = tuple(
            a.astype(np.float64) - b if real else np.zeros(a.shape)
            for a, b, real in zip(task.batch.arrays, baseline, task.differentiable, strict=True)
        )

    def _add(
        self, sums: GradientSums, active: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> None:
        samples = np.repeat(active, len(nodes))
        positions = np.tile(nodes, len(active))
        points = on_path(self.task, self.start, self.task.x, samples, positions)
        sums.add(self.task, samples, np.tile(weights, (1, len(active))), points)

    def fixed(self, steps: int) -> list[np.ndarray]:
        """The mean gradient by one Gauss–Legendre rule."""
        nodes, weights = gauss_legendre(steps)
        sums = GradientSums.zeros(self.task)
        self._add(sums, np.arange(self.task.count), nodes, weights[None])
        return [s[0] for s in sums.first]

    def refined(
        self, tolerance: float, last: int
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """The mean gradient, the points used `(n,)`, and the last change of those not done.

        Every gradient enters the sums of all levels that are still to come with that level's
        weight, so nothing but one sum a level is kept.
        """
        levels = range(_FIRST_LEVEL, last + 1)
        sums = GradientSums.zeros(self.task, len(levels))
        active = np.arange(self.task.count)
        reached = np.full(self.task.count, last)
        change = np.zeros(self.task.count)
        for k, level in enumerate(levels):
            known = 0 if k == 0 else _points(level - 1)
            nodes = gauss_patterson(level)[0][known:]
            weights = np.zeros((len(levels), len(nodes)))
            for j in range(k, len(levels)):
                weights[j] = gauss_patterson(levels[j])[1][known : _points(level)]
            self._add(sums, active, nodes, weights)
            if k == 0:
                continue
            moved = self._change(sums, k, active)
            done = moved < tolerance
            change[active] = np.where(done, 0, moved)
            reached[active[done]] = level
            active = active[~done]
            if not len(active):
                break
        rows = np.arange(self.task.count)
        means = [s[reached - _FIRST_LEVEL, rows] for s in sums.first]
        return means, _points(reached.astype(np.int64)), change  # type: ignore[arg-type]

    def _change(self, sums: GradientSums, k: int, active: np.ndarray) -> np.ndarray:
        """‖A_k − A_{k−1}‖₁ / ‖A_k‖₁ of the attributions of each active sample."""
        moved, size = np.zeros(len(active)), np.zeros(len(active))
        for d, s in zip(self.delta, sums.first, strict=True):
            axes = tuple(range(1, d.ndim))
            moved += np.abs(d[active] * (s[k, active] - s[k - 1, active])).sum(axis=axes)
            size += np.abs(d[active] * s[k, active]).sum(axis=axes)
        return np.divide(moved, size, out=np.zeros_like(moved), where=size > 0)


def _not_converged(change: np.ndarray, tolerance: float) -> tuple[str, ...]:
    late = np.flatnonzero(change)
    if not len(late):
        return ()
    return (
        f"not converged: the attribution of sample(s) {late[:20].tolist()} still moved by"
        f" {change.max():.1%} when the cap on steps was reached (tolerance {tolerance:.1%});"
        " raise max_steps or budget, or accept this error",
    )
