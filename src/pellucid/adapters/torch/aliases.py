"""What an interceptor keeps of a run, safe from what the model writes in place later."""

import threading
import weakref

import torch

from pellucid.adapters.torch.calls import is_wrapped

_RUNNING = threading.local()


class Aliases:
    """Tensors without derivatives that were taken of a run's own: they share its memory.

    A model that writes to its memory afterwards would change them: they get a copy before.
    """

    def __init__(self) -> None:
        self._taken: dict[int, list[weakref.ref[torch.Tensor]]] = {}
        self._around: Aliases | None = None

    def __enter__(self) -> "Aliases":
        self._around, _RUNNING.now = _now(), self
        return self

    def __exit__(self, *error: object) -> None:
        _RUNNING.now = self._around

    def note(self, alias: torch.Tensor) -> None:
        memory = alias.untyped_storage().data_ptr()
        self._taken.setdefault(memory, []).append(weakref.ref(alias))

    def about_to_write(self, target: torch.Tensor) -> None:
        """Give what shares the memory of `target` one of its own."""
        if is_wrapped(target):
            return
        for reference in self._taken.pop(target.untyped_storage().data_ptr(), ()):
            alias = reference()
            if alias is not None:
                alias.data = alias.clone()


def _now() -> Aliases | None:
    return getattr(_RUNNING, "now", None)


def detached(a: torch.Tensor) -> torch.Tensor:
    """The tensor without its derivative."""
    running = _now()
    if running is None or is_wrapped(a):
        return a.detach()
    alias = a.detach()
    running.note(alias)
    return alias
