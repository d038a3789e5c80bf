"""SmoothGrad: the gradient averaged over noisy copies of the input."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import MethodError
from pellucid.inputs.noise import draw_normal
from pellucid.methods.base import Attribution, Method
from pellucid.methods.gradient.sums import GradientSums
from pellucid.methods.registry import register_method
from pellucid.task import Task, over_samples
from pellucid.types import Leaves


@register_method("smoothgrad")
@dataclass(frozen=True)
class SmoothGrad(Method):
    """The average gradient around the input, which evens out fluctuations of the gradient.

    a = (1/m) Σ_j ∂f(x + ε_j) / ∂x,  ε_j ~ N(0, (noise · (max x − min x))²)

    Returns the input's shape, in units of score per unit of input, signed, with `stderr`, the
    standard error of the mean over the m `samples`. `noise` is in units of each sample's own
    range; the same draws serve every sample of a batch, so that a sample's result does not
    depend on its neighbours. `budget` caps `samples`. Cost: a forward and a backward a sample.
    Source: Smilkov et al. 2017 (arXiv 1706.03825), section 3. Departs from the paper: the sign is
    kept.

    Raises `MethodError` for fewer than 2 samples or negative noise.

    >>> explain(linear, x, "smoothgrad", samples=4).values
    array([[2., 1.]], dtype=float32)
    """

    samples: int = 50
    noise: float = 0.15
    budget: int | None = None

    family = "gradient"
    needs = Tier.DIFFERENTIABLE
    cost = "2 F a sample: 50"
    source = "Smilkov et al. 2017"

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise MethodError(f"smoothgrad needs at least 2 samples, got {self.samples}.")
        if not 0 <= self.noise < np.inf:
            raise MethodError(f"Expected noise of 0 or more, got {self.noise}.")
        if self.budget is not None and self.budget < 3:
            raise MethodError("smoothgrad needs a budget of 3 evaluations or more.")

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"samples": self._count()}

    def _count(self) -> int:
        return self.samples if self.budget is None else min(self.samples, self.budget - 1)

    def attribute(self, task: Task) -> Attribution:
        count = self._count()
        noise = _Noise(task, self.noise)

        def at_first_draw(rows: np.ndarray) -> tuple[np.ndarray, ...]:
            grads = task.gradient(noise.points(rows, np.zeros_like(rows)), rows)[1]
            return tuple(task.to_numpy(g).astype(np.float32) for g in grads)

        # The first draw's gradients are the pivot of the variance, and part of the mean.
        first = over_samples(task, at_first_draw, key="gradient")
        sums = GradientSums.zeros(task, pivot=tuple(map(task.asarray, first)))
        # Draw by draw, all samples of one draw together, so that a draw is made once.
        samples = np.tile(np.arange(task.count), count - 1)
        draws = np.repeat(np.arange(1, count), task.count)
        weights = np.full((1, len(samples)), 1 / count)
        sums.add(task, samples, weights, lambda a, b: noise.points(samples[a:b], draws[a:b]))
        means = [
            s[0] + g.astype(np.float64) / count for s, g in zip(sums.first, first, strict=True)
        ]
        errors = [
            np.sqrt(np.maximum(q - (m - g) ** 2, 0) / (count - 1))
            for q, m, g in zip(sums.second, means, first, strict=True)
        ]
        return Attribution(
            tuple(m.astype(np.float32) for m in means),
            stderr=tuple(e.astype(np.float32) for e in errors),
        )


class _Noise:
    """Noisy copies of the batch; a few draws are kept, never all."""

    def __init__(self, task: Task, noise: float) -> None:
        self.task = task
        self.scale = [
            noise * np.ptp(a.reshape(len(a), -1), axis=1).astype(np.float32)
            for a in task.batch.arrays
        ]
        self._kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def _draw(self, leaf: int, draw: int) -> np.ndarray:
        key = (leaf, draw)
        if key not in self._kept:
            if len(self._kept) > 4 * len(self.scale):
                self._kept.popitem(last=False)
            generator = np.random.default_rng([self.task.seed, 2, leaf, draw])
            array, dims = self.task.batch.arrays[leaf], self.task.batch.dims[leaf]
            self._kept[key] = draw_normal(generator, array.shape[1:], dims[1:])
        return self._kept[key]

    def points(self, samples: np.ndarray, draws: np.ndarray) -> Leaves:
        made = []
        for k, (leaf, real) in enumerate(
            zip(self.task.take(self.task.x, samples), self.task.differentiable, strict=True)
        ):
            if not real:
                made.append(leaf)
                continue
            noise = np.stack([self._draw(k, int(d)) for d in draws])
            scale = self.scale[k][samples].reshape(-1, *(1,) * (noise.ndim - 1))
            moved = self.task.asarray(noise * scale)
            made.append(leaf + self.task.xp.astype(moved, leaf.dtype))
        return tuple(made)
