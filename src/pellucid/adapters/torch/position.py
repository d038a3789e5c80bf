"""Where a torch run is: inside which module, and which operation made which tensor."""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of a nested result, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)


def map_tensors(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same nesting with every tensor replaced."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, change) for item in value)
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    return value


class Makers:
    """Which operation made a tensor, while it lives and nobody has written to it since."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[weakref.ref[torch.Tensor], int, int]] = {}

    def note(self, result: Any, index: int) -> None:
        for tensor in tensors_in(result):
            self._made[id(tensor)] = weakref.ref(tensor), tensor._version, index

    def of(self, tensor: torch.Tensor) -> int:
        maker, version, index = self._made.get(id(tensor), (None, 0, -1))
        same = maker is not None and maker() is tensor and tensor._version == version
        return index if same else -1

    def moved(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """What was in `source` is in `target` now."""
        self.note(target, self.of(source))


class Position:
    """Which call of which module is running, kept by hooks that other threads do not disturb."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, int]] = []
        self.calls: dict[str, int] = {}
        self.paused = False
        """Whether an interceptor is at the exit of a layer: what it does is not the model's."""

    def here(self) -> tuple[str, int]:
        return self.stack[-1] if self.stack else ("", 1)


@contextmanager
def watching(
    modules: Sequence[tuple[str, torch.nn.Module]],
    position: Position,
    on_exit: Callable[[str, int, torch.nn.Module, Any], Any] | None,
) -> Iterator[None]:
    """Follow the calls of `modules`; `on_exit(path, call, module, output)` may replace outputs."""
    owner = threading.get_ident()
    handles = []

    def enter(path: str) -> Callable[..., None]:
        def hook(module: Any, args: Any) -> None:
            if threading.get_ident() != owner:
                return
            position.calls[path] = position.calls.get(path, 0) + 1
            position.stack.append((path, position.calls[path]))

        return hook

    def leave(path: str) -> Callable[..., Any]:
        def hook(module: Any, args: Any, output: Any) -> Any:
            if threading.get_ident() != owner:
                return None
            while position.stack and position.stack[-1][0] != path:
                position.stack.pop()
            number = position.stack.pop()[1] if position.stack else 1
            if on_exit is None or output is None:
                return None
            position.paused = True
            try:
                return on_exit(path, number, module, output)
            finally:
                position.paused = False

        return hook

    try:
        for path, module in modules:
            handles.append(module.register_forward_pre_hook(enter(path)))
            handles.append(module.register_forward_hook(leave(path)))
        yield
    finally:
        for handle in handles:
            handle.remove()
