"""Weights without derivatives, in runs that are differentiated by their inputs alone."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pellucid.adapters.torch.calls import is_checkpointing
from pellucid.adapters.torch.convolutions import quick


class WeightFreezer:
    """Detached stand-ins for parameters, so that no graph is kept for their gradients."""

    def __init__(self) -> None:
        self._detached: dict[int, tuple[Any, torch.Tensor]] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter) or is_checkpointing():
            return tensor
        known = self._detached.get(id(tensor))
        # Its data may have been exchanged since, by a model that makes its weights as it runs.
        if known is None or known[1].data_ptr() != tensor.data_ptr():
            known = self._detached[id(tensor)] = (tensor, tensor.detach())
        return known[1]


class FrozenWeights(TorchFunctionMode):
    """Runs a model for the gradient of its inputs alone: nothing is kept for its weights.

    Parameters are detached where an operation uses them, so that no operation keeps an input for
    a gradient nobody asks for. A batch normalisation by fixed statistics is one multiplication
    and addition, which keeps nothing of its input at all. The module itself is not touched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._freeze = WeightFreezer()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in {"__get__", "__set__"} or (name.endswith("_") and not name.endswith("__")):
            return func(*args, **kwargs)
        args = tuple(self._frozen(a) for a in args)
        kwargs = {k: self._frozen(v) for k, v in kwargs.items()}
        if func is torch.nn.functional.batch_norm and not is_checkpointing():
            found = _fixed_batch_norm(*args, **kwargs)
            if found is not None:
                return found
        return quick(func)(*args, **kwargs)

    def _frozen(self, value: Any) -> Any:
        if isinstance(value, torch.nn.Parameter):
            return self._freeze(value)
        if type(value) in {list, tuple} and any(isinstance(v, torch.nn.Parameter) for v in value):
            return type(value)(self._frozen(v) for v in value)
        return value


def _fixed_batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor | None:
    """X · scale + shift, or None where the statistics are the batch's own, or types are mixed."""
    if training or running_mean is None or running_var is None or x.ndim < 2:
        return None
    held = [t for t in (running_mean, running_var, weight, bias) if t is not None]
    if any(t.requires_grad or t.dtype != x.dtype for t in held) or x.dtype.itemsize < 4:
        return None
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    shape = (-1, *(1,) * (x.ndim - 2))
    return torch.addcmul(shift.reshape(shape), x, scale.reshape(shape))
