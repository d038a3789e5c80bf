"""ReLUs under other names: a maximum with zero, a threshold, a choice by the sign."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from pellucid.adapters.torch.calls import depends, is_wrapped
from pellucid.adapters.torch.formulas import Formulas

LOOKED_AT = frozenset(
    "clamp clip clamp_min hardtanh threshold _threshold leaky_relu maximum max fmax".split()
)
"""Functions that may be a ReLU by themselves, by the arguments that they are given."""

_CLIPS = frozenset("clamp clip clamp_min hardtanh".split())
_NAMED = frozenset("relu relu6".split())


class Rectified(NamedTuple):
    """A call that is a ReLU: its form ("relu", "relu6"), of which tensor, and where from."""

    form: str
    of: torch.Tensor
    formula: bool
    """Whether other calls take part in it, so that it is done again as a ReLU."""

    def again(self, inputs: Sequence[torch.Tensor], weights: object = None) -> torch.Tensor:
        """The ReLU on another input."""
        return inputs[0].clamp_min(0) if self.form == "relu" else inputs[0].clamp(0, 6)


class Rectifiers:
    """Tells whether a call is a ReLU, following what one run does to numbers one by one."""

    def __init__(self) -> None:
        self._formulas = Formulas()

    def note(self, name: str, inputs: tuple[Any, ...], call: Any, out: Any, *, ends: bool) -> None:
        """Remember what a call returned. With `ends`, it is a ReLU: a number to start from anew."""
        if not ends and name not in _NAMED and isinstance(out, torch.Tensor):
            self._formulas.note(name, inputs, call, out)

    def met(
        self, name: str, inputs: tuple[Any, ...], given: Mapping[str, Any], call: Any
    ) -> Rectified | None:
        """What the call is where it is a ReLU on these inputs, else None."""
        live = [t for t in inputs if depends(t)]
        if len(live) == 1 and name in LOOKED_AT:
            form = _alone(name, inputs, given, live[0])
            if form:
                return Rectified(form, live[0], False)
        found = self._formulas.rectified(name, inputs, call) if live else None
        return None if found is None else Rectified(*found, True)

    def moved(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """What was in `source`, which is about to be written to, is in `target` now."""
        self._formulas.moved(source, target)


def _alone(name: str, inputs: tuple[Any, ...], given: Mapping[str, Any], live: Any) -> str:
    """The form of a call that is a ReLU by itself."""
    values = list(given.values())
    if name in _CLIPS:
        form = _clipped(name, given)
    elif name in {"threshold", "_threshold"}:
        form = "relu" if _is_zero(values[1:2]) and _is_zero(values[2:3]) else ""
    elif name == "leaky_relu":
        form = "relu" if given.get("negative_slope") == 0 else ""
    elif name in {"maximum", "max", "fmax"}:
        others = [v for v in values if v is not live]
        both = len(values) == 2 and isinstance(others[0], torch.Tensor)
        form = "relu" if both and _is_zero(others) else ""
    else:
        return ""
    tensors = [tuple(t.shape) for t in (*inputs, *values) if isinstance(t, torch.Tensor)]
    return form if form and torch.broadcast_shapes(*tensors) == live.shape else ""


def _clipped(name: str, given: Mapping[str, Any]) -> str:
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
