"""JAX functions with their parameters, Flax and Equinox modules.

A model is traced once for each shape of input into a flat list of steps. Plain runs and
gradients use them as one compiled function; layer questions and single operations as compiled
pieces, between which values are looked at.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.adapters.facts import INSIDE
from pellucid.adapters.jax.cut import TracedCut
from pellucid.adapters.jax.layout import channel_axis_seen
from pellucid.adapters.jax.program import Program
from pellucid.adapters.jax.reading import Reading, readings_of, trace
from pellucid.adapters.jax.running import intercepted
from pellucid.adapters.jax.sources import Snapshot, Source, source_of
from pellucid.adapters.layers import find_layer
from pellucid.adapters.protocol import (
    LAYERS_ONLY,
    Adapter,
    Cut,
    InputSpec,
    Intercept,
    LayerInfo,
    OperationInfo,
    Tier,
)
from pellucid.adapters.structure import Structure
from pellucid.errors import CapabilityError, InputError, LayerError, ModelError, quote_nearest
from pellucid.types import Array, Leaves, Outputs

_EXACT_SIZES = 4
"""Batch sizes compiled as they come; further ones fill up to a size that is compiled already."""


class JaxAdapter(Adapter):
    """A function of JAX arrays (with parameters or without), a Flax or an Equinox module."""

    xp = jnp

    compiles_operations = True

    def __init__(self, model: Any, source: Source | None = None) -> None:
        self._source = source_of(model) if source is None else source
        self.framework, self.outputs_first = self._source.framework, self._source.outputs_first
        self.supports = Tier.TRAINABLE if self._source.has_weights else Tier.TRANSPARENT
        self._structure: Structure = None
        self._traced_axis: int | None = None
        self._readings = readings_of(self._source.anchor)

    # Facts

    @property
    def backend(self) -> str:
        return "jax"

    @cached_property
    def device(self) -> str:  # type: ignore[override]
        arrays = self._source.look().arrays
        device = next(iter(arrays[0].devices())) if arrays else jax.devices()[0]
        return f"{device.platform}:{device.id}"

    @property
    def channel_axis(self) -> int:  # type: ignore[override]
        return self._traced_axis or self._source.channel_axis

    @property
    def notes(self) -> tuple[str, ...]:
        return self._source.notes

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._source.inputs

    # Inputs and outputs

    def accept(self, x: Any) -> Leaves:
        leaves, self._structure = self._source.accept(x)
        self._traced_axis = channel_axis_seen(
            leaves, lambda first: self._reading(self._look(first), first).program
        )
        return leaves

    def restore(self, leaves: Sequence[Any]) -> Any:
        return self._source.restore(leaves, self._structure)

    def asarray(self, a: np.ndarray) -> Array:
        return jnp.asarray(a)

    def to_numpy(self, a: Array) -> np.ndarray:
        array = np.asarray(a)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array

    def _look(self, x: Leaves) -> Snapshot:
        self._source.prepare(x)
        return self._source.look()

    def _key(self, snapshot: Snapshot, x: Leaves) -> Any:
        """What decides the trace, the number of samples last."""
        rows = x[0].shape[0] if x[0].ndim else 0
        weights = tuple((a.shape, a.dtype) for a in snapshot.arrays)
        inputs = tuple((a.shape[1:], a.dtype) for a in x)
        return (snapshot.key, weights, inputs, self._structure), rows

    def _reading(self, snapshot: Snapshot, x: Leaves) -> Reading:
        def make() -> Reading:
            try:
                return trace(snapshot, x, self._structure)
            except Exception as error:
                told = isinstance(error, InputError) or not self._source.hint
                if told or self.is_out_of_memory(error):
                    raise
                said = str(error).strip().partition("\n")[0][:300]
                raise ModelError(
                    f"The model raised {type(error).__name__}: {said}\n  {self._source.hint}"
                ) from error

        return self._readings.get(self._key(snapshot, x), make)

    # Verbs

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        snapshot = self._look(x)
        first = tuple(a[:1] for a in x)
        known = self._key(snapshot, x) in self._readings.kept()
        given = x if known else first
        return self._reading(snapshot, given).activations(snapshot.arrays, given)

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        snapshot = self._source.look() if x is None else self._look(x)

        def count(path: str) -> int:
            return self._source.parameters(snapshot, path)

        if x is not None:
            return self._reading(snapshot, x).infos(count)
        return tuple(
            LayerInfo(path, type(module).__name__, None, count(path), i)
            for i, (path, module) in enumerate(self._source.modules())
        )

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        return self._reading(self._look(x), x).inventory()

    def run(
        self,
        x: Leaves,
        *,
        peel: bool = True,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        snapshot = self._look(x)
        arrays = _replaced(snapshot, weights)
        by_operation = intercept is not None and kinds != LAYERS_ONLY
        if intercept is None or not (by_operation or layers):
            return self._run_whole(snapshot, arrays, x, peel)
        reading = self._reading(snapshot, x)
        program = reading.chosen(arrays, x, peel=peel)
        if by_operation and kinds is not None and kinds & INSIDE:
            program = reading.opened(program)
        names = self._names(program, layers)
        return intercepted(
            reading, program, snapshot.names, arrays, x, intercept, names,
            kinds=kinds if by_operation else LAYERS_ONLY,
        )  # fmt: skip

    def _run_whole(
        self, snapshot: Snapshot, arrays: tuple[Any, ...], x: Leaves, peel: bool
    ) -> Outputs:
        rows = int(x[0].shape[0]) if x[0].ndim else 0
        size = self._size_for(snapshot, x)
        if size == rows:
            return self._reading(snapshot, x).run(arrays, x, peel=peel)
        # The last sample again and again: numbers the model can compute.
        filled = tuple(
            jnp.concatenate([a, jnp.repeat(a[-1:], size - rows, axis=0)], axis=0) for a in x
        )
        outputs = self._reading(snapshot, filled).run(arrays, filled, peel=peel)
        return jax.tree.map(lambda a: a[:rows] if a.ndim and a.shape[0] == size else a, outputs)

    def _size_for(self, snapshot: Snapshot, x: Leaves) -> int:
        """How many rows to run `x` with: its own, or a few more where that saves compiling."""
        kind, rows = self._key(snapshot, x)
        sizes = [size for key, size in self._readings.kept() if key == kind]
        if rows in sizes or rows == 0 or len(sizes) < _EXACT_SIZES:
            return rows
        return min((s for s in sizes if rows < s <= 2 * rows), default=rows)

    def _names(self, program: Program, layers: Sequence[str]) -> tuple[str, ...]:
        """Layer names as typed -> layer calls of this trace."""
        known = list(program.mark_named)
        if layers and not known:
            raise CapabilityError(
                f"No layer {layers[0]!r}: this function names no layers.\n  Put its parts into"
                " `with jax.named_scope(name):` blocks, or wrap the module it calls."
            )
        for layer in layers:
            number = layer.partition("#")[2]
            if number and not number.isdigit():
                raise LayerError(
                    f"Expected a call number after '#', as in 'encoder#2', got {layer!r}."
                )
        found = []
        for layer in layers:
            name, mark, number = layer.partition("#")
            path = find_layer(name, list(dict.fromkeys(m.path for m in program.marks)))
            full = path + (mark + number if number not in {"", "1"} else "")
            if full not in known:
                calls = [m.name for m in program.marks if m.path == path]
                raise LayerError(
                    f"{layer} was not called in this run: {quote_nearest(layer, calls)}"
                )
            found.append(full)
        return tuple(found)

    def traced(self, fn: Callable[[Leaves], Any], x: Leaves) -> None:
        jax.eval_shape(fn, x)

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        real = [jnp.issubdtype(a.dtype, jnp.inexact) for a in x]
        others: list[Any] = []

        def of_floats(*floats: Array) -> tuple[Array, list[Array]]:
            given = iter(floats)
            leaves = tuple(next(given) if r else a for r, a in zip(real, x, strict=True))
            value, aux = fn(leaves)
            flat, nest = jax.tree.flatten(aux)
            arrays = [isinstance(a, jax.Array) for a in flat]
            others[:] = nest, flat, arrays
            return value, [a for a in flat if isinstance(a, jax.Array)]

        floats = tuple(a for r, a in zip(real, x, strict=True) if r)
        if not floats:
            value, aux = fn(x)
            return value, aux, lambda cotangent: tuple(map(jnp.zeros_like, x))
        value, pull, recorded = jax.vjp(of_floats, *floats, has_aux=True)
        nest, rest, arrays = others
        left = iter(recorded)
        flat = [next(left) if is_array else a for is_array, a in zip(arrays, rest, strict=True)]

        def pullback(cotangent: Array) -> Leaves:
            found = iter(pull(jnp.asarray(cotangent, value.dtype)))
            return tuple(
                next(found) if r else jnp.zeros_like(a) for r, a in zip(real, x, strict=True)
            )

        return value, jax.tree.unflatten(nest, flat), pullback

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        snapshot = self._look(x)

        def again(leaves: Leaves) -> tuple[Reading, Program]:
            reading = self._reading(snapshot, leaves)
            return reading, reading.chosen(snapshot.arrays, leaves, peel=peel)

        (name,) = self._names(again(x)[1], [layer])
        return TracedCut(name, x, snapshot.arrays, again)

    def stop_gradient(self, a: Array) -> Array:
        return jax.lax.stop_gradient(a)

    def custom_vjp(
        self, fn: Callable[..., Array], backward: Callable[..., Any]
    ) -> Callable[..., Array]:
        wrapped = jax.custom_vjp(fn)

        def forward(*arrays: Array) -> tuple[Array, tuple[Array, ...]]:
            return fn(*arrays), arrays

        def pull(arrays: tuple[Array, ...], cotangent: Array) -> tuple[Any, ...]:
            found = backward(cotangent, *arrays)
            return found if isinstance(found, tuple) else (found,)

        wrapped.defvjp(forward, pull)
        return wrapped

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        if not self._source.has_weights:
            raise CapabilityError(
                "A function has no weights to read.\n  Wrap the pair (apply, params), or"
                " functools.partial(apply, params), where params are its weights."
            )
        snapshot = self._source.look()
        named = zip(snapshot.names, snapshot.arrays, strict=True)
        return {
            name: a
            for name, a in named
            if jnp.issubdtype(a.dtype, jnp.number) and (select is None or select(name))
        }

    def fingerprint(self) -> str:
        snapshot = self._source.look()
        digest = hashlib.blake2b(self._source.description().encode(), digest_size=8)
        for name, a in zip(snapshot.names, snapshot.arrays, strict=True):
            digest.update(f"{name}{a.shape}{a.dtype}".encode())
            if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                whole: Any = np.ascontiguousarray(np.asarray(a)).reshape(-1).view(np.uint8)
                digest.update(zlib.crc32(whole).to_bytes(4, "little"))
        return digest.hexdigest()

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError):
            return True
        return isinstance(error, jax.errors.JaxRuntimeError) and (
            "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)
        )


def _replaced(snapshot: Snapshot, weights: Mapping[str, Array] | None) -> tuple[Any, ...]:
    """The weight arrays, those named replaced."""
    if not weights:
        return snapshot.arrays
    if not snapshot.names:
        raise CapabilityError("A function has no weights to replace.")
    arrays = dict(zip(snapshot.names, snapshot.arrays, strict=True))
    for name, value in weights.items():
        if name not in arrays:
            raise InputError(f"No weight {name!r}. {quote_nearest(name, arrays)}")
        before = arrays[name]
        given = jnp.asarray(value, before.dtype)
        if given.shape != before.shape:
            raise InputError(
                f"The weight {name!r} has shape {before.shape}, but an array of shape"
                f" {given.shape} came."
            )
        arrays[name] = given
    return tuple(arrays.values())
