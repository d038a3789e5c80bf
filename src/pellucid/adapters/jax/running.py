"""A run in which an interceptor decides what layers and operations return."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.adapters.jax.any_shape import perform_at_any_shape
from pellucid.adapters.jax.operations import form_of
from pellucid.adapters.jax.pieces import Event
from pellucid.adapters.jax.program import Mark, Program, evaluate
from pellucid.adapters.jax.reading import Reading, exit_event
from pellucid.adapters.jax.sliding import sliding_of
from pellucid.adapters.jax.units import Unit
from pellucid.adapters.protocol import LAYERS_ONLY, Intercept, Operation
from pellucid.adapters.sliding import Sliding
from pellucid.types import Leaves, Outputs


class JaxOperation(Operation):
    """One operation or layer exit, ready to be made."""

    def __init__(
        self,
        perform: Callable[[Sequence[Any], Mapping[str, Any]], Any],
        described: Unit | Mark,
        inputs: tuple[Any, ...],
        weights: Mapping[str, Any],
    ) -> None:
        self._perform = perform
        self.path, self.call = described.path, described.call
        self.inputs, self.weights = inputs, weights
        if isinstance(described, Unit):
            self.kind, self.name = described.kind, described.name
            self.index, self.live = described.index, described.live
            self.sources = described.sources
            self.arguments = described.arguments
            self.form = form_of(described.name, described.kind, described.live)
        else:
            self.kind, self.name = "layer", described.kind
            self.index, self.live, self.arguments = -1, (True,), {}

    def __call__(self, *, inputs=None, weights=None, bias=True):
        # A bias is an addition of its own in JAX, so there is none to leave out here.
        return self._perform(
            self.inputs if inputs is None else inputs, {**self.weights, **(weights or {})}
        )

    def sliding(self) -> Sliding | None:
        return sliding_of(self.name, self.arguments, self.inputs, self.weights)


def intercepted(
    reading: Reading,
    program: Program,
    names: Sequence[str],
    arrays: Sequence[Any],
    x: Leaves,
    intercept: Intercept,
    layers: Sequence[str],
    *,
    kinds: frozenset[str] | None,
) -> Outputs:
    """Run the pieces between the operations of `kinds` (None: all) and the exits of `layers`."""
    happening: dict[tuple[int, ...], Unit | Mark] = {}
    events = []
    for layer in layers:
        mark = program.mark_named[layer]
        events.append(exit_event(mark))
        happening[events[-1].writes] = mark
    for unit in () if kinds == LAYERS_ONLY else reading.units(program):
        if kinds is None or unit.kind in kinds:
            reads = (*unit.inputs, *unit.weights.values())
            numbered = tuple(v for v in reads if isinstance(v, int))
            position, members = unit.positions[-1], frozenset(unit.positions)
            events.append(Event(position, members, numbered, unit.outputs))
            happening[unit.outputs] = unit
    chain, whole = reading.chain(program, events), kinds == LAYERS_ONLY
    known = reading.known(program, arrays, x)
    for event, piece in zip(chain.events, chain.pieces, strict=False):
        known.update(piece.run(known, compiled=whole))
        described = happening[event.writes]
        made = _decided(reading, program, described, known, intercept)
        known.update(zip(event.writes, made, strict=True))
    known.update(chain.pieces[-1].run(known, compiled=whole))
    return reading.nest(chain.results(known))


def _decided(
    reading: Reading,
    program: Program,
    described: Unit | Mark,
    known: Mapping[int, Any],
    intercept: Intercept,
) -> list[Any]:
    """What the interceptor makes of one event, in the types that the model goes on with."""
    if isinstance(described, Mark):
        value = known[described.source]
        returned = [intercept(JaxOperation(lambda given, _: given[0], described, (value,), {}))]
        numbers: tuple[int, ...] = (described.value,)
    else:
        inputs = tuple(known[v] if isinstance(v, int) else v.val for v in described.inputs)
        weights = {
            k: known[v] if isinstance(v, int) else v.val for k, v in described.weights.items()
        }
        made = _performer(reading, program, described)
        out = intercept(JaxOperation(made, described, inputs, weights))
        numbers = described.outputs
        returned = [out] if len(numbers) == 1 else list(out)
    return [
        jnp.asarray(a, program.avals[v].dtype) if a.dtype != program.avals[v].dtype else a
        for v, a in zip(numbers, map(_as_array, returned), strict=True)
    ]


def _as_array(a: Any) -> Any:
    return a if isinstance(a, jax.Array) else jnp.asarray(a)


def _performer(
    reading: Reading, program: Program, unit: Unit
) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
    """The steps of one operation as a compiled function of its inputs and weights."""
    steps = [program.steps[i] for i in unit.positions]

    def of_one(inputs: Sequence[Any], weights: Mapping[str, Any]) -> list[Any]:
        # By position: one array may be read twice, as in x · x.
        given = list(inputs)
        if weights:
            given.insert(unit.weight_place, weights["weight"])
        return list(perform_at_any_shape(steps[0], given, program))

    def of_several(inputs: Sequence[Any], weights: Mapping[str, Any]) -> list[Any]:
        known = dict(zip(unit.inputs, inputs, strict=True))
        evaluate(steps, known)  # type: ignore[arg-type]
        return [known[v] for v in unit.outputs]

    # Not compiled as a whole: JAX keeps each primitive it has compiled for all models, so that a
    # hundred operations of a kind cost one compilation and not a hundred.
    function = of_one if len(steps) == 1 else of_several

    def made(inputs: Sequence[Any], weights: Mapping[str, Any]) -> Any:
        results = function(tuple(inputs), dict(weights))
        return results[0] if len(results) == 1 else results

    return made
