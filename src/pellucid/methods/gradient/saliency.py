"""Saliency: the gradient itself, and the gradient times the input."""

from dataclasses import dataclass

import numpy as np

from pellucid.methods.base import Attribution
from pellucid.methods.gradient.base import GradientMethod
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("saliency")
@dataclass(frozen=True)
class Saliency(GradientMethod):
    """How much the explained score changes with each input value, to first order.

    a_i = ∂f(x) / ∂x_i

    Returns the input's shape, in units of score per unit of input, signed. An integer input gets
    zeros. `absolute=True` gives |a|. Needs a differentiable model. Cost: one forward, one backward.
    Source: Simonyan, Vedaldi, Zisserman 2013 (arXiv 1312.6034), section 3. Departs from the
    paper: the sign is kept, and channels are not reduced to their maximum.

    >>> explain(linear, x, "saliency").values        # the weights, for every row
    array([[2., 1.]], dtype=float32)
    """

    absolute: bool = False
    layer: str | None = None

    opens_with_gradient = True
    cost = "2 F"
    source = "Simonyan et al. 2013"

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        found = task.gradients()
        return tuple(Attribution(tuple(map(np.abs, g)) if self.absolute else g) for g in found)


@register_method("gradient_x_input")
@dataclass(frozen=True)
class GradientXInput(GradientMethod):
    """The gradient times the input: each value's share of a linear model's score.

    a_i = x_i ∂f(x) / ∂x_i

    Returns the input's shape, in units of the explained score, signed. Equals integrated
    gradients from a zero baseline where f is linear between the two, as in ReLU networks without
    biases; elsewhere it does not sum to anything. Cost: one forward, one backward.
    Source: Shrikumar et al. 2016 (arXiv 1605.01713), section 1.

    >>> explain(linear, x, "gradient_x_input").values
    array([[6., 4.]], dtype=float32)
    """

    layer: str | None = None

    opens_with_gradient = True
    cost = "2 F"
    source = "Shrikumar et al. 2016"

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        own = [a.astype(np.float32) for a in task.batch.arrays]
        return tuple(
            Attribution(tuple(g * a for g, a in zip(grads, own, strict=True)))
            for grads in task.gradients()
        )
