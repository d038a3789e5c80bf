"""ReLUs under other names: a maximum with zero, a threshold, a choice by the sign."""

import math
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from pellucid.adapters.torch.calls import depends, is_wrapped

_ABOVE = frozenset("gt ge __gt__ __ge__ greater greater_equal".split())
_BELOW = frozenset("lt le __lt__ __le__ less less_equal".split())
_CASTS = frozenset("to float half double bfloat16 type type_as".split())
_PRODUCTS = frozenset("mul __mul__ __rmul__ multiply".split())
_MAXIMA = frozenset("maximum max fmax".split())
_CLIPS = frozenset("clamp clip clamp_min hardtanh".split())

LOOKED_AT = (
    _ABOVE | _BELOW | _CASTS | _PRODUCTS | _MAXIMA | _CLIPS
    | {"threshold", "_threshold", "where", "masked_fill", "leaky_relu"}
)  # fmt: skip
"""Functions that may be a ReLU, or make the sign by which one chooses."""

BY_SIGN = _PRODUCTS | {"where", "masked_fill"}
"""Functions that are given the sign of their input as well."""


class Rectifiers:
    """Tells whether a call is a ReLU, following the comparisons with zero of one run."""

    def __init__(self) -> None:
        self._signs: dict[int, tuple[weakref.ref[Any], weakref.ref[Any], bool]] = {}

    def note(self, name: str, inputs: tuple[Any, ...], given: Mapping[str, Any], out: Any) -> None:
        """Remember what a comparison of a tensor with zero, or a cast of one, returned."""
        if not inputs or not isinstance(out, torch.Tensor):
            return
        if name in _CASTS:
            known = self._sign_of(inputs[0])
            if known is not None:
                self._signs[id(out)] = weakref.ref(out), weakref.ref(known[0]), known[1]
        elif name in _ABOVE | _BELOW and _is_zero(list(given.values())[1:]):
            above = name in _ABOVE
            self._signs[id(out)] = weakref.ref(out), weakref.ref(inputs[0]), above

    def met(self, name: str, inputs: tuple[Any, ...], given: Mapping[str, Any]) -> str:
        """The form of the call where it is a ReLU ("relu", "relu6") on these inputs, else none."""
        values = list(given.values())
        tensors = [tuple(t.shape) for t in (*inputs, *values) if isinstance(t, torch.Tensor)]
        live = next(t for t in inputs if depends(t))
        if torch.broadcast_shapes(*tensors) != live.shape:
            return ""
        if name in _CLIPS:
            return _clipped(name, given, values)
        if name in {"threshold", "_threshold"}:
            return "relu" if _is_zero(values[1:2]) and _is_zero(values[2:3]) else ""
        if name == "leaky_relu":
            return "relu" if given.get("negative_slope") == 0 else ""
        if name in _MAXIMA:
            return "relu" if len(values) == 2 and any(_is_zero([v]) for v in values) else ""
        if name in _PRODUCTS and len(inputs) == 2:
            return "relu" if self._masks(*inputs) or self._masks(*inputs[::-1]) else ""
        if name == "where" and len(values) == 3:
            # The method of a tensor has the condition second.
            second = isinstance(values[1], torch.Tensor) and values[1].dtype == torch.bool
            condition, chosen = values[:2][:: -1 if second else 1]
            return "relu" if self._chooses(condition, chosen, values[2]) else ""
        if name == "masked_fill" and len(values) == 3:
            x, hidden, filled = values
            return "relu" if self._is(hidden, x, above=False) and _is_zero([filled]) else ""
        return ""

    def moved(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """What was in `source`, which is about to be written to, is in `target` now."""
        for key, (sign, compared, above) in list(self._signs.items()):
            if compared() is source:
                self._signs[key] = sign, weakref.ref(target), above

    def _masks(self, x: Any, mask: Any) -> bool:
        return self._is(mask, x, above=True)

    def _chooses(self, condition: Any, chosen: Any, other: Any) -> bool:
        return (self._is(condition, chosen, above=True) and _is_zero([other])) or (
            self._is(condition, other, above=False) and _is_zero([chosen])
        )

    def _is(self, sign: Any, x: Any, *, above: bool) -> bool:
        known = self._sign_of(sign)
        return known is not None and known[0] is x and known[1] == above

    def _sign_of(self, tensor: Any) -> tuple[Any, bool] | None:
        held = self._signs.get(id(tensor))
        if held is None or held[0]() is not tensor:
            return None
        compared = held[1]()
        return None if compared is None else (compared, held[2])


def _clipped(name: str, given: Mapping[str, Any], values: list[Any]) -> str:
    low = given.get("min_val", given.get("min"))
    high = given.get("max_val", given.get("max"))
    if name == "hardtanh":  # its bounds have defaults
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if not _is_zero([low]):
        return ""
    if high is None or high == math.inf:
        return "relu"
    return "relu6" if isinstance(high, int | float) and high == 6 else ""


def _is_zero(values: list[Any]) -> bool:
    """Whether this is one number, or a tensor that depends on no input, and all of it zero."""
    if len(values) != 1:
        return False
    (value,) = values
    if isinstance(value, torch.Tensor):
        if is_wrapped(value):  # no one number to look at
            return False
        return not value.requires_grad and not bool(torch.any(value != 0))
    return isinstance(value, int | float) and value == 0
