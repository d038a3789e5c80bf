"""What the gradient methods share: a layer in place of the inputs, several targets at once."""

from abc import abstractmethod

from pellucid.adapters.protocol import Tier
from pellucid.methods.base import Attribution, Method
from pellucid.task import Task


class GradientMethod(Method):
    """A method that explains all targets of a task from the same forward passes.

    Subclasses have a field `layer`, or say in `refusals` why not.
    """

    family = "gradient"
    needs = Tier.DIFFERENTIABLE
    works_at_layer = True
    shares_forward = True

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    @abstractmethod
    def attribute_each(self, task: Task) -> tuple[Attribution, ...]: ...
