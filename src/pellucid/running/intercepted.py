"""Runs of a task in which operations are intercepted: for methods with other backward passes."""

from typing import TYPE_CHECKING

import numpy as np

from pellucid.adapters.protocol import Intercept
from pellucid.running.gradients import cotangents
from pellucid.running.outputs import check_outputs, model_errors, single_output
from pellucid.types import Array, Leaves, Outputs

if TYPE_CHECKING:
    from pellucid.task import Task


def outputs_under(
    task: "Task", leaves: Leaves, intercept: Intercept, kinds: frozenset[str]
) -> Outputs:
    """The model's outputs of a run in which the operations of `kinds` are intercepted."""
    count = int(leaves[0].shape[0])
    rows, adapter = np.arange(count), task.model.adapter
    with model_errors(task.model, leaves, adapter, rows, "reference inputs"):
        outputs = task.model.run(leaves, intercept=intercept, kinds=kinds)
    check_outputs(outputs, count, adapter, rows)
    return single_output(outputs)


def gradients_under(
    task: "Task", leaves: Leaves, rows: np.ndarray, intercept: Intercept, kinds: frozenset[str]
) -> tuple[Leaves, ...]:
    """What a backward pass finds for each target where operations are intercepted."""

    def fn(given: Leaves) -> tuple[Array, None]:
        outputs = task.model.run(given, intercept=intercept, kinds=kinds)
        return task.score_each(outputs, rows), None

    with task.naming_samples(leaves, rows):
        _, _, pullback = task.model.vjp(fn, leaves)
        return tuple(pullback(one) for one in cotangents(task, len(rows)))
