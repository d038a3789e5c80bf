"""The interceptor that gives every operation its rule, and the relevance that then flows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pellucid.adapters.protocol import Adapter, Operation
from pellucid.methods.backward.parts import at
from pellucid.methods.backward.rules import others
from pellucid.methods.backward.rules.arithmetic import Arithmetic, smallest
from pellucid.methods.backward.rules.composites import Composite
from pellucid.methods.backward.rules.inventory import is_real, planned, probed
from pellucid.methods.backward.rules.linear import StreamedRule, Streams, through
from pellucid.methods.backward.rules.plan import REFUSED, Plan, Role
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.running.gradients import gradients_each, gradients_of_outputs
from pellucid.running.intercepted import (
    OtherOperationsError,
    begun_under,
    compiled_under,
    gradients_under,
)
from pellucid.types import Array, Leaves, Outputs

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
        return self._by(role, op) if any(is_real(op.inputs[i]) for i in live) else op()

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
        return chain.rule.explained(made, z, self._streams.pop(chain.start, None))


def _parting(op: Operation) -> str:
    return (
        f"The model does something else from run to run on these samples: at operation {op.index}"
        f" ({op.name} in {op.path or 'the model'}) two runs part.\n"
        "  integrated_gradients needs no rules."
    )


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
    inputs = task.origin.in_own_type(task.origin.take(task.origin.x, rows))
    rules = partial(
        _rules, task.model.adapter, len(rows), plan, composite, uncovered,
        epsilon=epsilon, absolute=absolute,
    )  # fmt: skip
    found = None
    if task.opened is None:
        leaves, values = inputs, [task.batch.arrays[k][rows] for k in range(len(inputs))]
        if plan.of_one and not composite.bounded:
            told = None if plan.layouts is None else tuple(sorted(plan.layouts.items(), key=str))
            form = "relevance", composite, epsilon, absolute, uncovered.choice, told
            found = compiled_under(task, leaves, rows, (), rules, plan.kinds, form)
        if found is None:
            decide, met = rules()
            found = gradients_under(task, leaves, rows, decide, plan.kinds), met()
    else:
        held = task.take(task.x, rows)[0]
        leaves, values = (task.xp.zeros_like(held),), [task.to_numpy(held)]
        decide, met = rules()
        found = _at_layer(task, rows, inputs, leaves, decide, plan), met()
    uncovered.note(found[1])
    return _of_gradients(task, found[0], leaves, values)


def _at_layer(
    task: "Task", rows: np.ndarray, inputs: Leaves, zeros: Leaves, decide: Relevance, plan: Plan
) -> tuple[Leaves, ...]:
    """The derivative for each target in zeros that are added to what the opened layer returns."""
    opened = task.opened
    assert opened is not None

    def run(given: Leaves) -> Outputs:
        return task.model.run(
            inputs,
            intercept=probed(decide, opened.layer, given[0]),
            layers=(opened.layer,),
            kinds=plan.kinds | {"layer"},
        )

    with task.origin.naming_samples(inputs, rows):
        return gradients_each(task, run, zeros, rows)


class Begun(NamedTuple):
    """What differentiates the outputs of a run, and the operations it has no rule for."""

    pullback: Callable[[Array], Leaves]
    met: tuple[str, ...]

    def relevances(self, task: "Task") -> tuple[tuple[np.ndarray, ...], ...]:
        """As `relevances` of the whole batch."""
        grads = gradients_of_outputs(task, self.pullback)
        return _of_gradients(task, grads, task.x, task.batch.arrays)


def begun(
    task: "Task",
    composite: Composite,
    uncovered: Uncovered,
    *,
    epsilon: float,
    absolute: bool = False,
) -> tuple[Outputs, Begun] | None:
    """The prediction and the run that relevance flows back from, for a method's `begin`."""
    if composite.bounded:
        return None
    plan = planned(task, composite, None, apart=task.count > 1 and not absolute)
    if plan.one_by_one and task.count > 1:
        return None
    decide, met = _rules(
        task.model.adapter, task.count, plan, composite, uncovered,
        epsilon=epsilon, absolute=absolute,
    )  # fmt: skip
    found = begun_under(task, decide, plan.kinds)
    return None if found is None else (found[0], Begun(found[1], met()))


def _rules(
    adapter: Adapter,
    rows: int,
    plan: Plan,
    composite: Composite,
    uncovered: Uncovered,
    *,
    epsilon: float,
    absolute: bool,
) -> tuple[Relevance, Callable[[], tuple[str, ...]]]:
    """The interceptor of one run, and what tells the operations that it had no rule for."""
    own = uncovered.again()
    made = Arithmetic(adapter, rows, epsilon=epsilon, absolute=absolute, zeros=plan.zeros)
    decide = Relevance(made, plan, own, frozen_attention=composite.frozen_attention)
    return decide, lambda: own.met


def _of_gradients(
    task: "Task", grads: tuple[Leaves, ...], leaves: Leaves, values: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, ...], ...]:
    """Input × gradient for each target."""
    tiny = [smallest(task.xp, a.dtype) if v.dtype.kind == "f" else 0.0
            for a, v in zip(leaves, values, strict=True)]  # fmt: skip
    return tuple(
        tuple(
            (_nudged(v, least) * task.to_numpy(g).astype(np.float64)).astype(np.float32)
            for v, g, least in zip(values, each, tiny, strict=True)
        )
        for each in grads
    )


def _nudged(x: np.ndarray, tiny: float) -> np.ndarray:
    if x.dtype.kind != "f":
        return x.astype(np.float64)
    x = x.astype(np.float64)
    return np.where(np.abs(x) < tiny, tiny, x)
