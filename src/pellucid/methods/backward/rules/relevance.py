"""The interceptor that gives every operation its rule, and the relevance that then flows."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pellucid.adapters.derived import info_of, numbered
from pellucid.adapters.facts import OPERATION_KINDS
from pellucid.adapters.protocol import Intercept, Operation, OperationInfo
from pellucid.errors import InputError
from pellucid.methods.backward.parts import at
from pellucid.methods.backward.rules import others
from pellucid.methods.backward.rules.arithmetic import Arithmetic, smallest
from pellucid.methods.backward.rules.composites import Composite
from pellucid.methods.backward.rules.layout import Layout, layouts_told
from pellucid.methods.backward.rules.linear import StreamedRule, Streams, through
from pellucid.methods.backward.rules.plan import CLOSED, REFUSED, Plan, Role, plan_of
from pellucid.methods.backward.rules.signed import Box
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.running.gradients import cotangents
from pellucid.running.intercepted import OtherOperationsError
from pellucid.types import Array, Leaves, shape_of

if TYPE_CHECKING:
    from pellucid.task import Task


class Relevance:
    """Decides what operations return in one run: their values, with the derivatives of rules."""

    def __init__(
        self, made: Arithmetic, plan: Plan, uncovered: Uncovered, *, frozen_attention: bool = False
    ) -> None:
        self._made, self._plan, self._uncovered = made, plan, uncovered
        self._frozen = frozen_attention
        self._streams: dict[int, Streams] = {}

    def __call__(self, op: Operation) -> Array:
        role = self._plan.roles.get(op.index)
        # What only moves numbers needs no rule, and a run may have more of it at a layer.
        moves = role is None and op.kind == "route"
        known = self._plan.known.get(op.index)
        if self._plan.of_one and not moves and known != (op.name, op.path):
            raise OtherOperationsError(_parting(op))
        if role is None:
            hidden = op.kind in REFUSED or (known is None and not moves)
            return self._uncovered(op) if hidden and any(op.live) else op()
        if role.info.name != op.name:
            raise OtherOperationsError(_parting(op))
        if role.rule == "none":
            return self._uncovered(op)
        # Whole numbers have no derivative, so none to replace: where words are looked up.
        live = others.live_places(op, role.info.live)
        return self._by(role, op) if any(_is_real(op.inputs[i]) for i in live) else op()

    def _by(self, role: Role, op: Operation) -> Array:
        made, places = self._laid_out(op), others.live_places(op, role.info.live)
        match role.rule:
            case "chain":
                return self._chain(role, op, places[0])
            case "pass" | "shift":
                return others.elementwise(made, op, places[0])
            case "one":
                return others.to_one(made, op, places, role.taker)
            case "halves":
                return others.halved(made, at(op, places), *(op.inputs[i] for i in places))
            case "squared_difference":
                return others.squared_difference(made, op, places)
            case "norm":
                return others.normalised(made, op)
            case "attention":
                return others.attention(made, op, frozen=self._frozen)
        raise AssertionError(role.rule)

    def _laid_out(self, op: Operation) -> Arithmetic:
        layouts = self._plan.layouts
        return self._made if layouts is None else self._made.on(layouts.get(op.index))

    def _chain(self, role: Role, op: Operation, place: int) -> Array:
        chain, made = role.chain, self._laid_out(op)
        assert chain is not None
        if isinstance(chain.rule, StreamedRule):
            if op.index == chain.start:
                begun = chain.rule.start(made, op, nonnegative=chain.nonnegative)
                self._streams[chain.start] = begun
            else:
                moves = op.index < chain.last_move
                through(made, op, place, self._streams[chain.start], moves=moves)
        z = op()
        if op.index != chain.end:
            return z
        return made.keep(z, chain.rule.surrogate(made, z, self._streams.pop(chain.start, None)))


def _parting(op: Operation) -> str:
    return (
        f"The model does something else from run to run on these samples: at operation {op.index}"
        f" ({op.name} in {op.path or 'the model'}) two runs part.\n"
        "  integrated_gradients needs no rules."
    )


def _is_real(a: Array) -> bool:
    return "float" in str(a.dtype)


def planned(
    task: "Task",
    composite: Composite,
    layer: str | None,
    row: int | None = None,
    *,
    apart: bool = False,
) -> Plan:
    """The plan for the model of a task, from one look at its operations on the first row.

    Or on `row`, where other operations are done on it. A second look opens loops and recurrent
    layers, where there are any; with `apart`, another finds where the samples are in their values.
    """
    origin = task.origin
    looked_at = np.asarray([0 if row is None else row])
    first = origin.take(origin.x, looked_at)
    with origin.naming_samples(first, looked_at):
        kinds = None
        infos = _met(task, first, kinds)
        if any(info.kind in CLOSED for info in infos):
            kinds = OPERATION_KINDS
            infos = _met(task, first, kinds)
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


def _met(task: "Task", leaves: Leaves, kinds: frozenset[str] | None) -> list[OperationInfo]:
    """The operations of a run like the one that is differentiated, its end peeled like there.

    With all kinds named, loops go turn by turn, and recurrent layers step by step.
    """
    infos: list[OperationInfo] = []

    def note(op: Operation) -> Array:
        out = op()
        infos.append(info_of(op, shape_of(out)))
        return out

    task.origin.model.run(leaves, intercept=note, kinds=kinds)
    return infos


def relevances(
    task: "Task",
    rows: np.ndarray,
    plan: Plan,
    composite: Composite,
    *,
    uncovered: Uncovered,
    epsilon: float,
    absolute: bool,
) -> tuple[tuple[np.ndarray, ...], ...]:
    """R of each leaf of the task for each target, `(targets)(leaves)`, float32.

    At a layer, the derivative is taken in a zero that is added to what the layer returns.
    """
    origin, adapter = task.origin, task.model.adapter
    made = Arithmetic(adapter, len(rows), epsilon=epsilon, absolute=absolute, zeros=plan.zeros)
    inputs = origin.in_own_type(origin.take(origin.x, rows))
    decide = Relevance(made, plan, uncovered, frozen_attention=composite.frozen_attention)
    opened = task.opened
    if opened is None:

        def run(given: Leaves) -> tuple[Array, None]:
            outputs = task.model.run(given, intercept=decide, kinds=plan.kinds)
            return task.score_each(outputs, rows), None

        leaves, values = inputs, [task.batch.arrays[k][rows] for k in range(len(inputs))]
    else:
        held = task.take(task.x, rows)[0]

        def run(given: Leaves) -> tuple[Array, None]:
            def probed(op: Operation) -> Array:
                if op.kind != "layer":
                    return decide(op)
                return op() + given[0] if numbered(op) == opened.layer else op()

            outputs = task.model.run(
                inputs, intercept=probed, layers=(opened.layer,), kinds=plan.kinds | {"layer"}
            )
            return task.score_each(outputs, rows), None

        leaves, values = (task.xp.zeros_like(held),), [task.to_numpy(held)]
    with origin.naming_samples(inputs, rows):
        _, _, pullback = task.model.vjp(run, leaves)
        found = [pullback(one) for one in cotangents(task, len(rows))]
    tiny = [smallest(task.xp, a.dtype) if v.dtype.kind == "f" else 0.0
            for a, v in zip(leaves, values, strict=True)]  # fmt: skip
    return tuple(
        tuple(
            (_nudged(v, least) * task.to_numpy(g).astype(np.float64)).astype(np.float32)
            for v, g, least in zip(values, each, tiny, strict=True)
        )
        for each in found
    )


def _nudged(x: np.ndarray, tiny: float) -> np.ndarray:
    if x.dtype.kind != "f":
        return x.astype(np.float64)
    x = x.astype(np.float64)
    return np.where(np.abs(x) < tiny, tiny, x)


def bounds_for(task: "Task", plan: Plan, low: object, high: object) -> Plan:
    """The plan with the bounds of the input put into its rules of a bounded input.

    Bounds are a number, one for each channel, or an array of an input's shape. What the layer sees
    for the smallest and the largest input is found by running the model on both.
    """
    boxes = {
        r.chain.start for r in plan.roles.values() if r.chain and isinstance(r.chain.rule, Box)
    }
    if not boxes:
        return plan
    if low is None or high is None:
        raise InputError(
            "The rule box needs the smallest and the largest value that inputs have: pass low= and"
            " high=, such as low=0.0, high=1.0."
        )
    origin = task.origin
    for array in origin.batch.arrays:
        if array.dtype.kind == "f" and np.any(
            _bound(array, low, origin) > _bound(array, high, origin)
        ):
            raise InputError(f"Expected low to be at most high, got low={low!r}, high={high!r}.")
    seen: dict[int, list[Array]] = {start: [] for start in boxes}

    def keep(op: Operation) -> Array:
        if op.index in boxes:
            seen[op.index].append(
                origin.model.adapter.stop_gradient(op.inputs[op.live.index(True)])
            )
        return op()

    for bound in (low, high):
        rows = tuple(_bound(a, bound, origin) for a in origin.batch.arrays)
        leaves = origin.in_own_type(tuple(map(origin.asarray, rows)))
        with origin.naming_samples(leaves, np.arange(1)):
            origin.model.run(leaves, intercept=keep, kinds=frozenset({"linear"}))
    roles = dict(plan.roles)
    for i, role in plan.roles.items():
        if role.chain and role.chain.start in boxes:
            rule = Box(*seen[role.chain.start])
            roles[i] = replace(role, chain=replace(role.chain, rule=rule))
    return replace(plan, roles=roles)


def outside_bounds(task: "Task", low: object, high: object) -> tuple[str, ...]:
    """A warning where inputs leave the bounds that the rule box was given for them."""
    origin, found = task.origin, []
    for name, array in zip(origin.batch.names, origin.batch.arrays, strict=True):
        if array.dtype.kind != "f":
            continue
        least, most = (_bound(array, bound, origin) for bound in (low, high))
        margin = 1e-4 * (most - least)  # rounding of a preprocessing
        if np.any(array < least - margin) or np.any(array > most + margin):
            found.append(
                f"{name} has values from {array.min():.4g} to {array.max():.4g}, outside of low and"
                " high: the rule box holds for inputs between them only; they bound what the model"
                " itself is given, after preprocessing"
            )
    return tuple(found)


def _bound(array: np.ndarray, bound: object, task: "Task") -> np.ndarray:
    """One row of a bound in the shape of an input."""
    shape = (1, *array.shape[1:])
    if array.dtype.kind != "f":
        return array[:1]
    given = np.asarray(bound, dtype=np.float32)
    if given.ndim == 1 and len(shape) > 2:
        axis = task.model.adapter.channel_axis_of(len(shape))
        given = given.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    try:
        return np.broadcast_to(given, shape).copy()
    except ValueError as error:
        raise InputError(
            f"Expected a bound that is a number, one for each channel, or of shape {shape[1:]}, got"
            f" shape {given.shape}."
        ) from error
