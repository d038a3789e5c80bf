"""Gradients of what a task explains: at the inputs, at changed copies of them, at a layer."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.protocol import Intercept
from pellucid.counting import CountedCut
from pellucid.errors import PellucidError
from pellucid.running.outputs import check_outputs, single_output
from pellucid.targets import Form, Target, picked
from pellucid.types import Array, Leaves, Outputs, is_array

if TYPE_CHECKING:
    from pellucid.task import Task

Pullback = Callable[[Array], Leaves]


class _SeveralOutputs(Exception):  # noqa: N818 - control flow inside this module
    """The model returns more than one array, so outputs cannot be differentiated as one."""


def outputs_and_pullback(
    task: "Task", intercept: Intercept | None = None, kinds: frozenset[str] | None = None
) -> tuple[Outputs, Pullback] | None:
    """The outputs for the whole batch with their graph; None where that cannot be had.

    The ordinary prediction then finds out which rows fail, and copes with other outputs.
    """
    try:
        outputs, _, pullback = task.model.vjp(
            lambda given: (_one_array(task, given, intercept, kinds), None), task.x
        )
    except PellucidError:
        raise
    except Exception:
        return None
    check_outputs(outputs, task.count, task.model.adapter)
    return outputs, pullback


def _one_array(
    task: "Task", leaves: Leaves, intercept: Intercept | None, kinds: frozenset[str] | None
) -> Array:
    outputs = single_output(task.model.run(leaves, intercept=intercept, kinds=kinds))
    if not is_array(outputs):
        raise _SeveralOutputs
    return outputs


def gradients_at_x(task: "Task") -> tuple[tuple[np.ndarray, ...], ...]:
    """∂score/∂x of every sample for each target, float32, one array per input."""

    def in_numpy(gradients: Sequence[Leaves]) -> tuple[np.ndarray, ...]:
        return tuple(task.to_numpy(g).astype(np.float32) for leaves in gradients for g in leaves)

    def evaluate(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return in_numpy(gradients_at(task, task.take(task.x, rows), rows))

    pullback = task.pullback
    if pullback is not None:
        found = in_numpy(gradients_of_outputs(task, pullback))
    else:
        found = over_samples(task, evaluate, key="gradient")
    size = len(task.batch.arrays)
    return tuple(found[i : i + size] for i in range(0, len(found), size))


def gradients_of_outputs(task: "Task", pullback: Pullback) -> tuple[Leaves, ...]:
    """∂score/∂leaf of every sample for each target, by the pullback of the task's outputs."""
    return _by_outputs(task, task.outputs, pullback, np.arange(task.count))


def gradients_each(
    task: "Task", run: Callable[[Leaves], Outputs], leaves: Leaves, rows: np.ndarray
) -> tuple[Leaves, ...]:
    """∂score/∂leaf for each target of what `run` returns: one pass forward, one back a target.

    A pass back begins at what its own target takes of the outputs, not at the scores of all.
    """

    def fn(given: Leaves) -> tuple[Array, bool]:
        outputs = single_output(run(given))
        if len(task.targets) > 1 and is_array(outputs):
            return outputs, True
        return task.score_each(outputs, rows), False

    value, is_outputs, pullback = task.model.vjp(fn, leaves)
    if is_outputs:
        return _by_outputs(task, value, pullback, rows)
    return tuple(pullback(one) for one in _cotangents(task, len(rows)))


def _by_outputs(
    task: "Task", outputs: Outputs, pullback: Pullback, rows: np.ndarray
) -> tuple[Leaves, ...]:
    adapter = task.model.adapter
    ones = task.asarray(np.ones(len(rows), dtype=np.float32))

    def gradient(target: Target) -> Leaves:
        _, _, back = adapter.vjp(
            lambda given: (target.score(given[0], adapter, rows), None), (outputs,)
        )
        return pullback(back(ones)[0])

    return tuple(map(gradient, task.targets))


def score_and_gradient(task: "Task", leaves: Leaves, rows: np.ndarray) -> tuple[Array, Leaves]:
    """`(score (m,), ∂score/∂leaf for each leaf)` of the first target."""

    def fn(given: Leaves) -> tuple[Array, None]:
        return task.score(task.run(given, rows), rows), None

    leaves = task.in_own_type(leaves)
    with task.naming_samples(leaves, rows):
        value, _, pullback = task.model.vjp(fn, leaves)
        return value, pullback(task.xp.ones_like(value))


