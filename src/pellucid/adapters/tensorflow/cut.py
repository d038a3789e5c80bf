"""A traced model opened at one layer: the part below has run, the part above runs at will."""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import tensorflow as tf

from pellucid.adapters.protocol import Cut, Scores
from pellucid.adapters.tensorflow.compiled import compiled_gradient
from pellucid.adapters.tensorflow.graph import Program
from pellucid.adapters.tensorflow.operations import DATA_SIZED, SHAPES
from pellucid.adapters.tensorflow.segments import Chain
from pellucid.adapters.tensorflow.trace import no_retracing_warnings
from pellucid.errors import InputError
from pellucid.types import Array, Leaves, Outputs


class TracedCut(Cut):
    """Below: one piece that has run. Above: one piece from the value and the crossers."""

    def __init__(
        self,
        program: Program,
        chain: Chain,
        leaves: Leaves,
        nested: Callable[[Any], Outputs],
        again: Callable[[Leaves], "TracedCut"],
        fixed: bool,
        proves_affine: Callable[[], bool],
    ) -> None:
        self._proves_affine = proves_affine
        below, self._above = chain.pieces
        self._compiled = chain.compiled
        self._program, self._leaves = program, leaves
        self._nested, self._again, self._fixed = nested, again, fixed
        (self._stop,), self._wanted = chain.stops, chain.wanted
        known = dict(zip(program.inputs, leaves, strict=True))
        known.update(below.run(known))
        self.value = known[self._stop]
        self._known: Mapping[int, Any] = {v: known[v] for v in self._above.given}
        self._repeated: tuple[int, Mapping[int, Any]] = (1, self._known)
        self._larger: tuple[int, TracedCut] = (1, self)

    @functools.cached_property
    def outputs(self) -> Outputs:  # type: ignore[override]  # an attribute, found when asked for
        return self.run(self.value)

    @property
    def affine(self) -> bool:
        return self._proves_affine()

    def run(self, value: Array) -> Outputs:
        value = tf.cast(value, self.value.dtype)
        variants = times(value, self.value)
        if variants > 1 and self._fixed:
            return self._for_larger(variants).run(value)
        results = self._above.run({**self._crossers(variants), self._stop: value})
        return self._nested([results[v] for v in self._wanted])

    def gradient(
        self, scores: Scores, arguments: tuple[Array, ...], form: Hashable
    ) -> Array | None:
        function = self._compiled.get(form)
        if function is None:
            function = compiled_gradient(self._above, self._stop, self._nested, scores)
            self._compiled[form] = function
        with no_retracing_warnings():
            found: Array = function([self._known[v] for v in self._above.given], arguments)
        return found

    def _for_larger(self, variants: int) -> "TracedCut":
        """The same cut made with each sample `variants` times."""
        if self._larger[0] != variants:
            leaves = tuple(tf.repeat(a, variants, axis=0) for a in self._leaves)
            self._larger = (variants, self._again(leaves))
        return self._larger[1]

    def _crossers(self, variants: int) -> Mapping[int, Any]:
        """What comes up from below for `variants` variants of each sample."""
        known, crossing = self._repeated
        if known == variants:
            return crossing
        rows = int(self._leaves[0].shape[0])
        found = {
            number: self._repeat(number, tensor, rows, variants)
            for number, tensor in self._known.items()
            if number != self._stop
        }
        if self._uncertain or any(tensor is None for tensor in found.values()):
            # How a crosser relates to the batch is not plain: compute it for the larger batch.
            found = dict(self._for_larger(variants)._known)
        self._repeated = (variants, found)
        return found

    @functools.cached_property
    def _uncertain(self) -> bool:
        return any(step.type in DATA_SIZED for step in self._program.steps)

    def _repeat(self, number: int, tensor: Any, rows: int, variants: int) -> Any:
        """A crosser for `variants` rows in place of one; None where that cannot be told."""
        program = self._program
        step = program.producer.get(number)
        if step is None or step.type not in SHAPES - {"ZerosLike", "OnesLike"}:
            axis = batch_axis(program.tensors[number].shape, tensor.shape, rows)
            if axis is None:
                return None
            return tensor if axis < 0 else tf.repeat(tensor, variants, axis=axis)
        source = program.tensors[step.inputs[step.outputs.index(number)]].shape
        if step.type == "Rank":
            return tensor
        if step.type == "Size":
            return tensor * variants if source.rank is not None else None
        sizes = tensor.numpy().tolist()
        axis = batch_axis(source, sizes, rows)
        if axis is None:
            return None
        if axis >= 0:
            sizes[axis] *= variants
        return tf.constant(sizes, tensor.dtype)


def batch_axis(traced: tf.TensorShape, actual: Any, rows: int) -> int | None:
    """The one axis that holds the samples: the only one of unknown size in the trace.

    -1 where no axis does, None where it cannot be told: several unknown sizes, or another size
    than the batch has (axes merged into one).
    """
    if traced.rank is None:
        return None
    free = [i for i, size in enumerate(traced.as_list()) if size is None]
    if not free:
        return -1
    if len(free) > 1 or actual[free[0]] != rows:
        return None
    return free[0]


def times(value: Array, original: Array) -> int:
    """How many variants of each row of `original` there are in `value`."""
    rows, before = int(value.shape[0]), int(original.shape[0])
    if tuple(value.shape[1:]) != tuple(original.shape[1:]) or rows % max(before, 1):
        raise InputError(
            f"The layer's value has shape {tuple(original.shape)}; what replaces it must have the"
            f" same, or k times as many rows. {tuple(value.shape)} came."
        )
    return rows // max(before, 1)
