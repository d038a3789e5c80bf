"""The weights of a model by name, and a short hash of its structure and weights."""

import hashlib
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pellucid.adapters.keras.layers import LayerTree
from pellucid.adapters.tensorflow.state import keras_own, stand_in


def named_variables(model: Any, tree: LayerTree) -> dict[str, tf.Variable]:
    """Every weight of a Keras model or a `tf.Module` (or of the layers a function holds)."""
    if isinstance(model, keras.layers.Layer):
        pairs = ((v.path, _variable(v)) for v in model.weights)
    elif isinstance(model, tf.Module):
        pairs = ((v.name.partition(":")[0], v) for v in model.variables)
    else:
        weights = (v for layer in tree.layers.values() for v in layer.weights)
        pairs = ((v.path, _variable(v)) for v in weights)
    return _unique(pairs)


def _variable(weight: keras.Variable) -> tf.Variable:
    """The TensorFlow variable of a Keras one; `value` would be a cast one inside autocast."""
    return weight._value


def _unique(pairs: Iterable[tuple[str, tf.Variable]]) -> dict[str, tf.Variable]:
    named: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    for name, variable in pairs:
        if id(variable) in seen or not isinstance(variable, tf.Variable):
            continue
        seen.add(id(variable))
        free, number = name, 2
        while free in named:
            free, number = f"{name}#{number}", number + 1
        named[free] = variable
    return named


def read(variable: tf.Variable) -> tf.Tensor:
    """The variable's value now, also inside somebody's tape without being watched."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def description(model: Any, tree: LayerTree, variables: dict[str, tf.Variable]) -> str:
    """Layer classes, their settings, and the names, shapes and types of the weights."""
    parts = [_described(model)]
    parts += [f"{path}:{_described(layer)}" for path, layer in tree.layers.items()]
    parts += [f"{name}{tuple(v.shape)}{v.dtype.name}" for name, v in variables.items()]
    return "\n".join(parts)


def fingerprint(described: str, variables: dict[str, tf.Variable]) -> str:
    """A short hash of a description and of every bit of the weights.

    Checksums of the weights' own memory: the 3.5 million numbers of a MobileNetV2 take 6 ms.
    """
    digest = hashlib.blake2b(described.encode(), digest_size=8)
    for variable in variables.values():
        value: Any = np.asarray(memoryview(read(variable)))  # type: ignore[arg-type]  # no copy
        contiguous: Any = np.ascontiguousarray(value)
        digest.update(zlib.crc32(contiguous).to_bytes(4, "little"))
    return digest.hexdigest()


def _described(layer: Any) -> str:
    """The class and the plain settings of a layer; nothing that differs between equal models."""
    parts = [type(layer).__qualname__]
    for name, value in sorted(getattr(layer, "__dict__", {}).items()):
        if name in _INDIVIDUAL or (name.startswith("_") and not _is_users(layer, name)):
            continue
        if isinstance(value, bool | int | float | str | tuple):
            parts.append(f"{name}={_plain(value)}")
        elif isinstance(value, list | dict | np.ndarray | tf.__internal__.EagerTensor):
            parts.append(f"{name}={stand_in(value)}")
        elif callable(value) and hasattr(value, "__qualname__"):
            parts.append(f"{name}={value.__qualname__}")
    if not isinstance(layer, keras.layers.Layer) and isinstance(layer, Callable):
        code = getattr(layer, "__code__", None)
        parts.append(str(getattr(code, "co_code", b"")))
    return ",".join(parts)


def _is_users(layer: Any, name: str) -> bool:
    """Whether a private attribute is one of the user's class, not of Keras's bookkeeping."""
    theirs = isinstance(layer, keras.layers.Layer) and not type(layer).__module__.startswith(
        "keras"
    )
    return theirs and name not in keras_own()


_INDIVIDUAL = frozenset(
    {"name", "built", "trainable", "call", "compiled", "loss", "steps_per_execution"}
)
"""What differs between equal models, or with use: automatic names carry a running number."""


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return str([v for v in value if isinstance(v, bool | int | float | str)])
    return str(value)
