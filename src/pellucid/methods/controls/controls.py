"""The controls: random numbers, the input's own edges, a constant."""

from dataclasses import dataclass

import numpy as np

from pellucid.inputs.layout import space_axes
from pellucid.inputs.noise import draw_normal, seed_of
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("random")
@dataclass(frozen=True)
class Random(Method):
    """A control: standard normal numbers, of the input's shape.

    a_i ~ N(0, 1), from the seed and the sample's content, so not from its place in the batch.
    Does not look at the model. Cost: none beyond the prediction.

    >>> explain(model, x, "random", seed=1).values.shape == x.shape
    True
    """

    family = "controls"
    cost = "0 F"

    def attribute(self, task: Task) -> Attribution:
        values = []
        for array, dims in zip(task.batch.arrays, task.batch.dims, strict=True):
            draws = [
                draw_normal(
                    np.random.default_rng([task.seed, 3, seed_of(sample, dims[1:])]),
                    sample.shape,
                    dims[1:],
                )
                for sample in array
            ]
            values.append(np.stack(draws))
        return Attribution(tuple(values))


@register_method("edges")
@dataclass(frozen=True)
class Edges(Method):
    """A control: how much the input changes from place to place.

    a = √(Σ over spatial axes of (central difference)²), for each channel; for inputs without
    spatial axes, |x − mean of the sample|. Not negative, in units of the input. Does not look at
    the model. Source: Adebayo et al. 2018 (arXiv 1810.03292), section 5.1, with central
    differences instead of Sobel's filter.

    >>> bool((explain(model, x, "edges").values >= 0).all())
    True
    """

    family = "controls"
    cost = "0 F"
    source = "Adebayo et al. 2018"

    def attribute(self, task: Task) -> Attribution:
        values = []
        for array, dims in zip(task.batch.arrays, task.batch.dims, strict=True):
            a = array.astype(np.float32)
            axes = [i for i in space_axes(dims) if a.shape[i] > 1]
            if axes:
                changes = [np.gradient(a, axis=i) for i in axes]
                values.append(np.sqrt(sum(c * c for c in changes)).astype(np.float32))
            else:
                centre = a.mean(axis=tuple(range(1, a.ndim)), keepdims=True)
                values.append(np.abs(a - centre))
        return Attribution(tuple(values))


@register_method("constant")
@dataclass(frozen=True)
class Constant(Method):
    """A control: the same number everywhere.

    a_i = (f(x) − f(x')) / d for d input values and a zero baseline x', so that it is complete
    while saying nothing. Cost: one forward for f(x').

    >>> explain(linear, x, "constant").values
    array([[5., 5.]], dtype=float32)
    """

    family = "controls"
    claims_completeness = True
    cost = "1 F"

    def attribute(self, task: Task) -> Attribution:
        baseline = task.baselines("zeros")
        rows = np.arange(task.count)
        zero = task.baseline_scores(baseline)
        score = task.to_numpy(task.score(task.outputs, rows)).astype(np.float64)
        size = sum(a[0].size for a in task.batch.arrays)
        share = ((score - zero) / size).astype(np.float32)
        values = tuple(
            np.broadcast_to(share.reshape(-1, *(1,) * (a.ndim - 1)), a.shape).copy()
            for a in task.batch.arrays
        )
        return Attribution(values, baseline=baseline, baseline_score=zero)
