"""Which JAX primitives slide over space, and how."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from pellucid.adapters.sliding import Sliding

Bind = Callable[..., Any]
"""The primitive with some of its parameters replaced, on a part of its input."""


def sliding_of(
    name: str, arguments: Mapping[str, Any], inputs: tuple[Any, ...], weights: Mapping[str, Any]
) -> Sliding | None:
    """How a primitive with these parameters slides over its first input; None if it does not."""
    if name == "conv_general_dilated":
        return _convolution(arguments, weights)
    if name in {"reduce_window_max", "reduce_window_sum"}:
        return _window(name, arguments)
    if name == "pad" and len(inputs) == 2 and np.size(inputs[1]) == 1:
        return _padding(arguments, float(np.asarray(inputs[1])))
    return None


def _convolution(given: Mapping[str, Any], weights: Mapping[str, Any]) -> Sliding | None:
    numbers, weight = given["dimension_numbers"], weights.get("weight")
    rows_first = numbers.lhs_spec[0] == numbers.out_spec[0] == 0
    plain = given["batch_group_count"] == 1 and set(given["lhs_dilation"]) <= {1}
    if weight is None or not plain or not rows_first or numbers.lhs_spec != numbers.out_spec:
        return None
    axes = tuple(numbers.lhs_spec[2:])
    size = tuple(int(weight.shape[a]) for a in numbers.rhs_spec[2:])
    stride, dilation = tuple(given["window_strides"]), tuple(given["rhs_dilation"])
    padding = given["padding"]

    def apply(part: Any) -> Any:
        return jax.lax.conv_general_dilated(
            part,
            weight,
            stride,
            [(0, 0)] * len(axes),
            rhs_dilation=dilation,
            dimension_numbers=numbers,
            feature_group_count=given["feature_group_count"],
            precision=given["precision"],
            preferred_element_type=given["preferred_element_type"],
        )

    before = tuple(int(p[0]) for p in padding)
    return _sound(Sliding(axes, size, stride, dilation, before, 0.0, apply), padding)


def _window(name: str, given: Mapping[str, Any]) -> Sliding | None:
    size, stride = given["window_dimensions"], given["window_strides"]
    dilation, padding = given["window_dilation"], given["padding"]
    axes = tuple(a for a in range(len(size)) if size[a] > 1 or stride[a] > 1 or any(padding[a]))
    if not axes or axes[0] == 0 or set(given["base_dilation"]) > {1}:
        return None
    largest = name == "reduce_window_max"
    start, reduce = (-np.inf, jax.lax.max) if largest else (0.0, jax.lax.add)

    def apply(part: Any) -> Any:
        none = [(0, 0)] * len(size)
        first = np.asarray(start, part.dtype)
        return jax.lax.reduce_window(
            part, first, reduce, size, stride, none, window_dilation=dilation
        )

    own = [tuple(int(v[a]) for a in axes) for v in (size, stride, dilation)]
    before = tuple(int(padding[a][0]) for a in axes)
    return _sound(
        Sliding(axes, own[0], own[1], own[2], before, start, apply), [padding[a] for a in axes]
    )


def _padding(given: Mapping[str, Any], value: float) -> Sliding | None:
    widths = [tuple(map(int, w)) for w in given["padding_config"]]
    axes = tuple(a for a, w in enumerate(widths) if any(w))
    if not axes or axes[0] == 0 or any(w[2] for w in widths):
        return None
    ones = (1,) * len(axes)
    before = tuple(widths[a][0] for a in axes)
    return _sound(
        Sliding(axes, ones, ones, ones, before, value, lambda a: a), [widths[a] for a in axes]
    )


def _sound(sliding: Sliding, padding: Any) -> Sliding | None:
    """None where padding takes places away."""
    return None if any(p[0] < 0 or p[1] < 0 for p in padding) else sliding
