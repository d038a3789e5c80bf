"""The plain values a model computes with besides its weights: a trace keeps them as they were.

Numbers, strings and arrays held by layers, modules and functions become constants of a traced
graph. They are looked at before every run, so that a changed one is traced again.
"""

import functools
import types
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from pellucid.adapters.keras.state import (
    ITEMS,
    SKIP,
    Function,
    LayerLooks,
    State,
    represented,
    worded,
)
from pellucid.adapters.tensorflow.layers import children

_DEPTH = 4
_LIBRARIES = ("tensorflow", "tensorlayer", "keras", "numpy", "functools", "builtins")


def plain_state(model: Any, looks: LayerLooks) -> State:
    """The plain attributes of every layer, and what functions and modules hold."""
    state: State = {}
    if isinstance(model, keras.layers.Layer):
        return looks.state([model])
    _visit(model, "", state, set(), 0)
    return state | looks.state(children(model))


def function_state(function: Any, place: str) -> State:
    """What a function computes with: the values in its closure, defaults and globals."""
    found: State = {}
    _visit(function, place, found, set(), 0)
    return found


def frozen(state: State, without: set[str]) -> tuple[Any, ...]:
    """The state as a key, less the entries `without`."""
    return tuple(item for item in state.items() if item[0] not in without)


def described(state: State, without: set[str]) -> str:
    """What modules and functions hold, in words that are the same in every process."""
    entries = (item for item in state.items() if not item[0].startswith("layer "))
    return "\n".join(f"{k}={worded(v)}" for k, v in sorted(entries) if k not in without)


def _visit(value: Any, place: str, state: State, seen: set[int], depth: int) -> None:
    """Note what a function, module or object with a method holds, and go on inside of it."""
    found = represented(value)
    if found is not SKIP and (not isinstance(found, Function) or depth):
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
    elif isinstance(value, list | tuple) and len(value) <= ITEMS:
        yield from ((str(i), part) for i, part in enumerate(value))
    elif isinstance(value, dict) and len(value) <= ITEMS:
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
