"""Which TensorFlow operations slide over space, and how."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pellucid.adapters.sliding import Sliding


def sliding_of(name: str, arguments: Mapping[str, Any], inputs: Sequence[Any]) -> Sliding | None:
    """How an operation with these settings slides over its first input; None if it does not."""
    if name in {"Conv2D", "Conv3D", "DepthwiseConv2dNative"}:
        return _convolution(name, arguments, inputs)
    if name in {"MaxPool", "MaxPool3D", "AvgPool", "AvgPool3D"}:
        return _pool(name, arguments, inputs)
    if name in {"Pad", "PadV2"}:
        return _padding(arguments, inputs)
    return None


def _convolution(name: str, given: Mapping[str, Any], inputs: Sequence[Any]) -> Sliding | None:
    x, weight = inputs
    layout = given["data_format"]
    axes = _axes(layout)
    size = tuple(int(n) for n in weight.shape[: len(axes)])
    stride = tuple(given["strides"][a] for a in axes)
    dilations = given.get("dilation", given.get("dilations"))
    dilation = (1,) * len(axes) if dilations is None else tuple(dilations[a] for a in axes)
    raw = getattr(tf.raw_ops, name)
    settings = {"strides": list(given["strides"]), "padding": "VALID", "data_format": layout}
    if dilations is not None:
        settings["dilations"] = list(dilations)
    before = _before(given, axes, x, size, stride, dilation)
    if before is None:
        return None

    def apply(part: tf.Tensor) -> tf.Tensor:
        return raw(input=part, filter=weight, **settings)

    return Sliding(axes, size, stride, dilation, before, 0.0, apply)


def _pool(name: str, given: Mapping[str, Any], inputs: Sequence[Any]) -> Sliding | None:
    layout = given["data_format"]
    axes = _axes(layout)
    sizes = given.get("kernel_size", given.get("ksize"))
    if sizes is None or layout.startswith("NCHW_"):
        return None
    size, stride = tuple(sizes[a] for a in axes), tuple(given["strides"][a] for a in axes)
    ones, averages = (1,) * len(axes), name.startswith("Avg")
    before = _before(given, axes, inputs[0], size, stride, ones)
    if before is None or (averages and given["padding"] != "VALID"):
        return None  # an average leaves padding out, and divides by less
    raw: Callable[..., Any] = getattr(tf.raw_ops, name)
    settings = {"ksize": list(sizes), "strides": list(given["strides"]), "padding": "VALID"}
    settings["data_format"] = layout
    place = "value" if name == "AvgPool" else "input"

    def apply(part: tf.Tensor) -> tf.Tensor:
        return raw(**{place: part}, **settings)

    return Sliding(axes, size, stride, ones, before, 0.0 if averages else -np.inf, apply)


def _padding(given: Mapping[str, Any], inputs: Sequence[Any]) -> Sliding | None:
    widths = np.asarray(inputs[1])
    axes = tuple(int(a) for a in np.flatnonzero(widths.any(axis=1)))
    if not axes or axes[0] == 0:
        return None
    ones = (1,) * len(axes)
    before = tuple(int(widths[a, 0]) for a in axes)
    fill = float(np.asarray(inputs[2])) if len(inputs) > 2 else 0.0
    return Sliding(axes, ones, ones, ones, before, fill, lambda a: a)


def _axes(layout: str) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(layout) if name in "DHW")


def _before(
    given: Mapping[str, Any],
    axes: tuple[int, ...],
    x: Any,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...] | None:
    """Places of padding before the first: with SAME the smaller half of what is lacking."""
    padding = given["padding"]
    if padding == "VALID":
        return (0,) * len(axes)
    if padding == "EXPLICIT":
        listed = given.get("explicit_padding", given.get("explicit_paddings", ()))
        return tuple(int(listed[2 * a]) for a in axes) if listed else None
    found = []
    for axis, k, s, d in zip(axes, size, stride, dilation, strict=True):
        length = int(x.shape[axis])
        lacking = (-(-length // s) - 1) * s + (k - 1) * d + 1 - length
        found.append(max(lacking, 0) // 2)
    return tuple(found)
