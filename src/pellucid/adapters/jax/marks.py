"""Seeing layer calls while a model is traced, and leaving a mark in the trace at each exit.

A mark is JAX's own identity `checkpoint_name`, whose name says which layer returned. Modules of
Flax's older API have a hook for it; for the others the class's `__call__` is replaced while the
model is traced, by one that other threads pass straight through.
"""

import contextlib
import functools
import itertools
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

TRACING = threading.RLock()
"""Held while a model is traced: classes and `jax.named_scope` belong to all threads."""

_PREFIX, _BETWEEN = "pellucid:", "|"
_TOKEN = "::"
_COUNT = itertools.count(1)
_watching = threading.local()

Modules = Mapping[int, tuple[str, Any]]
"""Module id -> its path, and the module."""


def mark_of(equation: Any) -> tuple[str, str] | None:
    """The path and kind of the layer that returns at this equation."""
    if equation.primitive.name != "name":
        return None
    name = str(equation.params["name"])
    if not name.startswith(_PREFIX):
        return None
    path, _, kind = name.removeprefix(_PREFIX).partition(_BETWEEN)
    return path, kind


def marked(output: Any, path: str, kind: str) -> Any:
    """What a layer returned, a mark on its first array."""
    leaves, structure = jax.tree.flatten(output)
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, jax.Array):
            leaves[i] = _marked_array(leaf, f"{_PREFIX}{path}{_BETWEEN}{kind}")
            break
    return jax.tree.unflatten(structure, leaves)


def _marked_array(a: jax.Array, name: str) -> jax.Array:
    if type(a).__name__ != "BatchTracer":
        return checkpoint_name(a, name)

    # Inside the user's vmap the samples may lie along any axis; here they come first.
    @jax.custom_batching.custom_vmap
    def identity(a: jax.Array) -> jax.Array:
        return checkpoint_name(a, name)

    @identity.def_vmap
    def batched(size: int, is_batched: Any, a: jax.Array) -> tuple[jax.Array, bool]:
        return _marked_array(a, name), is_batched[0]

    return identity(a)


def inside(path: str) -> Any:
    """A scope that says of the operations in it which layer's call they belong to."""
    return jax.named_scope(_PREFIX + path)


def layer_of(scopes: tuple[str, ...]) -> tuple[str, str]:
    """The path of the innermost layer around an operation, and a token of the call."""
    for scope in reversed(scopes):
        if scope.startswith(_PREFIX):
            return scope_name(scope).removeprefix(_PREFIX), scope
    named = [s for s in scopes if scope_name(s)]
    return "/".join(map(scope_name, named)), "|".join(scopes[: len(scopes)] if named else ())


def call_token() -> str:
    """Says in the scopes of an inlined function that it was entered anew."""
    return f"{_TOKEN}{next(_COUNT)}"


def scope_name(scope: str) -> str:
    """The name a user gave a scope, without its token; empty for an inlined function."""
    name, token, number = scope.rpartition(_TOKEN)
    return name if token and number.isdigit() else scope


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """While a model is traced: each entry into a named scope is told from the next."""
    with TRACING:
        owner, original = threading.get_ident(), jax.named_scope

        @functools.wraps(original)
        def named_scope(name: str) -> Any:
            mine = threading.get_ident() == owner and isinstance(name, str)
            return original(f"{name}{_TOKEN}{next(_COUNT)}" if mine else name)

        jax.named_scope = named_scope
        try:
            with _linen_marked():
                yield
        finally:
            jax.named_scope = original


@contextlib.contextmanager
def _linen_marked() -> Iterator[None]:
    linen = sys.modules.get("flax.linen")
    if linen is None:
        yield
        return

    def interceptor(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        path = "/".join(map(str, context.module.path))
        if context.method_name != "__call__" or not path:
            return call(*args, **kwargs)
        with inside(path):
            output = call(*args, **kwargs)
        return marked(output, path, type(context.module).__name__)

    with linen.intercept_methods(interceptor):
        yield


@contextlib.contextmanager
def calls_marked(modules: Modules) -> Iterator[None]:
    """Mark the calls of `modules` made in this thread. To be entered inside `tracing`."""
    classes = {
        base
        for _, module in modules.values()
        for base in type(module).__mro__
        if "__call__" in base.__dict__ and base is not object
    }
    before = getattr(_watching, "modules", {})
    originals = {cls: cls.__dict__["__call__"] for cls in classes}
    _watching.modules = {**before, **modules}
    try:
        for cls, original in originals.items():
            cls.__call__ = _watched(original)  # type: ignore[attr-defined]
        yield
    finally:
        for cls, original in originals.items():
            cls.__call__ = original  # type: ignore[attr-defined]
        _watching.modules = before


def _watched(original: Any) -> Any:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = original.__get__(self, type(self))
        known = getattr(_watching, "modules", {}).get(id(self))
        running = getattr(_watching, "running", None)
        # A class that calls its parent's `__call__` is one layer, not two.
        if known is None or not known[0] or running == id(self):
            return bound(*args, **kwargs)
        _watching.running = id(self)
        try:
            with inside(known[0]):
                output = bound(*args, **kwargs)
            return marked(output, known[0], type(self).__name__)
        finally:
            _watching.running = running

    return call
