"""A task for looking at a model's insides: no prediction is made unless it is needed."""

from copy import copy
from dataclasses import replace
from typing import Any

from pellucid.adapters.protocol import Tier
from pellucid.counting import CountedModel
from pellucid.engine.schedule import Progress, Schedule
from pellucid.errors import CapabilityError
from pellucid.explaining.before import check_seed
from pellucid.model import wrap
from pellucid.running.outputs import check_class_names
from pellucid.targets import resolve_target
from pellucid.task import Task
from pellucid.types import TargetLike


def task_over(
    model: Any,
    x: Any,
    *,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
    needs: Tier = Tier.TRANSPARENT,
) -> Task:
    """The task over `x`, nothing of which has run yet.

    Raises `CapabilityError` for a model that cannot be asked for its layers.
    """
    wrapped = wrap(model, example=x)
    if wrapped.supports < needs:
        raise CapabilityError(
            f"Looking inside needs a model that shows its layers; this one is"
            f" {wrapped.supports.name.lower()} ({wrapped.framework}).\n"
            "  Wrap the model itself rather than its predict function."
        )
    wrapped = replace(wrapped, adapter=wrapped.adapter.for_one_explanation())
    check_seed(seed)
    batch = wrapped.accept(x)
    schedule = Schedule(
        batch_size,
        is_out_of_memory=wrapped.adapter.is_out_of_memory,
        memory=wrapped.batch_sizes,
        progress=progress,
        kind=" ".join(f"{a.shape[1:]}{a.dtype}" for a in batch.arrays) + " ",
        layouts=wrapped.adapter.layouts,
    )
    return Task(wrapped, batch, CountedModel(wrapped.adapter, peel=wrapped.peel), seed=int(seed),
                schedule=schedule, keeps_integers=False)  # fmt: skip


def as_it_is(task: Task) -> Task:
    """The same task over the whole model, where a final softmax or sigmoid is left on."""
    whole = copy(task)
    whole.model = CountedModel(task.wrapped.adapter, peel=False)
    return whole


def aim(task: Task, target: TargetLike) -> None:
    """Run the model, and let the task explain `target`: None is each sample's predicted class."""
    task.predict()
    check_class_names(task.wrapped.class_names, task.outputs)
    task.set_target(
        resolve_target(
            target, task.outputs, task.count, task.wrapped.class_names,
            explained=task.wrapped.explained(task.x), to_numpy=task.wrapped.adapter.to_numpy,
        )
    )  # fmt: skip
