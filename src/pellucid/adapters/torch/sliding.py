"""Which torch functions slide over space, and how."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from pellucid.adapters.sliding import Sliding

_CONVOLUTIONS: dict[str, tuple[Any, int]] = {
    "conv1d": (F.conv1d, 1),
    "conv2d": (F.conv2d, 2),
    "conv3d": (F.conv3d, 3),
}
_MAX_POOLS: dict[str, tuple[Any, int]] = {
    "max_pool1d": (F.max_pool1d, 1),
    "max_pool2d": (F.max_pool2d, 2),
    "max_pool3d": (F.max_pool3d, 3),
}
_AVERAGES: dict[str, tuple[Any, int]] = {
    "avg_pool1d": (F.avg_pool1d, 1),
    "avg_pool2d": (F.avg_pool2d, 2),
    "avg_pool3d": (F.avg_pool3d, 3),
}
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = (*_MAX_POOL[:4], "ceil_mode", "count_include_pad", "divisor_override")
_PAD = ("input", "pad", "mode", "value")


def sliding_of(name: str, arguments: Mapping[str, Any], inputs: tuple[Any, ...]) -> Sliding | None:
    """How a call with these arguments slides over its input; None if it does not."""
    if name in _CONVOLUTIONS:
        given = _named(arguments, _CONVOLUTION)
        found = _convolution(*_CONVOLUTIONS[name], given)
    elif name in _MAX_POOLS:
        given = _named(arguments, _MAX_POOL)
        found = _max_pool(*_MAX_POOLS[name], given)
    elif name in _AVERAGES:
        given = _named(arguments, _AVERAGE)
        found = _average(*_AVERAGES[name], given)
    elif name == "pad":
        given = _named(arguments, _PAD)
        found = _padding(given)
    else:
        return None
    places = [i for i, a in enumerate(inputs) if a is given["input"]]
    return replace(found, place=places[0]) if found is not None and places else None


def _named(arguments: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Arguments by name, also those that torch knows by position only."""
    rest = {k: v for k, v in arguments.items() if k not in {"args", "kwargs"}}
    positions = dict(enumerate(arguments.get("args", ())))
    positions |= {int(k): v for k, v in rest.items() if k.isdigit()}
    by_position = {names[i]: v for i, v in positions.items() if i < len(names)}
    named = {k: v for k, v in rest.items() if not k.isdigit()}
    return by_position | named | dict(arguments.get("kwargs", {}))


def _each(value: Any, count: int) -> tuple[int, ...]:
    found = tuple(map(int, value)) if isinstance(value, list | tuple) else (int(value),)
    return found * count if len(found) == 1 else found


def _axes(tensor: torch.Tensor, count: int) -> tuple[int, ...] | None:
    """The last `count` axes, of a tensor that has rows and channels before them."""
    return tuple(range(2, 2 + count)) if tensor.ndim == count + 2 else None


def _convolution(function: Any, count: int, given: Mapping[str, Any]) -> Sliding | None:
    axes, weight = _axes(given["input"], count), given["weight"]
    if axes is None:
        return None
    size = tuple(weight.shape[2:])
    stride, dilation = _each(given.get("stride", 1), count), _each(given.get("dilation", 1), count)
    padding = given.get("padding", 0)
    if padding == "valid":
        padding = 0
    if padding == "same":
        before = tuple(d * (k - 1) // 2 for k, d in zip(size, dilation, strict=True))
    else:
        before = _each(padding, count)
    groups, bias = given.get("groups", 1), given.get("bias")

    def apply(part: torch.Tensor) -> torch.Tensor:
        return function(part, weight, bias, stride, 0, dilation, groups)

    return Sliding(axes, size, stride, dilation, before, 0.0, apply)


def _max_pool(function: Any, count: int, given: Mapping[str, Any]) -> Sliding | None:
    axes = _axes(given["input"], count)
    if axes is None or given.get("return_indices"):
        return None
    size = _each(given["kernel_size"], count)
    stride = _each(given.get("stride") or size, count)
    dilation = _each(given.get("dilation", 1), count)

    def apply(part: torch.Tensor) -> torch.Tensor:
        return function(part, size, stride, 0, dilation)

    before = _each(given.get("padding", 0), count)
    return Sliding(axes, size, stride, dilation, before, float("-inf"), apply)


def _average(function: Any, count: int, given: Mapping[str, Any]) -> Sliding | None:
    axes, before = _axes(given["input"], count), _each(given.get("padding", 0), count)
    # A window that is cut off at the border, or that leaves padding out, divides by less.
    uneven = given.get("ceil_mode") or (any(before) and not given.get("count_include_pad", True))
    if axes is None or uneven or given.get("divisor_override") is not None:
        return None
    size = _each(given["kernel_size"], count)
    stride = _each(given.get("stride") or size, count)

    def apply(part: torch.Tensor) -> torch.Tensor:
        return function(part, size, stride, 0)

    return Sliding(axes, size, stride, (1,) * count, before, 0.0, apply)


def _padding(given: Mapping[str, Any]) -> Sliding | None:
    x: torch.Tensor = given["input"]
    widths = tuple(map(int, given["pad"]))
    count = len(widths) // 2
    if given.get("mode", "constant") != "constant" or not 1 <= count <= x.ndim - 2:
        return None
    if any(w < 0 for w in widths):
        return None
    axes = tuple(range(x.ndim - count, x.ndim))
    before, ones = widths[::2][::-1], (1,) * count
    return Sliding(axes, ones, ones, ones, before, float(given.get("value") or 0), lambda a: a)
