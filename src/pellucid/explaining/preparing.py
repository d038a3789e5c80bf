"""A task over a data set that is to be asked by other means than a method."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.counting import CountedModel
from pellucid.engine.schedule import Progress, Schedule
from pellucid.errors import TargetError
from pellucid.explaining.before import check_feature_names, check_seed
from pellucid.model import wrap
from pellucid.running.outputs import check_class_names
from pellucid.targets import resolve_target
from pellucid.task import Task
from pellucid.types import TargetLike, shape_of


def prepare(
    model: Any,
    x: Any,
    target: TargetLike,
    *,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
    each_predicted: bool = False,
    choose: Callable[[int], np.ndarray] | None = None,
) -> Task:
    """The task of explaining one and the same score of every row of `x`.

    With `each_predicted` it may be each row's predicted class. `choose` picks the numbers of the
    rows that are asked about, given how many there are.

    Raises `TargetError` where the model has several outputs and none is named: what is predicted
    differs from row to row.
    """
    task = unasked(model, x, seed=seed, batch_size=batch_size, progress=progress, choose=choose)
    aim(task, target, each_predicted=each_predicted)
    return task


def aim(task: Task, target: TargetLike, *, each_predicted: bool = False) -> None:
    """Run the model, and let the task explain `target`; see `prepare`."""
    wrapped = task.wrapped
    task.predict()
    check_class_names(wrapped.class_names, task.outputs)
    shape = shape_of(task.outputs)
    if target is None and not each_predicted and len(shape) == 2 and shape[1] > 1:
        names = wrapped.class_names
        raise TargetError(
            f"This model has {shape[1]} outputs: name the one to look at over all rows,"
            f" target={names[-1]!r}." if names else
            f"This model has {shape[1]} outputs: name the one to look at over all rows,"
            " target=0 for instance."
        )  # fmt: skip
    task.set_target(
        resolve_target(
            target, task.outputs, task.count, wrapped.class_names,
            explained=wrapped.explained(task.x), to_numpy=wrapped.adapter.to_numpy,
        )
    )  # fmt: skip


def unasked(
    model: Any,
    x: Any,
    *,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
    choose: Callable[[int], np.ndarray] | None = None,
) -> Task:
    """A task over `x` before anything is run: without prediction and without a target."""
    wrapped = wrap(model, example=x)
    wrapped = replace(wrapped, adapter=wrapped.adapter.for_one_explanation())
    check_seed(seed)
    batch = wrapped.accept(x)
    check_feature_names(wrapped, batch)
    if choose is not None:
        batch = batch.rows(choose(len(batch)), wrapped.adapter.xp, wrapped.adapter.asarray)
    schedule = Schedule(
        batch_size,
        is_out_of_memory=wrapped.adapter.is_out_of_memory,
        memory=wrapped.batch_sizes,
        progress=progress,
        kind=" ".join(f"{a.shape[1:]}{a.dtype}" for a in batch.arrays) + " ",
        layouts=wrapped.adapter.layouts,
    )
    counted = CountedModel(wrapped.adapter, peel=wrapped.peel)
    return Task(wrapped, batch, counted, seed=int(seed), schedule=schedule, keeps_integers=False)
