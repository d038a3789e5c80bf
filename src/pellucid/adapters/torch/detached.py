"""Tensors of one run that were cut off from what they were made of, and what is made with them."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch

from pellucid.adapters.torch.calls import depends
from pellucid.adapters.torch.operations import FORMS, SOURCES


class _Tensors:
    """Tensors, as long as they live."""

    def __init__(self) -> None:
        self._held: dict[int, weakref.ref[torch.Tensor]] = {}

    def add(self, tensor: torch.Tensor) -> None:
        self._held[id(tensor)] = weakref.ref(tensor)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        held = self._held.get(id(tensor))
        return held is not None and held() is tensor

    def __bool__(self) -> bool:
        return bool(self._held)


class Detached:
    """Tells which calls meet a value that `detach` hid, so that no derivative tells of it.

    A detached maximum is told apart: what is shifted by it, as in a softmax written by hand, may
    follow it to where it came from. What is only compared or stored is nobody's concern.
    """

    def __init__(self) -> None:
        self._hidden, self._maxima = _Tensors(), _Tensors()

    def kind(self, name: str, kind: str, leaves: Sequence[Any], live: Sequence[bool]) -> str:
        """The kind of a call, "detached" where it meets a hidden value beside a live one."""
        if not any(live):
            return kind
        if name == "detach":
            return "detached" if any(t in self._maxima for t in leaves) else kind
        met = self._hidden and any(t in self._hidden for t in leaves)
        return "detached" if met else kind

    def note(self, name: str, leaves: Sequence[Any], result: Any) -> None:
        """Remember what a call returned."""
        if not isinstance(result, torch.Tensor) or name in SOURCES:
            return
        form = FORMS.get(name)
        if form in {"maximum", "minimum"} and depends(result):
            self._maxima.add(result)
        elif self._maxima and (form == "move" or name == "__getitem__") and depends(result):
            if any(t in self._maxima for t in leaves):
                self._maxima.add(result)
        elif name == "detach":
            if not depends(result) and any(depends(t) and t not in self._maxima for t in leaves):
                self._hidden.add(result)
        elif self._hidden and not depends(result) and any(t in self._hidden for t in leaves):
            self._hidden.add(result)
