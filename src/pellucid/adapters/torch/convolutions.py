"""Convolutions of few channels, such as of pictures, differentiated by columns.

oneDNN finds the derivative in the input of such a convolution by the same blocks of channels as of
any other, most of them empty: by columns it takes a half to a sixth of the time. From eight
channels on it is the other way round.
"""

from typing import Any

import torch
from torch.nn.grad import conv2d_input

from pellucid.adapters.torch.calls import all_plain

_FEW = 4
"""Channels up to which columns were faster, whatever the kernel, the stride and the picture."""


def conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`torch.conv2d`, for which nothing but a derivative in `input` may be asked."""
    plain = _pair(dilation) == (1, 1) and groups == 1 and not isinstance(padding, str)
    if plain and torch.is_grad_enabled() and _few_channels(input, weight, bias):
        given = input, weight, bias, _pair(stride), _pair(padding)
        return _ByColumns.apply(*given)  # pyright: ignore[reportReturnType]
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def quick(function: Any) -> Any:
    """What is as good as a torch function where weights are frozen, and differentiated faster."""
    return conv2d if function is torch.conv2d else function


def _few_channels(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    held = [input, weight] + ([] if bias is None else [bias])
    return (
        input.ndim == 4
        and int(input.shape[1]) <= _FEW
        and input.requires_grad
        and not any(t.requires_grad for t in held[1:])
        and all(t.dtype is torch.float32 and t.device.type == "cpu" for t in held)
        and all_plain(held)
        and not torch.is_autocast_enabled("cpu")  # which makes another type of it
    )


def _pair(given: Any) -> tuple[int, ...]:
    found = tuple(given) if isinstance(given, tuple | list) else (given,)
    return found if len(found) > 1 else found * 2


class _ByColumns(torch.autograd.Function):
    """A convolution that keeps its weights alone, to take a derivative to its input."""

    @staticmethod
    def forward(ctx: Any, input, weight, bias, stride, padding):  # type: ignore[override]
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding = input.shape, stride, padding
        return torch.conv2d(input, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:  # type: ignore[override]
        (weight,) = ctx.saved_tensors
        if cotangent.is_contiguous():
            found = torch.ops.aten._slow_conv2d_backward.output_mask(
                cotangent, cotangent.new_empty(ctx.shape), weight, list(weight.shape[2:]),
                ctx.stride, ctx.padding, [True, False, False],
            )[0]  # fmt: skip
        else:  # columns would be made of a copy of it
            found = conv2d_input(ctx.shape, weight, cotangent, ctx.stride, ctx.padding)
        return found, None, None, None, None
