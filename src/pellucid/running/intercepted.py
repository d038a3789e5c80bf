"""Runs of a task in which operations are intercepted: for methods with other backward passes."""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.protocol import Intercept, Operation
from pellucid.errors import CoverageError
from pellucid.running.gradients import gradients_each, outputs_and_pullback, shared_out
from pellucid.running.outputs import check_outputs, model_errors, single_output
from pellucid.targets import Form, picked
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

    def run(given: Leaves) -> Outputs:
        return _run(task, given, inputs, intercept, kinds)

    with task.naming_samples(leaves, rows):
        return gradients_each(task, run, leaves, rows)


def compiled_under(
    task: "Task",
    leaves: Leaves,
    rows: np.ndarray,
    given: tuple[Any, ...],
    rules: Callable[..., tuple[Intercept, Callable[[], Any]]],
    kinds: frozenset[str],
    form: Hashable,
    then: Callable[..., Any] = lambda found, leaves, given: found,
) -> tuple[Any, Any] | None:
    """`gradients_under` by one compiled function, and a fact; None where it is to go step by step.

    `rules(*given)` makes the interceptor, of arrays and of what `form` tells apart, and what tells
    the fact when all is traced; `then(gradients, leaves, given)` is done with what is found.
    """
    if task.opened is not None or any(target.function for target in task.targets):
        return None
    adapter, peel = task.model.adapter, task.model.peel
    forms = tuple((t.form, len(t.picks(rows[:0]))) for t in task.targets)
    picks = tuple(task.asarray(p) for target in task.targets for p in target.picks(rows))
    ones = np.ones(len(rows), dtype=np.float32)

    def work(leaves: Leaves, given: Any, picks: tuple[Array, ...]) -> tuple[Any, Any]:
        intercept, fact = rules(*given)

        def fn(own: Leaves) -> tuple[Array, None]:
            outputs = adapter.run(own, peel=peel, intercept=intercept, kinds=kinds)
            return single_output(outputs), None

        outputs, _, pullback = adapter.vjp(fn, leaves)

        def gradient(target: tuple[Form, tuple[Array, ...]]) -> Leaves:
            form, own = target
            _, _, back = adapter.vjp(
                lambda at: (picked(at[0], adapter.xp, form, own), None), (outputs,)
            )
            return pullback(back(adapter.asarray(ones))[0])

        found = tuple(map(gradient, shared_out(forms, picks)))
        return then(found, leaves, given), fact()

    with task.naming_samples(leaves, rows):
        return task.model.compiled(
            leaves, work, (leaves, given, picks), (form, forms),
            forward=len(rows), backward=len(rows) * len(forms),
        )  # fmt: skip


def begun_under(
    task: "Task", intercept: Intercept, kinds: frozenset[str]
) -> tuple[Outputs, Callable[[Array], Leaves]] | None:
    """The outputs of a run in which operations are intercepted, and what differentiates them.

    None where the ordinary prediction has to find out what is wrong.
    """
    try:
        return outputs_and_pullback(task, intercept, kinds)
    except OtherOperationsError:
        return None


def _run(
    task: "Task", leaves: Leaves, inputs: Leaves, intercept: Intercept, kinds: frozenset[str]
) -> Outputs:
    if task.opened is None:
        return task.model.run(leaves, intercept=intercept, kinds=kinds)

    def at_exit(op: Operation) -> Array:
        return leaves[0] if op.kind == "layer" else intercept(op)

    layers = (task.opened.layer,)
    return task.model.run(inputs, intercept=at_exit, layers=layers, kinds=kinds | {"layer"})
