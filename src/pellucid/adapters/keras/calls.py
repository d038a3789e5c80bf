"""Seeing each call of a model's layers return, in one thread, without changing the layers."""

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pellucid.adapters.keras.layers import LayerTree

_PATCHING = threading.RLock()
"""Held while patches are put on and taken off: instance dictionaries belong to all threads."""

_MISSING = object()


@dataclass
class CallStack:
    """Which layer calls are running in this thread, and how often each layer was called."""

    frames: list[tuple[str, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def around(self) -> tuple[str, int]:
        """The call that the innermost running one was made from."""
        return self.frames[-2] if len(self.frames) > 1 else ("", 1)


Returned = Callable[[str, int, Any, Any], Any]
"""Gets the path, call number, layer and output of a call; what it returns is returned."""

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class _Patch:
    """The replaced method of one layer instance, and who wants to see it, by thread."""

    def __init__(self, layer: Any, method: str | None) -> None:
        keras_own = "quantized_call" if getattr(layer, "quantization_mode", None) else "call"
        self.name = method or keras_own
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

    `call` (or the tree's `method`) is replaced on the instances, and taken off again when the
    last watcher leaves. Other threads that use the model meanwhile pass straight through.
    """
    me = threading.get_ident()

    def handler(layer: Any, path: str) -> Handler:
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
                    patch = _PATCHES[id(layer)] = _Patch(layer, tree.method)
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
