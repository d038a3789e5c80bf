"""Calls that do two things to live numbers, as the calls they stand for: a product and a sum.

So each has the rule that it has wherever it stands alone.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from pellucid.adapters.torch.calls import depends, is_checkpointing, normalised

_MATRICES = {"addmm": (torch.mm, "mm"), "baddbmm": (torch.bmm, "bmm")}
_NORMS = frozenset({"layer_norm", "rms_norm", "batch_norm", "group_norm", "instance_norm"})

One = Callable[..., Any]
"""Hands on one call: `(function, name, args, kwargs)`."""


def taken_apart(
    function: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[One], Any] | None:
    """The call by its parts, each handed on; None where it is one operation."""
    if is_checkpointing():
        return None
    if name in _MATRICES and len(args) <= 3:
        return partial(_added, name, args, kwargs)
    if name in _NORMS:
        named = normalised(function, name, args, kwargs)
        weights = [named.get(k) for k in ("weight", "bias")]
        if any(isinstance(w, torch.Tensor) and depends(w) for w in weights):
            return partial(_normalised, function, name, named)
    return None


def _added(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], one: One) -> Any:
    """β · input + α · (a b)."""
    given = [*args, *(kwargs[k] for k in _names(name) if k in kwargs)]
    added, first, second = given[:3]
    made = one(*_MATRICES[name], (first, second), {})
    for key, factor in (("alpha", kwargs.get("alpha", 1)), ("beta", kwargs.get("beta", 1))):
        if key == "alpha" and factor != 1:
            made = one(torch.mul, "mul", (made, factor), {})
        elif key == "beta" and factor not in {0, 1}:
            added = one(torch.mul, "mul", (added, factor), {})
    return made if kwargs.get("beta", 1) == 0 else one(torch.add, "bias", (made, added), {})


def _names(name: str) -> tuple[str, ...]:
    both = ("mat1", "mat2") if name == "addmm" else ("batch1", "batch2")
    return ("input", *both)


def _normalised(function: Any, name: str, named: Mapping[str, Any], one: One) -> Any:
    """What a normalisation does before its weights, then the weights and the bias."""
    weight, bias = named.get("weight"), named.get("bias")
    bare = {k: None if k in {"weight", "bias"} else v for k, v in named.items()}
    made = one(function, name, (), bare)

    def beside(held: torch.Tensor) -> torch.Tensor:
        by_channel = name not in {"layer_norm", "rms_norm"}
        return held.reshape(-1, *(1,) * (made.ndim - 2)) if by_channel else held

    if weight is not None:
        made = one(torch.mul, "mul", (made, beside(weight)), {})
    return made if bias is None else one(torch.add, "bias", (made, beside(bias)), {})
