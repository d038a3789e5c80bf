"""Blur integrated gradients: the path from a blurred input to the sharp one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.arrays import blur_and_slope
from pellucid.errors import MethodError
from pellucid.inputs.layout import space_axes
from pellucid.methods.base import Attribution
from pellucid.methods.gradient.base import GradientMethod
from pellucid.methods.gradient.paths import Accuracy, Path
from pellucid.methods.gradient.sums import Points, Terms, float32
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Leaves

_KNEE = 0.5  # pixels below which scales are spread evenly, above it by ratio


@register_method("blur_integrated_gradients")
@dataclass(frozen=True)
class BlurIntegratedGradients(GradientMethod):
    """Attribute f(x) − f(blurred x) to the inputs along the path of Gaussian blurs.

    a_i = ∫₀¹ ∂f(z(t)) / ∂z_i · dz_i(t)/dt dt,   z(t) = x blurred by σ(t) pixels, σ from σ_max to 0

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − f(z(0)) up to
    `gap`. Needs no baseline: detail appears where it is, and nothing that is not in x. `max_sigma`
    is σ_max in pixels, by default a sixth of the longest side (the authors' 50 for 299 pixels);
    the blur is along all spatial axes, with its weights normalised at the borders.
    `tolerance`, `max_steps`, `steps` and `budget` are those of `integrated_gradients`. Inputs
    without spatial axes stay as they are and get zeros. There is no `layer`. Cost: a forward and
    a backward for each point, one forward for f(z(0)).
    Source: Xu, Venugopalan, Sundararajan 2020 (arXiv 2004.03383), eq. 4. Departs from the paper:
    the derivative of the path is that of the discrete blur, in closed form, where the paper takes
    the Laplacian and the authors' code a finite difference; and σ = (e^{k(1 − t)} − 1)/2 spreads
    the points over scales, which leaves the integral as it is.

    Raises `MethodError` for a `max_sigma` that is not above 0, and as `integrated_gradients`.

    >>> e = explain(model, x, "blur_integrated_gradients", steps=20)
    >>> bool((e.gap < 0.05).all())
    True
    """

    max_sigma: float | None = None
    steps: int | None = None
    tolerance: float = 0.01
    max_steps: int = 255
    budget: int | None = None

    modalities = frozenset({"image", "series", "volume"})
    works_at_layer = False
    claims_completeness = True
    conflicts = (("steps", "tolerance"), ("steps", "max_steps"))
    refusals = {  # noqa: RUF012 - declared a ClassVar in Method
        "layer": "what a layer returns has no blurred copies of its own; integrated_gradients with"
        " baseline='blur' works at one"
    }
    cost = "2 F a step: 15 to 255"
    source = "Xu et al. 2020"

    def __post_init__(self) -> None:
        self._accuracy().check()
        if self.max_sigma is not None and not 0 < self.max_sigma < np.inf:
            raise MethodError(f"Expected max_sigma above 0, got {self.max_sigma}.")

    def _accuracy(self) -> Accuracy:
        return Accuracy(self.name, self.steps, self.tolerance, self.max_steps, self.budget)

    def parameters(self) -> dict[str, Any]:
        known = super().parameters()
        return known | ({"tolerance": None, "max_steps": None} if self.steps is not None else {})

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        return self._accuracy().attribute(task, BlurPath(task, self.max_sigma))


class BlurPath(Path):
    """z(t) = x blurred by σ(t); leaves without spatial axes, and integers, stay at x."""

    def __init__(self, task: Task, max_sigma: float | None) -> None:
        self.task = task
        self._axes = [
            space_axes(dims) if real else ()
            for dims, real in zip(task.batch.dims, task.differentiable, strict=True)
        ]
        self._sigmas = [
            max_sigma or max((a.shape[i] for i in axes), default=0) / 6
            for a, axes in zip(task.batch.arrays, self._axes, strict=True)
        ]
        everyone = np.arange(task.count)
        self.start = tuple(
            self._at(leaf, everyone, np.zeros(task.count))[0]
            for leaf in range(len(task.batch.arrays))
        )
        self._last: tuple[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] | None = None

    def _at(
        self, leaf: int, samples: np.ndarray, positions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The points z and speeds dz/dt of one leaf, row by row."""
        array, axes, largest = self.task.batch.arrays[leaf], self._axes[leaf], self._sigmas[leaf]
        values = array[samples]
        speeds = np.zeros(values.shape, dtype=np.float32)
        if not axes:
            return values, speeds
        rate = np.log1p(largest / _KNEE)
        for t in np.unique(positions):
            rows = np.flatnonzero(positions == t)
            sigma = _KNEE * np.expm1(rate * (1 - t))
            blurred, slope = blur_and_slope(array[samples[rows]], float(sigma), axes)
            values[rows] = blurred
            speeds[rows] = slope * (-_KNEE * rate * np.exp(rate * (1 - t)))
        return values, speeds

    def _batch(
        self, samples: np.ndarray, positions: np.ndarray, a: int, b: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Points and speeds of one micro-batch, kept from `points` to `terms`."""
        if self._last is None or self._last[0] != (a, b):
            made = [self._at(leaf, samples[a:b], positions[a:b]) for leaf in range(len(self._axes))]
            self._last = (a, b), made
        return self._last[1]

    def points(self, samples: np.ndarray, positions: np.ndarray) -> Points:
        task = self.task
        self._last = None

        def made(a: int, b: int) -> Leaves:
            return tuple(task.asarray(z) for z, _ in self._batch(samples, positions, a, b))

        return made

    def terms(self, samples: np.ndarray, positions: np.ndarray) -> Terms:
        task = self.task

        def made(target: int, grads: Leaves, a: int, b: int) -> Leaves:
            speeds = (s for _, s in self._batch(samples, positions, a, b))
            return tuple(
                float32(task, g) * task.asarray(s) for g, s in zip(grads, speeds, strict=True)
            )

        return made
