"""A traced model in compiled pieces, opened at the exits of chosen layers.

Between two pieces Python has the layer's value in hand. What else the upper piece needs from the
lower one, the *crossers* (residual branches, masks, sizes), is worked out on the program.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from pellucid.adapters.tensorflow.graph import Program
from pellucid.adapters.tensorflow.interpret import interpret, plan
from pellucid.adapters.tensorflow.operations import SHAPES

KEPT = 24
"""How many chains of compiled pieces are kept."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A compiled stretch of a program: from the values numbered `given` to those `wanted`."""

    given: tuple[int, ...]
    wanted: tuple[int, ...]
    function: Any

    def run(self, known: Mapping[int, Any], weights: Sequence[Any] = ()) -> dict[int, Any]:
        results = self.function(*[known[v] for v in self.given], *weights)
        return dict(zip(self.wanted, results, strict=True))


def compiled_piece(
    program: Program,
    given: Sequence[int],
    wanted: Sequence[int],
    variables: Sequence[tf.Variable] = (),
) -> Piece:
    """Compile the steps between; values of `variables` are given as well."""
    todo = plan(program, wanted, given)
    specs = [tf.TensorSpec(program.tensors[v].shape, program.tensors[v].dtype) for v in given]
    specs += [tf.TensorSpec(v.shape, v.dtype) for v in variables]

    def piece(*tensors: tf.Tensor) -> list[tf.Tensor]:
        values = dict(zip(given, tensors, strict=False))
        replaced = zip(variables, tensors[len(given) :], strict=True)
        overrides = {id(v.handle): tensor for v, tensor in replaced}
        return interpret(program, todo, values, overrides=overrides)

    function = tf.function(piece, autograph=False).get_concrete_function(*specs)
    return Piece(tuple(given), tuple(wanted), function)


@dataclass(frozen=True, eq=False)
class Chain:
    """Pieces from the inputs to the outputs, one more than there are stops."""

    stops: tuple[int, ...]
    pieces: tuple[Piece, ...]
    wanted: tuple[int, ...]
    compiled: dict[Hashable, Any] = field(default_factory=dict)
    """Functions compiled around the last piece, by what they compute."""


class Chains:
    """Compiled chains of one program, made on demand, the least used forgotten."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._made: OrderedDict[Any, Chain] = OrderedDict()
        self._lock = threading.RLock()

    def get(
        self, stops: Iterable[int], wanted: tuple[int, ...], variables: tuple[tf.Variable, ...] = ()
    ) -> Chain:
        ordered = tuple(sorted(set(stops)))
        key = (ordered, wanted, tuple(map(id, variables)))
        with self._lock:
            chain = self._made.get(key)
            if chain is None:
                chain = self._made[key] = self._make(ordered, wanted, variables)
            self._made.move_to_end(key)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
            return chain

    def _make(
        self, stops: tuple[int, ...], wanted: tuple[int, ...], variables: tuple[tf.Variable, ...]
    ) -> Chain:
        program, pieces = self._program, []
        given: tuple[int, ...] = program.inputs
        for at, stop in enumerate(stops):
            crossing = crossers(program, stops[: at + 1], (*stops[at + 1 :], *wanted))
            # What came in already, and stops passed earlier (replaced by now), is handed on.
            out = (stop, *(v for v in crossing if v not in given and v not in stops[: at + 1]))
            pieces.append(compiled_piece(program, given, out, variables))
            given = crossing
        pieces.append(compiled_piece(program, given, wanted, variables))
        return Chain(stops, tuple(pieces), wanted)


def crossers(program: Program, stops: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """The values computed up to the last of `stops` that the way to `wanted` still needs.

    Stops themselves are among them where needed. Values that depend on the inputs only through
    shapes, and whole-number bookkeeping, are computed again above, so that what crosses has a
    plain relation to the batch.
    """
    done: set[int] = set()
    for at, stop in enumerate(stops):
        done |= program.needed([stop], stops[:at])
    above = program.needed(wanted, stops) - done
    crossing: set[int] = set()
    waiting = [v for i in above for v in program.reads(program.steps[i])] + list(wanted)
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if value in seen or value not in program.touched:
            continue
        seen.add(value)
        if value in stops or value in program.inputs:
            crossing.add(value)
            continue
        step = program.producer[value]
        if step.index in above:
            continue
        if value in program.live or step.type in SHAPES:
            crossing.add(value)
        else:
            waiting += program.reads(step)
    return tuple(sorted(crossing))
