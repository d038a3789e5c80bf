"""What a trace is kept for: the arrays of a tree apart from the rest, and keys of that rest."""

import functools
import sys
import types
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Same:
    """Stands for one object in a key: equal only while that object lives and is the same."""

    def __init__(self, value: Any) -> None:
        self._id = id(value)
        try:
            self._value: Any = weakref.ref(value)
        except TypeError:
            # What cannot be referred to weakly is kept, so that its id stays its own.
            self._value = lambda: value

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Same) or self._id != other._id:
            return False
        value = self._value()
        return value is not None and value is other._value()


def is_nnx(value: Any) -> bool:
    """Whether an object is a module of Flax's NNX."""
    return any(c.__module__.startswith("flax.nnx") for c in type(value).__mro__)


@dataclass(frozen=True)
class Rest:
    """A tree without its arrays: where they go, and everything else it holds."""

    structure: Any
    others: tuple[Any, ...]
    key: Any

    def joined(self, arrays: Sequence[Any]) -> Any:
        """The tree with these arrays in it."""
        left = iter(arrays)
        leaves = [next(left) if other is _ARRAY else other for other in self.others]
        return jax.tree.unflatten(self.structure, leaves)


_ARRAY = object()


def split(tree: Any) -> tuple[tuple[str, ...], tuple[Any, ...], Rest]:
    """Names and arrays of a tree, and the rest of it."""
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    names, arrays, others = [], [], []
    for path, leaf in flat:
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            names.append("/".join(filter(None, map(_part, path))))
            arrays.append(leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf))
            others.append(_ARRAY)
        else:
            others.append(leaf)
    key = structure, tuple(_hashable(o) for o in others)
    return tuple(_unique(names)), tuple(arrays), Rest(structure, tuple(others), key)


def _part(entry: Any) -> str:
    """One step of a path into a tree; Flax's variables add a `value` that says nothing."""
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            part = str(getattr(entry, attribute))
            return "" if attribute == "name" and part == "value" else part
    return str(entry)


def _unique(names: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return found


def anchor_of(function: Any) -> Any:
    """What lives as long as a function that can be called again: not a bound method."""
    return getattr(function, "__func__", function)


def _hashable(value: Any) -> Any:
    if isinstance(value, types.MethodType):
        return Same(value.__func__), Same(value.__self__)
    plain = value is None or isinstance(value, bool | int | float | str | bytes)
    return (type(value), value) if plain else Same(value)


def captured(function: Any, depth: int = 4) -> Any:
    """A key of what a function's result may depend on besides its arguments.

    The function itself, and what its closure, defaults and module give it: rebinding a name to
    other parameters makes another function of it, as calling it anew would.
    """
    parts: list[Any] = []
    seen: set[int] = set()

    def visit(value: Any, left: int) -> None:
        if left < 0 or id(value) in seen or type(value).__name__ == "module":
            return
        seen.add(id(value))
        parts.append(_hashable(value))
        if isinstance(value, functools.partial):
            visit((value.func, value.args, value.keywords), left)
        elif isinstance(value, tuple | list):
            for part in value:
                visit(part, left - 1)
        elif isinstance(value, dict):
            for key in value:
                visit(value[key], left - 1)
        elif is_nnx(value):
            # Its weights may be trained meanwhile; a function's are written into its trace.
            state = sys.modules["flax.nnx"].state(value)
            parts.extend(map(Same, jax.tree.leaves(state)))
        elif not _is_library(value):
            for part in reached(value):
                visit(part, left - 1)

    visit(function, depth)
    return tuple(parts)


_LIBRARIES = frozenset(
    "jax jaxlib flax equinox haiku optax numpy builtins functools typing keras".split()
)


def _is_library(value: Any) -> bool:
    """Whether a function or class comes with an installed framework and never changes."""
    if isinstance(value, jax.Array | type):
        return True
    module = getattr(value, "__module__", None) or type(value).__module__
    wraps = getattr(value, "__wrapped__", None) is not None
    return module.partition(".")[0] in _LIBRARIES and not wraps


def reached(value: Any) -> list[Any]:
    """What a function was given beside its arguments."""
    found = [getattr(value, "__wrapped__", None), getattr(value, "__self__", None)]
    for cell in getattr(value, "__closure__", None) or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    found += getattr(value, "__defaults__", None) or ()
    code, names = getattr(value, "__code__", None), getattr(value, "__globals__", {})
    if code is not None:
        found += [names[n] for n in code.co_names if n in names]
    elif not hasattr(value, "__wrapped__"):
        found += vars(value).values() if hasattr(value, "__dict__") else ()
    return [part for part in found if part is not None]


def is_linen(model: Any) -> bool:
    """Whether this is a Flax module without its variables, which `apply` takes."""
    linen = sys.modules.get("flax.linen")
    return linen is not None and isinstance(model, linen.Module)
