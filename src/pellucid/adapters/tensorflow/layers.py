"""The layers inside a model: their paths, and seeing each call of them return.

Paths come from walking the layers themselves. Name scopes of the graph are wrong as paths:
every one carries a suffix that depends on how often the name was used before.
"""

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pellucid.adapters.protocol import LayerInfo

_PATCHING = threading.RLock()
"""Held while patches are put on and taken off: instance dictionaries belong to all threads."""

_MISSING = object()


@dataclass(frozen=True)
class LayerTree:
    """Every layer below a model by its path, in the order in which calls would return."""

    layers: dict[str, keras.layers.Layer]

    @functools.cached_property
    def path_of(self) -> dict[int, str]:
        return {id(layer): path for path, layer in self.layers.items()}

    def infos(self) -> tuple[LayerInfo, ...]:
        return tuple(
            LayerInfo(path, type(layer).__name__, None, parameter_count(layer), i)
            for i, (path, layer) in enumerate(self.layers.items())
        )


def parameter_count(layer: keras.layers.Layer) -> int:
    """Numbers in the layer's weights, those of the layers inside it included."""
    return sum(int(np.prod(v.shape)) for v in layer.weights) if layer.built else 0


def children(model: Any) -> list[keras.layers.Layer]:
    """The layers directly inside `model`: a Keras layer, a `tf.Module`, a function or a list."""
    if isinstance(model, keras.layers.Layer):
        return list(model._layers)
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


def layer_tree(model: Any) -> LayerTree:
    """All layers below `model`, inner ones before the layer that holds them."""
    paths: dict[str, keras.layers.Layer] = {}
    seen: set[int] = {id(model)}

    def visit(parent: Any, prefix: str) -> None:
        inside = [
            layer
            for layer in children(parent)
            if id(layer) not in seen and not isinstance(layer, keras.layers.InputLayer)
        ]
        names = _unique_names(parent, inside)
        seen.update(map(id, inside))
        for layer, name in zip(inside, names, strict=True):
            path = f"{prefix}{name}"
            visit(layer, f"{path}/")
            paths[path] = layer

    visit(model, "")
    return LayerTree(paths)


def _unique_names(parent: Any, layers: list[keras.layers.Layer]) -> list[str]:
    """Layer names; where two layers have one name, the attributes that hold them."""
    counts = Counter(layer.name for layer in layers)
    held = {id(v): k for k, v in reversed(list(getattr(parent, "__dict__", {}).items()))}
    names: list[str] = []
    for layer in layers:
        name = str(layer.name)
        if counts[name] > 1:
            attribute = held.get(id(layer))
            free = attribute is not None and counts[attribute] == 0 and attribute not in names
            same = sum(n.partition("@")[0] == name for n in names)
            name = str(attribute) if free else f"{name}@{same + 1}"
        names.append(name)
    return names


def structure_key(model: Any) -> tuple[Any, ...]:
    """Changes when a layer is added or removed, or given other weight objects.

    A traced graph reads weights when it runs, but would go on with the old structure. Plain
    attributes are looked at by `tensorflow_state`.
    """
    roots = [model] if isinstance(model, keras.layers.Layer) else children(model)
    return tuple(
        (id(layer), *map(id, layer._trainable_variables))
        for root in roots
        for layer in root._flatten_layers()
    )


@dataclass
class CallStack:
    """Which layer calls are running in this thread, and how often each layer was called."""

    frames: list[tuple[str, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def around(self) -> tuple[str, int]:
        """The call that the innermost running one was made from."""
        return self.frames[-2] if len(self.frames) > 1 else ("", 1)


def numbered(path: str, call: int) -> str:
    """The name of one call: the path, with `#2` for a second one."""
    return path if call == 1 else f"{path}#{call}"


Returned = Callable[[str, int, keras.layers.Layer, Any], Any]
"""Gets the path, call number, layer and output of a call; what it returns is returned."""

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class _Patch:
    """The replaced `call` of one layer instance, and who wants to see it, by thread."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.name = "quantized_call" if getattr(layer, "quantization_mode", None) else "call"
        # The instance's dictionary itself: Keras tracks what is set by attribute.
        self.held = layer.__dict__
        self.before = self.held.get(self.name, _MISSING)
        self.handlers: dict[int, list[Handler]] = {}
        original = getattr(layer, self.name)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            mine = self.handlers.get(threading.get_ident())
            if not mine:
                return original(*args, **kwargs)
            return mine[-1](original, args, kwargs)

        self.held[self.name] = call

    def remove(self) -> None:
        if self.before is _MISSING:
            self.held.pop(self.name, None)
        else:
            self.held[self.name] = self.before


_PATCHES: dict[int, _Patch] = {}


@contextlib.contextmanager
def watched_calls(
    tree: LayerTree,
    on_return: Returned,
    stack: CallStack,
    on_enter: Callable[[str, int], None] | None = None,
) -> Iterator[None]:
    """Show each call of the tree's layers made in this thread to `on_return`.

    `call` is replaced on the instances, and taken off again when the last watcher leaves. Other
    threads that use the model meanwhile pass straight through.
    """
    me = threading.get_ident()

    def handler(layer: keras.layers.Layer, path: str) -> Handler:
        def handle(original: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
            stack.counts[path] += 1
            number = stack.counts[path]
            stack.frames.append((path, number))
            try:
                if on_enter is not None:
                    on_enter(path, number)
                return on_return(path, number, layer, original(*args, **kwargs))
            finally:
                stack.frames.pop()

        return handle

    installed: list[int] = []
    try:
        with _PATCHING:
            for path, layer in tree.layers.items():
                patch = _PATCHES.get(id(layer))
                if patch is None:
                    patch = _PATCHES[id(layer)] = _Patch(layer)
                patch.handlers.setdefault(me, []).append(handler(layer, path))
                installed.append(id(layer))
        yield
    finally:
        with _PATCHING:
            for key in installed:
                mine = _PATCHES[key].handlers[me]
                mine.pop()
                if not mine:
                    del _PATCHES[key].handlers[me]
                if not _PATCHES[key].handlers:
                    _PATCHES.pop(key).remove()


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
