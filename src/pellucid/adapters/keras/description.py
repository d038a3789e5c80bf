"""A Keras model in words that are the same for equal models in every process."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from pellucid.adapters.keras.layers import LayerTree
from pellucid.adapters.keras.state import keras_own, stand_in


def described(
    model: Any,
    tree: LayerTree,
    weights: Mapping[str, Any],
    *,
    without: frozenset[str] | None = None,
) -> str:
    """Layer classes, their settings, and the names, shapes and types of the weights.

    Of another library's layers every attribute counts but those `without`.
    """
    parts = [_described(model, without)]
    parts += [f"{path}:{_described(layer, without)}" for path, layer in tree.layers.items()]
    parts += [f"{name}{tuple(w.shape)}{w.dtype}" for name, w in weights.items()]
    return "\n".join(parts)


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Each object once by its name, a name that is taken numbered."""
    named: dict[str, Any] = {}
    seen: set[int] = set()
    for name, value in pairs:
        if id(value) in seen:
            continue
        seen.add(id(value))
        free, number = name, 2
        while free in named:
            free, number = f"{name}#{number}", number + 1
        named[free] = value
    return named


def _described(layer: Any, without: frozenset[str] | None) -> str:
    """The class and the plain settings of a layer; nothing that differs between equal models."""
    parts = [type(layer).__qualname__]
    for name, value in sorted(getattr(layer, "__dict__", {}).items()):
        if name in _INDIVIDUAL or name in (without or ()):
            continue
        if without is None and name.startswith("_") and not _is_users(layer, name):
            continue
        if isinstance(value, bool | int | float | str | tuple):
            parts.append(f"{name}={_plain(value)}")
        elif isinstance(value, list | dict | np.ndarray) or keras.ops.is_tensor(value):
            parts.append(f"{name}={stand_in(value)}")
        elif callable(value) and hasattr(value, "__qualname__"):
            parts.append(f"{name}={value.__qualname__}")
    if without is None and not isinstance(layer, keras.layers.Layer) and callable(layer):
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
    "name built trainable training call compiled loss steps_per_execution".split()
)
"""What differs between equal models, or with use: automatic names carry a running number."""


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return str([v for v in value if isinstance(v, bool | int | float | str)])
    return str(value)
