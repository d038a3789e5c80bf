"""How a torch model takes its inputs: by position, by name, or as one dict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pellucid.adapters.protocol import InputSpec
from pellucid.adapters.structure import Structure
from pellucid.adapters.structure import arguments as spread
from pellucid.errors import InputError

_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def stacked(x: Any, specs: tuple[InputSpec, ...] | None) -> Any:
    """A list of single inputs as one batch, where the model is seen to take one input."""
    if not isinstance(x, list) or not x or specs is None or specs[0].shape is None:
        return x
    rank = len(specs[0].shape)
    if not all(hasattr(a, "shape") and a.ndim == rank and a.shape == x[0].shape for a in x):
        return x
    return torch.stack(x) if isinstance(x[0], torch.Tensor) else np.stack(x)


def as_tensor(a: Any, weight: torch.Tensor | None, *, wants_floats: bool) -> torch.Tensor:
    """One input in the weights' float type and on their device; integers for lookups stay."""
    try:
        tensor = a.detach() if isinstance(a, torch.Tensor) else torch.as_tensor(np.array(a))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Expected arrays of numbers for a torch model, got {type(a).__name__}: {error}"
        ) from error
    if tensor.is_inference():
        tensor = tensor.clone()
    if tensor.is_floating_point() or wants_floats:
        dtype = torch.float32 if weight is None else weight.dtype
        return tensor.to(device=None if weight is None else weight.device, dtype=dtype)
    return tensor if weight is None else tensor.to(weight.device)


def guess_inputs(module: torch.nn.Module | None) -> tuple[InputSpec, ...] | None:
    """The shape that the first weighted module takes: right for most models of one input."""
    for part in () if module is None else module.modules():
        for spatial, kind in enumerate(_CONVOLUTIONS, start=1):
            if isinstance(part, kind):
                shape = (part.in_channels, *(None,) * spatial)
                return (InputSpec("input", shape, None, certain=False),)
        if isinstance(part, torch.nn.Linear):
            return (InputSpec("input", (part.in_features,), None, certain=False),)
        if next(part.parameters(recurse=False), None) is not None:
            return None
    return None


def takes_steps_first(module: torch.nn.Module | None) -> bool:
    """Whether series enter as (sample, step, channel): unless a convolution comes first."""
    for part in () if module is None else module.modules():
        if isinstance(part, _CONVOLUTIONS):
            return False
        if next(part.parameters(recurse=False), None) is not None:
            return True
    return False


def arguments(
    model: Any, given: Sequence[torch.Tensor], structure: Structure
) -> tuple[tuple[Any, ...], dict[str, torch.Tensor]]:
    """Positional and named arguments for the model's forward."""
    forward = model.forward if isinstance(model, torch.nn.Module) else model
    return spread(forward, given, structure)
