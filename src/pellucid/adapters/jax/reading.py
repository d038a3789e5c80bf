"""A model traced for one shape of input: its program, with and without the last activation."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core

from pellucid.adapters.final import confirmed
from pellucid.adapters.jax.marks import tracing
from pellucid.adapters.jax.operations import form_of
from pellucid.adapters.jax.peel import Ending, ending_of, peeled
from pellucid.adapters.jax.pieces import Bounded, Chain, Event
from pellucid.adapters.jax.program import Mark, Program, flatten
from pellucid.adapters.jax.sources import Snapshot
from pellucid.adapters.jax.units import Unit, units_of
from pellucid.adapters.jax.unrolling import unrolled
from pellucid.adapters.protocol import LayerInfo, OperationInfo
from pellucid.adapters.structure import Structure
from pellucid.types import Leaves, Outputs

_CHAINS = 24


class Reading:
    """What a trace says, and the functions compiled from it."""

    def __init__(
        self, program: Program, nest: Callable[[Sequence[Any]], Outputs], rows: int
    ) -> None:
        self.program = program
        self.nest = nest
        self.rows = rows
        self._endings: tuple[Ending | None, ...] | None = None
        self._peeled: Program | None = None
        self._opened: dict[int, Program] = {}
        self._chains: Bounded[Chain] = Bounded(_CHAINS)
        self._units: Bounded[tuple[Unit, ...]] = Bounded(4)
        self.compiled: Bounded[Any] = Bounded(512)

    def known(self, program: Program, arrays: Sequence[Any], x: Leaves) -> dict[int, Any]:
        """The values that are there before the first step."""
        found = dict(program.constants)
        found.update(zip(program.weights, arrays, strict=True))
        found.update(zip(program.leaves, x, strict=True))
        return found

    def chain(self, program: Program, events: Sequence[Event] = ()) -> Chain:
        """The compiled pieces between events, up to the program's outputs."""
        key = id(program), tuple((e.position, e.writes) for e in events)
        return self._chains.get(key, lambda: Chain(program, events, program.outputs))

    def run(self, arrays: Sequence[Any], x: Leaves, *, peel: bool) -> Outputs:
        """The model as one compiled function."""
        program = self.chosen(arrays, x, peel=peel)
        known = self.known(program, arrays, x)
        chain = self.chain(program)
        known.update(chain.pieces[0].run(known))
        return self.nest(chain.results(known))

    def chosen(self, arrays: Sequence[Any], x: Leaves, *, peel: bool) -> Program:
        """The program that returns logits, or what the model returns itself."""
        if not peel or not any(self.endings(arrays, x)):
            return self.program
        if self._peeled is None:
            self._peeled = peeled(self.program, self.endings(arrays, x))
        return self._peeled

    def activations(self, arrays: Sequence[Any], x: Leaves) -> tuple[str | None, ...]:
        """Per output its final activation."""
        return tuple(e.activation if e else None for e in self.endings(arrays, x))

    def endings(self, arrays: Sequence[Any], x: Leaves) -> tuple[Ending | None, ...]:
        """What each output is seen to end in, and numbers confirm."""
        if self._endings is None:
            found = [ending_of(self.program, v) for v in self.program.outputs]
            if any(found):
                found = self._confirmed(found, arrays, x)
            self._endings = tuple(found)
        return self._endings

    def _confirmed(
        self, endings: list[Ending | None], arrays: Sequence[Any], x: Leaves
    ) -> list[Ending | None]:
        if any(isinstance(a, core.Tracer) for a in (*x, *arrays)):
            # Inside a gradient there are no numbers to look at: others of the same kind do.
            x = tuple(_like(a, i) for i, a in enumerate(x))
            arrays = [jax.lax.stop_gradient(a) for a in arrays]
            if any(isinstance(a, core.Tracer) for a in arrays):
                arrays = [_like(a, i) for i, a in enumerate(arrays)]
        candidate = peeled(self.program, endings)
        wanted = (*self.program.outputs, *candidate.outputs)
        chain = Chain(candidate, (), wanted)
        known = self.known(candidate, arrays, x)
        with jax.ensure_compile_time_eval():
            known.update(chain.pieces[0].run(known))
            results = chain.results(known)
        count = len(endings)
        kept = []
        for k, ending in enumerate(endings):
            y, z = results[k], results[count + k]
            half = y.dtype in (jnp.float16, jnp.bfloat16) or z.dtype in (jnp.float16, jnp.bfloat16)
            right = ending is not None and confirmed(
                ending.activation, np.asarray(z, np.float64), np.asarray(y, np.float64), half=half
            )
            kept.append(ending if right else None)
        return kept

    def units(self, program: Program) -> tuple[Unit, ...]:
        """The operations of a program, worked out when first asked for."""
        return self._units.get(id(program), lambda: units_of(program))

    def opened(self, program: Program) -> Program:
        """The program with its loops of a known length unrolled; kept, as all its programs are."""
        if id(program) not in self._opened:
            self._opened[id(program)] = unrolled(program)
        return self._opened[id(program)]

    def inventory(self) -> tuple[OperationInfo, ...]:
        """The operations of the model itself."""
        avals = self.program.avals
        return tuple(
            OperationInfo(
                index=u.index,
                kind=u.kind,
                name=u.name,
                path=u.path,
                call=u.call,
                shape=tuple(avals[u.outputs[0]].shape),
                live=u.live,
                form=form_of(u.name, u.kind, u.live),
                sources=u.sources,
            )
            for u in self.units(self.program)
        )

    def infos(self, counts: Callable[[str], int]) -> tuple[LayerInfo, ...]:
        """The layer calls, in the order in which they return."""
        found = []
        for order, mark in enumerate(self.program.marks):
            shape = tuple(self.program.avals[mark.value].shape)
            shape = (None, *shape[1:]) if shape else ()
            found.append(LayerInfo(mark.name, mark.kind, shape, counts(mark.path), order))
        return tuple(found)


