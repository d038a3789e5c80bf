"""Integrated gradients: the gradient averaged along a straight path from the baseline."""

from dataclasses import dataclass
from typing import Any

from pellucid.methods.base import Attribution
from pellucid.methods.gradient.base import GradientMethod
from pellucid.methods.gradient.paths import Accuracy, StraightPath
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("integrated_gradients")
@dataclass(frozen=True)
class IntegratedGradients(GradientMethod):
    """Attribute f(x) − f(x') to the inputs by the path integral of the gradient.

    a_i = (x_i − x'_i) ∫₀¹ ∂f(x' + t(x − x')) / ∂x_i dt

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − f(x') up to
    `gap`. `baseline` is x' (see `explain`). With `tolerance`, the nested Gauss–Patterson rules of
    7, 15, 31, 63, 127, 255 points are refined for each sample until its attribution moves by less
    than the tolerance (relative L1), 15 points at the least; a sample that does not get there
    before `max_steps` is named in `warnings`. The error is then far below the tolerance for
    smooth networks, and about it for ReLU networks, whose gradient jumps along the path. With
    `steps`, one Gauss–Legendre rule of that many points. With `calibrate` k, for many samples, the
    first k are refined so, and all others take one rule of the steps that the hardest of these
    needed and a quarter more (`extras["nodes"]`): faster, but their error is not checked, and
    depends on which samples come first. Cost: a forward and a backward for each
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
    calibrate: int | None = None
    budget: int | None = None
    baseline: Any = "zeros"

    layer: str | None = None

    claims_completeness = True
    conflicts = (("steps", "tolerance"), ("steps", "max_steps"), ("steps", "calibrate"))
    cost = "2 F a step: 15 to 255"
    source = "Sundararajan et al. 2017"

    def __post_init__(self) -> None:
        self._accuracy().check()

    def _accuracy(self) -> Accuracy:
        return Accuracy(
            self.name, self.steps, self.tolerance, self.max_steps, self.budget, self.calibrate
        )

    def parameters(self) -> dict[str, Any]:
        known = super().parameters()
        return known | ({"tolerance": None, "max_steps": None} if self.steps is not None else {})

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        path = StraightPath(task, task.baselines(self.baseline))
        return self._accuracy().attribute(task, path)
