"""What a model writes into a part of a tensor, and whether its numbers decide where."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from pellucid.adapters.torch.calls import depends
from pellucid.adapters.torch.position import tensors_in

WRITES = frozenset("__setitem__ index_put_ index_put".split())

SET_ITEMS = "setitem"
"""The name that a write to chosen places has as an operation."""

_FRESH = frozenset(
    "new_zeros new_ones new_full new_empty new_tensor zeros_like ones_like full_like empty_like"
    " rand_like randn_like".split()
)
"""Calls that take a tensor's shape and type alone."""


def _set_items(x: torch.Tensor, index: Any, value: Any) -> torch.Tensor:
    made = x.clone()
    made[index] = value
    return made


def writing(
    func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, str, tuple[Any, ...], dict[str, Any], torch.Tensor | None]:
    """A write as the call that makes another tensor, and the tensor that is written to.

    The same number wherever a mask is true is a `masked_fill`.
    """
    if name == "__setitem__":
        target, index, value = args
        if not target.is_floating_point():
            return func, name, args, dict(kwargs), None
        fill = _filled(target, index, value)
        if fill is not None:
            return torch.Tensor.masked_fill, "masked_fill", fill, {}, target
        return _set_items, SET_ITEMS, (target, index, value), {}, target
    target, indices, values = args if len(args) == 3 and not kwargs else (None, (), None)
    fill = _filled(target, indices[0], values) if len(indices) == 1 else None
    if fill is None:
        return func, name, args, dict(kwargs), None
    written = target if name.endswith("_") else None
    return torch.Tensor.masked_fill, "masked_fill", fill, {}, written


def _filled(target: Any, index: Any, value: Any) -> tuple[Any, ...] | None:
    mask = isinstance(index, torch.Tensor) and index.dtype is torch.bool
    number = isinstance(value, int | float) or (isinstance(value, torch.Tensor) and not value.ndim)
    fits = mask and number and index.shape == target.shape
    return (target, index, value) if fits else None


class Choices:
    """Tensors without derivatives, masks and places, that follow from a model's inputs."""

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[torch.Tensor]] = {}

    def start(self, given: Iterable[torch.Tensor]) -> None:
        """Remember inputs that have no derivative themselves."""
        for tensor in given:
            self._known[id(tensor)] = weakref.ref(tensor)

    def note(self, name: str, given: list[torch.Tensor], out: Any) -> None:
        """Remember what has no derivative in what a call made of tensors that have or are such."""
        if name in _FRESH or not any(depends(t) or self.has(t) for t in given):
            return
        for tensor in tensors_in(out):
            if not depends(tensor):
                key = id(tensor)
                gone = weakref.ref(tensor, lambda ref, key=key: self._forget(key, ref))
                self._known[key] = gone

    def has(self, tensor: torch.Tensor) -> bool:
        known = self._known.get(id(tensor))
        return known is not None and known() is tensor

    def _forget(self, key: int, gone: weakref.ref[torch.Tensor]) -> None:
        if self._known.get(key) is gone:
            del self._known[key]