_READINGS: "weakref.WeakKeyDictionary[Any, Bounded[Reading]]" = weakref.WeakKeyDictionary()
_KEEPING = threading.Lock()


def readings_of(anchor: Any) -> Bounded[Reading]:
    """The traces kept for a function or a class of models, while it lives.

    A model that is wrapped again is not compiled again.
    """
    try:
        with _KEEPING:
            return _READINGS.setdefault(anchor, Bounded(24))
    except TypeError:  # it cannot be referred to weakly, or not be hashed
        return Bounded(24)


def exit_event(mark: Mark) -> Event:
    """The event of a layer call that returns."""
    return Event(mark.position, frozenset({mark.position}), (mark.source,), (mark.value,))


def _like(a: Any, index: int) -> jax.Array:
    if not jnp.issubdtype(a.dtype, jnp.floating):
        return jnp.zeros(a.shape, a.dtype)
    drawn = np.random.default_rng([3, index]).standard_normal(a.shape)
    return jnp.asarray(drawn.astype(np.float32)).astype(a.dtype)


def trace(snapshot: Snapshot, x: Leaves, structure: Structure) -> Reading:
    """Trace a model for inputs of the shapes of `x`."""
    nests: list[Any] = []

    def pure(arrays: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        flat, nest = jax.tree.flatten(snapshot.call(arrays, leaves, structure))
        nests.append(nest)
        return [jnp.asarray(a) for a in flat]

    shapes = [
        [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in part] for part in (snapshot.arrays, x)
    ]
    with tracing():
        closed = jax.make_jaxpr(pure)(*shapes)
    program = flatten(closed, len(snapshot.arrays))
    nest = nests[-1]
    rows = int(x[0].shape[0]) if x and x[0].ndim else 0
    return Reading(program, lambda flat: jax.tree.unflatten(nest, flat), rows)
