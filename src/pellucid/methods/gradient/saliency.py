"""Saliency: the gradient itself, and the gradient times the input."""

from dataclasses import dataclass

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("saliency")
@dataclass(frozen=True)
class Saliency(Method):
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

    family = "gradient"
    needs = Tier.DIFFERENTIABLE
    opens_with_gradient = True
    cost = "2 F"
    source = "Simonyan et al. 2013"

    def attribute(self, task: Task) -> Attribution:
        grads = task.gradients()
        return Attribution(tuple(map(np.abs, grads)) if self.absolute else grads)


@register_method("gradient_x_input")
@dataclass(frozen=True)
class GradientXInput(Method):
    """The gradient times the input: each value's share of a linear model's score.

    a_i = x_i ∂f(x) / ∂x_i

    Returns the input's shape, in units of the explained score, signed. Equals integrated
    gradients from a zero baseline where f is linear between the two, as in ReLU networks without
    biases; elsewhere it does not sum to anything. Cost: one forward, one backward.
    Source: Shrikumar et al. 2016 (arXiv 1605.01713), section 1.

    >>> explain(linear, x, "gradient_x_input").values
    array([[6., 4.]], dtype=float32)
    """

    family = "gradient"
    needs = Tier.DIFFERENTIABLE
    opens_with_gradient = True
    cost = "2 F"
    source = "Shrikumar et al. 2016"

    def attribute(self, task: Task) -> Attribution:
        grads = task.gradients()
        pairs = zip(grads, task.batch.arrays, strict=True)
        return Attribution(tuple(g * a.astype(np.float32) for g, a in pairs))
