"""Finding the Keras layers below whatever holds them, and the arrays they return."""

import contextlib
import functools
from typing import Any

import keras
import tensorflow as tf

from pellucid.adapters.keras.layers import inside


def children(model: Any) -> list[keras.layers.Layer]:
    """The layers directly inside `model`: a Keras layer, a `tf.Module`, a function or a list."""
    if isinstance(model, keras.layers.Layer):
        return inside(model)
    found: dict[int, keras.layers.Layer] = {}
    seen: set[int] = set()

    def visit(value: Any, depth: int) -> None:
        if id(value) in seen or depth > 4:
            return
        seen.add(id(value))
        if isinstance(value, keras.layers.Layer):
            found.setdefault(id(value), value)
        elif isinstance(value, tf.Module):
            for name in sorted(vars(value)):
                visit(vars(value)[name], depth + 1)
        elif isinstance(value, dict):
            for part in list(value.values()):
                visit(part, depth + 1)
        elif isinstance(value, list | tuple):
            for part in value:
                visit(part, depth + 1)
        elif isinstance(value, functools.partial):
            visit((value.func, value.args, value.keywords), depth + 1)
        elif callable(value):
            visit(getattr(value, "__self__", None), depth + 1)
            for cell in getattr(value, "__closure__", None) or ():
                with contextlib.suppress(ValueError):  # a cell not filled yet
                    visit(cell.cell_contents, depth + 1)

    visit(model, 0)
    return list(found.values())


def first_tensor(output: Any) -> tf.Tensor | None:
    """The first array of what a layer returned."""
    return next((t for t in tf.nest.flatten(output) if tf.is_tensor(t)), None)


def replace_first(output: Any, value: Any) -> Any:
    """What a layer returned, with `value` in the place of its first array."""
    flat = list(tf.nest.flatten(output))
    place = next(i for i, t in enumerate(flat) if tf.is_tensor(t))
    flat[place] = masked_like(value, flat[place])
    return tf.nest.pack_sequence_as(output, flat)


def masked_like(value: Any, original: Any) -> Any:
    """`value` with the mask that a layer's own `call` put on its output."""
    mask = getattr(original, "_keras_mask", None)
    if mask is not None and value is not original:
        value._keras_mask = mask
    return value
