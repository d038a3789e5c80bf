"""Runs of a task in which operations are intercepted: for methods with other backward passes."""

from typing import TYPE_CHECKING

import numpy as np

from pellucid.adapters.protocol import Intercept, Operation
from pellucid.errors import CoverageError
from pellucid.running.gradients import cotangents
from pellucid.running.outputs import check_outputs, model_errors, single_output
from pellucid.types import Array, Leaves, Outputs

if TYPE_CHECKING:
    from pellucid.task import Task


class OtherOperationsError(CoverageError):
    """A run does other operations than the one it was prepared from, as on rows without padding."""


def outputs_under(
    task: "Task",
    leaves: Leaves,
    intercept: Intercept,
    kinds: frozenset[str],
    *,
    inputs: Leaves | None = None,
) -> Outputs:
    """The model's outputs of a run in which the operations of `kinds` are intercepted.

    Where the leaves are those of a layer, the model runs on `inputs`, and the layer returns them.
    """
    count = int(leaves[0].shape[0])
    rows, adapter = np.arange(count), task.model.adapter
    given = leaves if inputs is None else inputs
    with model_errors(task.model, given, adapter, rows, "reference inputs"):
        if task.opened is None:
            outputs = task.model.run(leaves, intercept=intercept, kinds=kinds)
        else:
            # As if for a gradient, so that all above the layer counts as depending on it.
            outputs, _, _ = task.model.vjp(
                lambda own: (single_output(_run(task, own, given, intercept, kinds)), None), leaves
            )
    check_outputs(outputs, count, adapter, rows)
    return single_output(outputs)


def gradients_under(
    task: "Task",
    leaves: Leaves,
    rows: np.ndarray,
    intercept: Intercept,
    kinds: frozenset[str],
    *,
    inputs: Leaves | None = None,
) -> tuple[Leaves, ...]:
    """What a backward pass finds for each target where operations are intercepted.

    Where the leaves are those of a layer, the model runs on `inputs`, or on the samples `rows`.
    """
    if inputs is None:
        inputs = task.origin.take(task.origin.x, rows)

    def fn(given: Leaves) -> tuple[Array, None]:
        outputs = _run(task, given, inputs, intercept, kinds)
        return task.score_each(outputs, rows), None

    with task.naming_samples(leaves, rows):
        _, _, pullback = task.model.vjp(fn, leaves)
        return tuple(pullback(one) for one in cotangents(task, len(rows)))


def _run(
    task: "Task", leaves: Leaves, inputs: Leaves, intercept: Intercept, kinds: frozenset[str]
) -> Outputs:
    if task.opened is None:
        return task.model.run(leaves, intercept=intercept, kinds=kinds)

    def at_exit(op: Operation) -> Array:
        return leaves[0] if op.kind == "layer" else intercept(op)

    layers = (task.opened.layer,)
    return task.model.run(inputs, intercept=at_exit, layers=layers, kinds=kinds | {"layer"})
