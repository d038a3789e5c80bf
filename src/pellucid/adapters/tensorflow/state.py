"""The plain values a model computes with besides its weights: a trace keeps them as they were.

Numbers, strings and arrays held by layers, modules and functions become constants of a traced
graph. They are looked at before every run, so that a changed one is traced again.
"""

import functools
import types
import zlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pellucid.adapters.tensorflow.layers import children

State = dict[str, Any]
"""Where a value is held -> what stands for it; equal for equal values."""

_WHOLE = 16 * 1024**2
"""Bytes up to which an array is compared whole; of a larger one 65,536 of its numbers."""

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None)})
_SKIP = object()
_ITEMS, _DEPTH = 256, 4
_LIBRARIES = ("tensorflow", "keras", "numpy", "functools", "builtins")


def plain_state(model: Any) -> State:
    """The plain attributes of every layer, and what functions and modules hold."""
    state: State = {}
    is_layer = isinstance(model, keras.layers.Layer)
    if not is_layer:
        _visit(model, "", state, set(), 0)
    roots = [model] if is_layer else children(model)
    number = 0
    own = keras_own()
    for root in roots:
        for layer in root._flatten_layers():
            for name, held in list(layer.__dict__.items()):
                if name not in own:
                    value = _stand_in(held)
                    if value is not _SKIP:
                        state[f"layer {number}.{name}"] = value
            number += 1
    return state


def frozen(state: State, without: set[str]) -> tuple[Any, ...]:
    """The state as a key, less the entries `without`."""
    return tuple(item for item in state.items() if item[0] not in without)


def described(state: State, without: set[str]) -> str:
    """What modules and functions hold, in words that are the same in every process."""
    entries = (item for item in state.items() if not item[0].startswith("layer "))
    return "\n".join(f"{k}={worded(v)}" for k, v in sorted(entries) if k not in without)


def worded(value: Any) -> Any:
    """A stand-in without the numbers that differ from process to process."""
    if isinstance(value, _Callable):
        return value.name
    return tuple(map(worded, value)) if isinstance(value, tuple) else value


def stand_in(value: Any) -> Any | None:
    """What stands for a value in a description; None where it is no plain value."""
    found = _stand_in(value)
    return None if found is _SKIP else str(worded(found))


class _Callable:
    """A function is the same while it is the same object."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.name = str(getattr(function, "__qualname__", type(function).__qualname__))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Callable) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


@functools.cache
def keras_own() -> frozenset[str]:
    """Attributes of Keras's own bookkeeping, which change with use and not what is computed."""
    model = keras.Sequential()
    model.compile("sgd", "mse")
    names = {*vars(keras.layers.Layer()), *vars(keras.Model()), *vars(model)}
    changed = {"call", "quantized_call", "history", "stop_training", "_build_shapes_dict"}
    return frozenset((names | changed) - {"activation"})


def _stand_in(value: Any, depth: int = 0) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, np.ndarray | np.generic):
        return _content(np.asarray(value))
    if isinstance(value, list | tuple | dict):
        if depth > 2 or len(value) > _ITEMS:
            return _SKIP
        parts = value.items() if isinstance(value, dict) else value
        found = [_stand_in(part, depth + 1) for part in list(parts)]
        return (len(found), *(part for part in found if part is not _SKIP))
    if isinstance(value, tf.__internal__.EagerTensor):
        return _content(value.numpy())
    if isinstance(value, keras.layers.Layer | keras.Variable | tf.Variable | tf.Module):
        return _SKIP
    return _Callable(value) if callable(value) else _SKIP


def _content(array: np.ndarray) -> Any:
    if array.dtype.hasobject:
        return _SKIP
    if array.nbytes > _WHOLE:
        array = array.reshape(-1)[:: array.size // 65536] if array.flags.c_contiguous else array
    content = np.ascontiguousarray(array).tobytes()
    return "array", array.shape, array.dtype.str, zlib.crc32(content)


def _visit(value: Any, place: str, state: State, seen: set[int], depth: int) -> None:
    """Note what a function, module or object with a method holds, and go on inside of it."""
    found = _stand_in(value)
    if found is not _SKIP and (not isinstance(found, _Callable) or depth):
        state[place] = found
    if id(value) in seen or depth > _DEPTH or isinstance(value, keras.layers.Layer):
        return
    seen.add(id(value))
    for name, part in _held(value):
        _visit(part, f"{place}.{name}", state, seen, depth + 1)


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield from (("self", value.__self__), ("function", value.__func__))
    elif isinstance(value, types.FunctionType):
        if not str(value.__module__).startswith(_LIBRARIES):
            yield from _held_by_function(value)
    elif hasattr(value, "python_function"):
        yield "python", value.python_function
    elif isinstance(value, tf.Module) or (
        hasattr(value, "__dict__")
        and not isinstance(value, type | types.ModuleType)
        and not type(value).__module__.startswith(_LIBRARIES)
    ):
        held = vars(value)
        yield from ((k, v) for k, v in list(held.items()) if not k.startswith(_TF_OWN))
        method = next(
            (vars(c)["__call__"] for c in type(value).__mro__ if "__call__" in vars(c)), None
        )
        if isinstance(method, types.FunctionType):
            yield "()", method
    elif isinstance(value, list | tuple) and len(value) <= _ITEMS:
        yield from ((str(i), part) for i, part in enumerate(value))
    elif isinstance(value, dict) and len(value) <= _ITEMS:
        yield from ((str(k), part) for k, part in list(value.items()))


_TF_OWN = ("_name", "_self_", "_tf_", "_scope_name", "_keras", "_saved_model", "_unconditional")


def _held_by_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a cell not filled yet
            continue
    yield "defaults", function.__defaults__
    yield "keywords", function.__kwdefaults__
    for name in code.co_names:
        if name in function.__globals__:
            held = function.__globals__[name]
            if not isinstance(held, type | types.ModuleType):
                yield name, held
