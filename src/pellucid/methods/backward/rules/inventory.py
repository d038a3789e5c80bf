"""A look at a model's operations, and the plan that is made of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pellucid.adapters.derived import info_of, numbered
from pellucid.adapters.facts import OPERATION_KINDS
from pellucid.adapters.protocol import Intercept, Operation, OperationInfo
from pellucid.counting import asked_once
from pellucid.methods.backward.rules.composites import Composite
from pellucid.methods.backward.rules.layout import Layout, layouts_told
from pellucid.methods.backward.rules.plan import CLOSED, Plan, plan_of
from pellucid.running.layers import shape_key
from pellucid.types import Array, Leaves, shape_of

if TYPE_CHECKING:
    from pellucid.task import Task


def is_real(a: Array) -> bool:
    """Whether these are real numbers, which have derivatives."""
    return "float" in str(a.dtype)


def planned(
    task: "Task",
    composite: Composite,
    layer: str | None,
    row: int | None = None,
    *,
    apart: bool = False,
) -> Plan:
    """The plan for the model of a task, from one look at its operations on a first row.

    The look is taken once for each model and shape of its inputs; or at `row`, where other
    operations are done on it. With `apart`, another finds where the samples are in their values.
    """
    origin = task.origin
    looked_at = np.asarray([0 if row is None else row])
    first = origin.take(origin.x, looked_at)
    with origin.naming_samples(first, looked_at):
        infos, kinds = _inventory(task, first, looked_at, row)
        plan = replace(plan_of(infos, composite, layer), of_one=row is None)
        if not apart:
            return plan
        wanted = {info.index: info.shape for info in infos if info.index in plan.weighed}
        found = {i: Layout() for i, shape in wanted.items() if shape and shape[0] == 1}

        def run(count: int, intercept: Intercept) -> None:
            rows = origin.take(origin.x, np.repeat(looked_at, count))
            origin.model.run(rows, intercept=intercept, kinds=kinds)

        adapter = task.model.adapter
        found |= layouts_told(
            run, frozenset(wanted) - found.keys(),
            lambda a: adapter.to_numpy(adapter.stop_gradient(a)),
        )  # fmt: skip
        return replace(plan, layouts=found)


def _inventory(
    task: "Task", first: Leaves, looked_at: np.ndarray, row: int | None
) -> tuple[tuple[OperationInfo, ...], frozenset[str] | None]:
    """The operations of a run of one row, and the kinds that were asked for to see them.

    A second look opens loops and recurrent layers, where there are any.
    """
    layer = None if task.opened is None else task.opened.layer
    known, key = task.wrapped.inventories, (*shape_key(task.origin), task.model.peel, layer)
    if row is not None:
        return _looked(task, first, looked_at)
    if key not in known:
        with asked_once():
            known[key] = _looked(task, first, looked_at)
    return known[key]


def _looked(
    task: "Task", first: Leaves, rows: np.ndarray
) -> tuple[tuple[OperationInfo, ...], frozenset[str] | None]:
    kinds, infos = None, _met(task, first, rows, None)
    if any(info.kind in CLOSED for info in infos):
        kinds = OPERATION_KINDS
        infos = _met(task, first, rows, kinds)
    return tuple(infos), kinds


def _met(
    task: "Task", first: Leaves, rows: np.ndarray, kinds: frozenset[str] | None
) -> list[OperationInfo]:
    """The operations of a run like the one that is differentiated, its end peeled like there.

    With all kinds named, loops go turn by turn, and recurrent layers step by step. Where inputs
    are whole numbers, what follows from the opened layer is live, as in that run.
    """
    infos: list[OperationInfo] = []

    def note(op: Operation) -> Array:
        out = op()
        infos.append(info_of(op, shape_of(out)))
        return out

    if task.opened is None or all(map(is_real, first)):
        task.origin.model.run(first, intercept=note, kinds=kinds)
        return infos
    layer, held = task.opened.layer, task.take(task.x, rows)[0]

    def run(given: Leaves) -> tuple[Array, None]:
        outputs = task.model.run(
            first,
            intercept=probed(note, layer, given[0]),
            layers=(layer,),
            kinds=None if kinds is None else kinds | {"layer"},
        )
        return task.score_each(outputs, rows), None

    task.model.vjp(run, (task.xp.zeros_like(held),))
    return infos


def probed(decide: Intercept, layer: str, probe: Array) -> Intercept:
    """`decide`, and at the exit of a layer its value and a probe, zeros that are differentiated."""

    def decided(op: Operation) -> Array:
        if op.kind != "layer":
            return decide(op)
        return op() + probe if numbered(op) == layer else op()

    return decided
