"""Keras on its JAX backend: the JAX adapter's verbs, with Keras's layers and inputs."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from pellucid.adapters.jax import JaxAdapter
from pellucid.adapters.jax.marks import inside, marked
from pellucid.adapters.jax.sources import Snapshot, Source
from pellucid.adapters.keras.calls import CallStack, watched_calls
from pellucid.adapters.keras.description import unique
from pellucid.adapters.keras.held import HeldModel, as_numbers
from pellucid.adapters.keras.layers import parameter_count
from pellucid.adapters.protocol import InputSpec
from pellucid.errors import InputError
from pellucid.types import Leaves


def keras_on_jax(model: keras.layers.Layer) -> JaxAdapter:
    """The adapter of a Keras model whose backend is JAX."""
    return JaxAdapter(model, KerasSource(model))


class KerasSource(Source):
    """A Keras layer or model as a pure function of its variables, called in inference mode."""

    framework = "keras"
    has_weights = True
    notes = ("Keras on its JAX backend",)

    def __init__(self, model: keras.layers.Layer) -> None:
        self._held = HeldModel(model, _as_array, _as_leaf)

    @property
    def anchor(self) -> Any:
        return self._held.model

    @property
    def function(self) -> Any:
        return self._held.model

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:  # type: ignore[override]
        return self._held.inputs

    @property
    def channel_axis(self) -> int:
        return self._held.channel_axis

    def accept(self, x: Any) -> tuple[Leaves, Any]:
        leaves = self._held.given.accept(x)
        # How the inputs are nested decides the trace, of which this is part of the key.
        return leaves, (repr(self._held.given.nest_for(len(leaves))),)

    def restore(self, leaves: Sequence[Any], structure: Any) -> Any:
        return self._held.given.restore(leaves)

    def prepare(self, x: Leaves) -> None:
        if self._held.is_built:
            return
        # The weights are made outside of any trace, the way a first call of the user's does it.
        state, numpy_state = random.getstate(), np.random.get_state()
        try:
            with jax.ensure_compile_time_eval():
                rows = [jnp.zeros((1, *a.shape[1:]), a.dtype) for a in x]
                self._held.build(rows)
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)

    def look(self) -> Snapshot:
        variables = self._variables()
        key = self._held.state_key()
        places = list(variables.values())

        def call(arrays: Sequence[Any], leaves: Sequence[Any], structure: Any) -> Any:
            mapping = list(zip(places, arrays, strict=True))
            with keras.StatelessScope(state_mapping=mapping), self._marked():
                return self._held.call(leaves)

        arrays = tuple(v._value for v in places)
        return Snapshot(tuple(variables), arrays, key, call)

    @contextlib.contextmanager
    def _marked(self) -> Iterator[None]:
        """Mark where each layer call returns, and what is computed inside of it."""
        scopes: list[Any] = []

        def enter(path: str, number: int) -> None:
            scopes.append(inside(path))
            scopes[-1].__enter__()

        def leave(path: str, number: int, layer: keras.layers.Layer, output: Any) -> Any:
            scopes.pop().__exit__(None, None, None)
            return _with_mask(marked(output, path, type(layer).__name__), output)

        try:
            with watched_calls(self._held.tree(), leave, CallStack(), enter):
                yield
        finally:
            while scopes:
                scopes.pop().__exit__(None, None, None)

    def _variables(self) -> dict[str, keras.Variable]:
        weights = self._held.model.weights if self._held.model.built else []
        return unique((v.path, v) for v in weights)

    def modules(self) -> tuple[tuple[str, Any], ...]:
        return tuple(self._held.tree().layers.items())

    def parameters(self, snapshot: Snapshot, path: str) -> int:
        return parameter_count(self._held.tree().layers[path])

    def description(self) -> str:
        return self._held.description(self._variables())


def _with_mask(output: Any, original: Any) -> Any:
    """The mask that a layer's own `call` put on its output, on the marked one."""
    for new, old in zip(jax.tree.leaves(output), jax.tree.leaves(original), strict=True):
        mask = getattr(old, "_keras_mask", None)
        if mask is not None and new is not old:
            new._keras_mask = mask
    return output


def _as_array(x: Any) -> Any:
    """An array of JAX's as it is, anything else as one of NumPy's."""
    if isinstance(x, keras.Variable):
        return x._value
    if isinstance(x, jax.Array):
        return x
    return as_numbers(x, copy=True)


def _as_leaf(value: Any, spec: InputSpec | None) -> jax.Array:
    """An array of the type declared; else floats in single precision, the others as they came."""
    array = jnp.asarray(value)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    wanted: Any = spec.dtype if spec is not None and spec.dtype else None
    if wanted is None:
        wanted = jnp.float32 if is_float else array.dtype
    wanted = jax.dtypes.canonicalize_dtype(wanted)
    if is_float and not jnp.issubdtype(wanted, jnp.floating):
        whole = array.astype(wanted)
        if not bool((whole.astype(array.dtype) == array).all()):
            name = spec.name if spec is not None else ""
            raise InputError(
                f"The input {name!r} is of type {wanted}; numbers with a fraction came."
            )
        return whole
    return array.astype(wanted)