def value_and_gradient(
    task: "Task",
    value_of: Callable[[Callable[..., Outputs], Leaves, tuple[Array, ...]], Array],
    leaves: Leaves,
    arguments: tuple[Array, ...],
    form: Hashable,
    rows: np.ndarray,
) -> tuple[Array, Leaves]:
    """`(value (m,), ∂value/∂leaf for each leaf)` of `value_of(run, leaves, arguments)`.

    Compiled where a framework can and it is asked for often: of equal `form` one function serves
    all, so `value_of` holds nothing that changes. It runs the model by `run` alone.
    """
    adapter, model = task.model.adapter, task.model

    def work(leaves: Leaves, arguments: tuple[Array, ...]) -> tuple[Any, None]:
        run = partial(adapter.run, peel=model.peel)
        value, _, pullback = adapter.vjp(
            lambda given: (value_of(run, given, arguments), None), leaves
        )
        return (value, pullback(adapter.xp.ones_like(value))), None

    count = len(rows)
    with task.naming_samples(leaves, rows):
        found = model.compiled(
            leaves, work, (leaves, arguments), form, forward=count, backward=count
        )
        if found is not None:
            return found[0]
        value, _, pullback = model.vjp(
            lambda given: (value_of(model.run, given, arguments), None), leaves
        )
        return value, pullback(task.xp.ones_like(value))


def gradients_at(
    task: "Task", leaves: Leaves, rows: np.ndarray, *, many: bool = False
) -> tuple[Leaves, ...]:
    """∂score/∂leaf for each target; compiled where there is `many` to do."""
    leaves = task.in_own_type(leaves)
    if task.opened is None:
        leaves = task.model.adapter.arranged(leaves, task.schedule.layout)
        found = _by_compiled(task, leaves, rows) if many else None
        if found is not None:
            return found
    if len(task.targets) == 1:
        return (score_and_gradient(task, leaves, rows)[1],)
    with task.naming_samples(leaves, rows):
        return gradients_each(task, lambda given: task.run(given, rows), leaves, rows)


def _by_compiled(task: "Task", leaves: Leaves, rows: np.ndarray) -> tuple[Leaves, ...] | None:
    if any(target.function for target in task.targets):
        return None
    key = tuple((tuple(a.shape), a.dtype) for a in leaves)
    if key not in task.compiled:  # asked for once for each shape
        forms = tuple((t.form, len(t.picks(rows[:0]))) for t in task.targets)
        scores = partial(picked_each, task.xp, forms)
        task.compiled[key] = task.model.compiled_gradients(leaves, scores, forms)
    compiled = task.compiled[key]
    if compiled is None:
        return None
    picks = [p for target in task.targets for p in target.picks(rows)]
    with task.naming_samples(leaves, rows):
        return compiled(leaves, tuple(map(task.asarray, picks)))


def picked_each(
    xp: Any, forms: Sequence[tuple[Form, int]], outputs: Outputs, picks: tuple[Array, ...]
) -> list[Array]:
    """The score of each target by its form and number of picks, all `picks` in a row.

    It may be kept in a compiled function, so it holds nothing of a task.
    """
    outputs = single_output(outputs)
    return [picked(outputs, xp, form, own) for form, own in shared_out(forms, picks)]


def shared_out(
    forms: Sequence[tuple[Form, int]], picks: tuple[Array, ...]
) -> list[tuple[Form, tuple[Array, ...]]]:
    """The form of each target with its own of all `picks` in a row."""
    found = []
    for form, size in forms:
        found.append((form, picks[:size]))
        picks = picks[size:]
    return found


def gradients_from_inputs(
    task: "Task", inputs: Leaves, rows: np.ndarray, *, many: bool = False
) -> tuple[Leaves, ...]:
    """∂score/∂leaf for each target where the model runs on `inputs`, for an opened layer too."""
    if task.opened is None:
        return gradients_at(task, inputs, rows, many=many)
    with task.origin.naming_samples(inputs, rows):
        cut = task.opened.cut(task.origin.in_own_type(inputs))
        return gradients_each(task, lambda given: cut.run(given[0]), (cut.value,), rows)


def gradient_at_cut(task: "Task", cut: CountedCut, rows: np.ndarray) -> Array:
    """∂score/∂value of the first target where the cut of samples `rows` has its own value."""
    target = task.target
    if target.function is None:
        picks = target.picks(rows)
        forms = ((target.form, len(picks)),)
        scores = partial(picked_each, task.xp, forms)
        found = cut.gradient(scores, tuple(map(task.asarray, picks)), forms)
        if found is not None:
            return found
    value, _, pullback = task.model.vjp(
        lambda given: (task.score(cut.run(given[0]), rows), None), (cut.value,)
    )
    return pullback(task.xp.ones_like(value))[0]


def _cotangents(task: "Task", rows: int) -> list[Array]:
    """For each target, ones at its own part of `score_each`."""
    each = np.repeat(np.eye(len(task.targets), dtype=np.float32), rows, axis=1)
    return [task.asarray(one) for one in each]


def over_samples(
    task: "Task", evaluate: Callable[[np.ndarray], tuple[np.ndarray, ...]], *, key: str
) -> tuple[np.ndarray, ...]:
    """`evaluate(rows)` over all samples in micro-batches, each result joined along rows."""
    parts = [
        out
        for _, _, out in task.schedule.run(
            task.count, lambda start, stop: evaluate(np.arange(start, stop)), key=key
        )
    ]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
