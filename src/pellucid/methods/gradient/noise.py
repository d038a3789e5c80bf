"""SmoothGrad, VarGrad, SquareGrad: moments of the gradient over noisy copies of the input."""

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.noise import draw_normal
from pellucid.methods.base import Attribution
from pellucid.methods.gradient.base import GradientMethod
from pellucid.methods.gradient.sums import MANY, GradientSums, float32
from pellucid.methods.registry import register_method
from pellucid.running.gradients import over_samples
from pellucid.task import Task
from pellucid.types import Array, Leaves


@dataclass(frozen=True)
class NoiseMethod(GradientMethod):
    """A statistic of ∂f(x + ε_j)/∂x over the same draws ε_j for every sample of a batch."""

    samples: int = 50
    noise: float = 0.15
    budget: int | None = None
    layer: str | None = None

    fewest: ClassVar[int] = 2
    """Draws without which there is no standard error."""
    squared: ClassVar[bool] = False
    """Whether moments are those of the squared gradient."""
    order: ClassVar[int] = 2
    """The highest moment that is needed."""
    cost = "2 F a sample: 50"

    def __post_init__(self) -> None:
        if self.samples < self.fewest:
            raise MethodError(
                f"{self.name} needs at least {self.fewest} samples, got {self.samples}."
            )
        if not 0 <= self.noise < np.inf:
            raise MethodError(f"Expected noise of 0 or more, got {self.noise}.")
        if self.budget is not None and self.budget <= self.fewest:
            raise MethodError(
                f"{self.name} needs a budget of {self.fewest + 1} evaluations or more."
            )

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"samples": self._count()}

    def _count(self) -> int:
        return self.samples if self.budget is None else min(self.samples, self.budget - 1)

    def expected(self, task: Task) -> int | None:
        return task.count * (1 + self._count())

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        count = self._count()
        first, moments = _moments(task, count, self.noise, self.order, squared=self.squared)
        found = []
        for pivots, rows in zip(first, moments, strict=True):
            pairs = [self.statistic(p, m, count) for p, m in zip(pivots, rows, strict=True)]
            found.append(
                Attribution(
                    tuple(value.astype(np.float32) for value, _ in pairs),
                    stderr=tuple(error.astype(np.float32) for _, error in pairs),
                )
            )
        return tuple(found)

    @abstractmethod
    def statistic(
        self, pivot: np.ndarray, moments: list[np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The value and its standard error from the moments about a pivot, (1/m) Σ (g − p)^r."""


def _mean(pivot: np.ndarray, moments: list[np.ndarray], count: int) -> tuple[Array, Array]:
    variance = np.maximum(moments[1] - moments[0] ** 2, 0) / (count - 1)
    return pivot + moments[0], np.sqrt(variance)


@register_method("smoothgrad")
@dataclass(frozen=True)
class SmoothGrad(NoiseMethod):
    """The average gradient around the input, which evens out fluctuations of the gradient.

    a = (1/m) Σ_j ∂f(x + ε_j) / ∂x,  ε_j ~ N(0, (noise · (max x − min x))²)

    Returns the input's shape, in units of score per unit of input, signed, with `stderr`, the
    standard error of the mean over the m `samples`. `noise` is in units of each sample's own
    range; the same draws serve every sample of a batch, so that a sample's result does not
    depend on its neighbours. `budget` caps `samples`. With `layer`, the noise stays on the input
    and the gradient is that at what the layer returns for x + ε_j. Cost: a forward and a backward
    a sample.
    Source: Smilkov et al. 2017 (arXiv 1706.03825), section 3. Departs from the paper: the sign is
    kept. tf-keras-vis averages |∂f/∂x| unless told otherwise, and Xplique's noise is in units of
    the input, not of its range.

    Raises `MethodError` for fewer than 2 samples or negative noise.

    >>> explain(linear, x, "smoothgrad", samples=4).values
    array([[2., 1.]], dtype=float32)
    """

    source = "Smilkov et al. 2017"

    def statistic(
        self, pivot: np.ndarray, moments: list[np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return _mean(pivot, moments, count)


@register_method("squaregrad")
@dataclass(frozen=True)
class SquareGrad(NoiseMethod):
    """The mean squared gradient around the input: how strongly the score reacts, either way.

    a = (1/m) Σ_j (∂f(x + ε_j) / ∂x)²,  ε_j as in `smoothgrad`

    Returns the input's shape, in squared units of score per unit of input, never negative, with
    `stderr`, the standard error of the mean. Parameters, draws and `layer` are those of
    `smoothgrad`, so that on equal seeds squaregrad = smoothgrad² + vargrad · (m − 1)/m.
    Cost: a forward and a backward a sample.
    Source: Hooker, Erhan, Kindermans, Kim 2019 (arXiv 1806.10758), section 4.1, SG-SQ.

    Raises `MethodError` for fewer than 2 samples or negative noise.

    >>> explain(linear, x, "squaregrad", samples=4).values
    array([[4., 1.]], dtype=float32)
    """

    squared = True
    source = "Hooker et al. 2019"

    def statistic(
        self, pivot: np.ndarray, moments: list[np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return _mean(pivot, moments, count)


@register_method("vargrad")
@dataclass(frozen=True)
class VarGrad(NoiseMethod):
    """How much the gradient varies around the input.

    a = (1/(m − 1)) Σ_j (g_j − ḡ)²,  g_j = ∂f(x + ε_j) / ∂x,  ε_j as in `smoothgrad`

    Returns the input's shape, in squared units of score per unit of input, never negative.
    Parameters, draws and `layer` are those of `smoothgrad`. `stderr` is the square root of the
    unbiased estimate of the variance's own variance, (2 m k₂² + (m − 1) k₄) / (m (m + 1)) with
    Fisher's k-statistics k₂, k₄ of the g_j; few samples estimate a fourth moment poorly, so take
    30 or more before believing it. Cost: a forward and a backward a sample.
    Source: Adebayo et al. 2018 (arXiv 1810.03292), appendix; Hooker et al. 2019 (arXiv
    1806.10758), section 4.1. Departs from Captum, which divides by m and not m − 1.

    Raises `MethodError` for fewer than 4 samples or negative noise.

    >>> explain(linear, x, "vargrad", samples=4).values
    array([[0., 0.]], dtype=float32)
    """

    fewest = 4
    order = 4
    source = "Adebayo et al. 2018"

    def statistic(
        self, pivot: np.ndarray, moments: list[np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        m, (first, second, third, fourth) = count, moments
        central2 = np.maximum(second - first**2, 0)
        central4 = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        k2 = central2 * m / (m - 1)
        k4 = m**2 * ((m + 1) * central4 - 3 * (m - 1) * central2**2)
        k4 = k4 / ((m - 1) * (m - 2) * (m - 3))
        variance = (2 * m * k2**2 + (m - 1) * k4) / (m * (m + 1))
        return k2, np.sqrt(np.maximum(variance, 0))


def _moments(
    task: Task, count: int, noise: float, order: int, *, squared: bool
) -> tuple[list[list[np.ndarray]], list[list[list[np.ndarray]]]]:
    """`(pivots, moments)` per target and leaf: T(g₁), and (1/m) Σ (T(g_j) − T(g₁))^r to `order`.

    T is the square or nothing. About a value that is near the mean, float32 powers lose nothing
    that matters; they are taken in units of the largest pivot, so that none over- or underflows.
    """
    noisy = _Noise(task.origin, noise)
    leaves = len(task.batch.arrays)
    raised = (lambda a: a * a) if squared else (lambda a: a)

    def at_first_draw(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        points = noisy.points(rows, np.zeros_like(rows))
        found = task.gradients_from_inputs(points, rows, many=task.count * (count - 1) >= MANY)
        return tuple(task.to_numpy(float32(task, raised(g))) for grads in found for g in grads)

    flat = over_samples(task, at_first_draw, key="gradient")
    first = [list(flat[i : i + leaves]) for i in range(0, len(flat), leaves)]
    scales = [[_largest(p) for p in pivots] for pivots in first]
    pivots = [tuple(map(task.asarray, p)) for p in first]
    inverse = [tuple(task.asarray(1 / s) for s in row) for row in scales]
    # Draw by draw, all samples of one draw together, so that a draw is made once.
    samples = np.tile(np.arange(task.count), count - 1)
    draws = np.repeat(np.arange(1, count), task.count)

    def terms(target: int, grads: Leaves, a: int, b: int) -> Leaves:
        rows = samples[a:b]
        about, units = task.take(pivots[target], rows), task.take(inverse[target], rows)
        centred = [
            (float32(task, raised(g)) - p) * u for g, p, u in zip(grads, about, units, strict=True)
        ]
        powers = [centred]
        for _ in range(1, order):
            powers.append([p * c for p, c in zip(powers[-1], centred, strict=True)])
        return tuple(c for power in powers for c in power)

    sums = GradientSums(task, copies=order)
    weights = np.full((1, len(samples)), 1 / count)
    sums.add(
        task, samples, weights, lambda a, b: noisy.points(samples[a:b], draws[a:b]), terms,
        from_inputs=True,
    )  # fmt: skip
    moments = [
        [
            [
                sums.totals[r * leaves + leaf][target, 0]
                * scales[target][leaf].astype(np.float64) ** (r + 1)
                for r in range(order)
            ]
            for leaf in range(leaves)
        ]
        for target in range(len(task.targets))
    ]
    return [[p.astype(np.float64) for p in row] for row in first], moments


def _largest(a: np.ndarray) -> np.ndarray:
    """The largest |value| of each sample, 1 where all are 0, `(n, 1, ...)`, a power of 2."""
    size = np.abs(a).max(axis=tuple(range(1, a.ndim)), keepdims=True)
    return np.exp2(np.round(np.log2(np.where(size > 0, size, 1)))).astype(np.float32)


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
