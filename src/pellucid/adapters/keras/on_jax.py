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
from pellucid.adapters.keras.description import described, unique
from pellucid.adapters.keras.inputs import Inputs, guessed_specs, packed
from pellucid.adapters.keras.layers import (
    LayerTree,
    channel_axis,
    layer_tree,
    parameter_count,
    structure_key,
)
from pellucid.adapters.keras.state import layer_state
from pellucid.adapters.protocol import InputSpec
from pellucid.errors import InputError, ModelError
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
        self._model = model
        self._inputs = Inputs(model, _as_array, _as_leaf)
        self._known: tuple[Any, LayerTree] | None = None

    @property
    def anchor(self) -> Any:
        return self._model

    @property
    def function(self) -> Any:
        return self._model

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:  # type: ignore[override]
        return self._inputs.specs or guessed_specs(self._model)

    @property
    def channel_axis(self) -> int:
        return channel_axis(self._tree().layers.values(), keras.config.image_data_format())

    def accept(self, x: Any) -> tuple[Leaves, Any]:
        leaves = self._inputs.accept(x)
        # How the inputs are nested decides the trace, of which this is part of the key.
        return leaves, (repr(self._inputs.nest_for(len(leaves))),)

    def restore(self, leaves: Sequence[Any], structure: Any) -> Any:
        return self._inputs.restore(leaves)

    def prepare(self, x: Leaves) -> None:
        if all(layer.built for layer in self._model._flatten_layers()):
            return
        # The weights are made outside of any trace, the way a first call of the user's does it.
        state, numpy_state = random.getstate(), np.random.get_state()
        try:
            with jax.ensure_compile_time_eval():
                rows = [jnp.zeros((1, *a.shape[1:]), a.dtype) for a in x]
                self._model(self._nested(rows), training=False)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            raise ModelError(f"The model raised {type(error).__name__}: {error}") from error
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)

    def look(self) -> Snapshot:
        variables = self._variables()
        key = structure_key([self._model]), tuple(layer_state([self._model]).items())
        places = list(variables.values())

        def call(arrays: Sequence[Any], leaves: Sequence[Any], structure: Any) -> Any:
            mapping = list(zip(places, arrays, strict=True))
            with keras.StatelessScope(state_mapping=mapping), self._marked():
                return self._model(self._nested(leaves), training=False)

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
            with watched_calls(self._tree(), leave, CallStack(), enter):
                yield
        finally:
            while scopes:
                scopes.pop().__exit__(None, None, None)

    def _nested(self, given: Sequence[Any]) -> Any:
        return packed(self._inputs.nest_for(len(given)), iter(given))

    def _tree(self) -> LayerTree:
        key = structure_key([self._model])
        if self._known is None or self._known[0] != key:
            self._known = (key, layer_tree(self._model))
        return self._known[1]

    def _variables(self) -> dict[str, keras.Variable]:
        weights = self._model.weights if self._model.built else []
        return unique((v.path, v) for v in weights)

    def modules(self) -> tuple[tuple[str, Any], ...]:
        return tuple(self._tree().layers.items())

    def parameters(self, snapshot: Snapshot, path: str) -> int:
        return parameter_count(self._tree().layers[path])

    def description(self) -> str:
        return described(self._model, self._tree(), self._variables())


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
    try:
        array = np.array(x)
    except ValueError as error:
        raise InputError(f"The rows of the input differ in shape: {error}") from error
    if array.dtype.kind not in "fiubc":
        raise InputError(
            f"The input cannot be made an array of numbers: it holds {type(x).__name__} of"
            f" {array.dtype}."
        )
    return array


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
