"""A task for looking at a model's insides: no prediction is made unless it is needed."""

from copy import copy
from typing import Any

from pellucid.counting import CountedModel
from pellucid.engine.schedule import Progress
from pellucid.errors import CapabilityError
from pellucid.explaining.preparing import unasked
from pellucid.model import Model, wrap
from pellucid.task import Task


def with_layers(
    model: Any,
    x: Any,
    *,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> Task:
    """The task over `x` of a model that can be asked for its layers, before anything is run.

    Raises `CapabilityError` for another model.
    """
    wrapped = wrap(model, example=x)
    if not wrapped.adapter.shows_layers:
        raise CapabilityError(
            f"Looking inside needs a model that shows its layers; this one is"
            f" {wrapped.supports.name.lower()} ({wrapped.framework}).\n"
            f"  {without_layers(wrapped)}"
        )
    return unasked(wrapped, x, seed=seed, batch_size=batch_size, progress=progress)


def without_layers(wrapped: Model) -> str:
    """What to do about a model that shows no layers and no weights."""
    if wrapped.adapter.parts():
        return (
            "Models of scikit-learn have no layers: pellucid.inside.surrogate_tree and"
            " pellucid.inside.embedding look at what they do."
        )
    return "Wrap the model itself rather than its predict function."


def as_it_is(task: Task) -> Task:
    """The same task over the whole model, where a final softmax or sigmoid is left on."""
    whole = copy(task)
    whole.model = CountedModel(task.wrapped.adapter, peel=False)
    return whole
