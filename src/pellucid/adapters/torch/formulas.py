"""What a run makes of its numbers one by one, to find the ReLUs that are written out.

A ReLU may be a choice by the sign, a product with it, or (x + |x|) / 2. Whatever it is, it makes
max(x, 0) of any x: the calls between are done again on a few numbers, and what they make is seen.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from pellucid.adapters.relu_probes import LONGEST, PROBES
from pellucid.adapters.torch.calls import depends, is_wrapped

_COMPARISONS = frozenset(
    (
        "gt ge lt le __gt__ __ge__ __lt__ __le__ greater greater_equal less less_equal isposinf"
        " signbit"
    ).split()
)
_BENDS = _COMPARISONS | frozenset(
    "abs absolute sign sgn sqrt minimum maximum fmin fmax min max clamp clip clamp_min clamp_max"
    " heaviside threshold _threshold".split()
)
_ENDS = frozenset(
    "mul __mul__ __rmul__ multiply div __truediv__ divide true_divide add __add__ __radd__ sub"
    " __sub__ rsub __rsub__ subtract neg __neg__ negative minimum maximum fmin fmax min max where"
    " masked_fill bias".split()
)
"""Calls that may be the last one of a ReLU that is written out."""

_BY_SLOPE = frozenset("prelu elu rrelu".split())
"""Functions that are a ReLU where the slope below zero, a number or weight of theirs, is zero."""

FOLLOWED = (
    _BENDS | _ENDS | _BY_SLOPE
    | frozenset(
        "logical_not logical_and logical_or __and__ __or__ __invert__ bitwise_not bitwise_and"
        " bitwise_or to float half double bfloat16 long int bool type type_as detach clone"
        " contiguous square pow __pow__ leaky_relu hardtanh".split()
    )
)  # fmt: skip
"""Functions that make each number of the numbers in the same place."""


Call = Callable[[Sequence[torch.Tensor]], torch.Tensor]


class _Held:
    """A tensor that is not let go."""

    def __init__(self, tensor: torch.Tensor | None) -> None:
        self.tensor = tensor


class _Number:
    """A tensor of which each number is made of those in the same place in others."""

    def __init__(self, tensor: torch.Tensor, made_of: "tuple[_Number, ...]", call: Call | None):
        self.made_of, self.call = made_of, call
        self.bends, self.depth = False, 1 + max((n.depth for n in made_of), default=0)
        self._weak = weakref.ref(tensor)
        self._own: weakref.ref[_Held] | None = None
        self._holds: list[_Held] = []

    @property
    def tensor(self) -> torch.Tensor | None:
        return self._weak()

    def hold(self) -> None:
        """Keep what it is made of, as long as it lives: a ReLU of it may end after its user let go.

        Nobody holds itself, so that nothing outlives what is made of it.
        """
        for number in self.around():
            if number is not self:
                held = None if number._own is None else number._own()
                held = held or _Held(number.tensor)
                number._own = weakref.ref(held)
                self._holds.append(held)

    def become(self, tensor: torch.Tensor) -> None:
        self._weak = weakref.ref(tensor)
        held = None if self._own is None else self._own()
        if held is not None:
            held.tensor = tensor

    def around(self) -> "Iterator[_Number]":
        """Itself and those that it is made of, the nearest first."""
        todo: list[_Number] = [self]
        met = set[int]()
        while todo:
            number = todo.pop(0)
            if id(number) not in met:
                met.add(id(number))
                yield number
                todo += number.made_of

    def of(self, base: "_Number", x: torch.Tensor, known: dict[int, Any]) -> torch.Tensor | None:
        """What is made where `base` is `x`; None where something else has a say."""
        if self is base:
            return x
        if id(self) not in known:
            known[id(self)] = self._anew(base, x, known)
        return known[id(self)]

    def _anew(self, base: "_Number", x: torch.Tensor, known: dict[int, Any]) -> Any:
        if self.call is None:
            return _one_number(self.tensor, x)
        made = [m for m in (n.of(base, x, known) for n in self.made_of) if m is not None]
        if len(made) < len(self.made_of):
            return None
        try:
            out = self.call(made)
        except (RuntimeError, TypeError, ValueError):  # it wants what these few numbers are not
            return None
        return out if out.shape == x.shape or out.ndim == 0 else None


class Formulas:
    """Follows the calls of one run that make numbers of numbers in the same place."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], int, _Number]] = {}

    def note(self, name: str, inputs: tuple[torch.Tensor, ...], call: Call, out: Any) -> None:
        """Remember what a call returned."""
        if not inputs or name not in FOLLOWED or any(map(is_wrapped, (out, *inputs))):
            return
        if not _is_whole(name, inputs) and out.shape == _together(inputs):
            number = self._number(name, inputs, call, out)
            if number is not None:
                self._keep(out, number)

    def rectified(
        self, name: str, inputs: tuple[torch.Tensor, ...], call: Call
    ) -> tuple[str, torch.Tensor] | None:
        """The form of the ReLU that this call completes, and the tensor it is of."""
        if name not in _ENDS | _BY_SLOPE or any(map(is_wrapped, inputs)) or _is_whole(name, inputs):
            return None
        made = self._number(name, inputs, call, inputs[0])
        if made is None or not (made.bends or name in _BY_SLOPE):
            return None
        shape = _together(inputs)
        for base in made.around():
            x = base.tensor if base is not made else None
            if x is None or not depends(x) or x.shape != shape or not x.is_floating_point():
                continue
            with torch.no_grad():
                probes = torch.tensor(PROBES, dtype=x.dtype, device=x.device)
                y = made.of(base, probes, {})
            if y is None or y.dtype != x.dtype:
                continue
            if torch.equal(y, probes.clamp_min(0)):
                return "relu", x
            if torch.equal(y, probes.clamp(0, 6)):
                return "relu6", x
        return None

    def moved(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """What was in `source` is in `target` now."""
        number = self._of(source)
        self._known.pop(id(source), None)
        if number is not None:
            number.become(target)
            self._keep(target, number)

    def _number(
        self, name: str, inputs: tuple[torch.Tensor, ...], call: Call, out: torch.Tensor
    ) -> _Number | None:
        """A new one; those it is made of are remembered where they are met first."""
        made_of = []
        for tensor in inputs:
            known = self._of(tensor)
            if known is None or known.depth >= LONGEST:
                known = _Number(tensor, (), None)
                self._keep(tensor, known)
            made_of.append(known)
        made = _Number(out, tuple(made_of), call)
        made.bends = name in _BENDS or any(number.bends for number in made_of)
        if name in _BENDS:
            made.hold()
        return made

    def _keep(self, tensor: torch.Tensor, number: _Number) -> None:
        key = id(tensor)
        gone = weakref.ref(tensor, lambda ref: self._forget(key, ref))
        self._known[key] = gone, tensor._version, number

    def _forget(self, key: int, ref: Any) -> None:
        if self._known.get(key, (None,))[0] is ref:
            del self._known[key]

    def _of(self, tensor: torch.Tensor) -> _Number | None:
        ref, version, number = self._known.get(id(tensor), (None, 0, None))
        same = ref is not None and ref() is tensor and tensor._version == version
        return number if same else None


def _is_whole(name: str, inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether this is a maximum over an axis, which is not done number by number."""
    return name in {"max", "min"} and len(inputs) < 2


def _together(inputs: tuple[torch.Tensor, ...]) -> torch.Size | None:
    """The shape of what is made of tensors number by number; None where they do not fit."""
    try:
        return torch.broadcast_shapes(*(t.shape for t in inputs))
    except RuntimeError:
        return None


def _one_number(tensor: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor | None:
    """A tensor that depends on no input, and is one number over and over, as that number."""
    if tensor is None or depends(tensor) or tensor.numel() == 0:
        return None
    first = tensor.reshape(-1)[0].to(x.device)
    return first.detach() if bool((tensor == first).all()) else None
