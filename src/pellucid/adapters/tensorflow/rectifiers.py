"""ReLUs under other names in a traced model: a maximum with zero, a choice by the sign."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

BY_SIGN = frozenset({"Mul", "MulNoNan", "Select", "SelectV2"})
"""Operations that are given the sign of their input as well."""

if TYPE_CHECKING:
    from pellucid.adapters.tensorflow.graph import Program, Step

_ABOVE = frozenset({"Greater", "GreaterEqual"})
_BELOW = frozenset({"Less", "LessEqual"})
_SAME = frozenset({"Identity", "BroadcastTo", "Reshape", "EnsureShape", "StopGradient", "Cast"})


def rectifiers(program: "Program") -> Mapping[int, str]:
    """The form of each step that is a ReLU ("relu", "relu6"), by its index."""
    found: dict[int, str] = {}
    for step in program.steps:
        live = [v for v in step.inputs if v in program.live]
        if len(live) == 1:
            form = _form(program, step)
            shapes = [program.tensors[v].shape.as_list for v in (live[0], step.outputs[0])]
            if form and shapes[0]() == shapes[1]():
                found[step.index] = form
    return found


def _form(program: "Program", step: "Step") -> str:
    values = step.inputs
    match step.type:
        case "Maximum":
            return "relu" if any(_is_zero(program, v) for v in values) else ""
        case "Mul" | "MulNoNan":
            masks = any(_sign(program, v) == (x, True) for v, x in (values, values[::-1]))
            return "relu" if masks else ""
        case "Select" | "SelectV2":
            return "relu" if _chooses(program, *values) else ""
        case "ClipByValue":
            return _clipped(program, values)
        case "LeakyRelu":
            return "relu" if step.operation.get_attr("alpha") == 0 else ""
    return ""


def _chooses(program: "Program", condition: int, chosen: int, other: int) -> bool:
    sign = _sign(program, condition)
    return (sign == (chosen, True) and _is_zero(program, other)) or (
        sign == (other, False) and _is_zero(program, chosen)
    )


def _clipped(program: "Program", values: tuple[int, ...]) -> str:
    low, high = (tf.get_static_value(program.tensors[v]) for v in values[1:])
    if low is None or np.any(low) or high is None:
        return ""
    return "relu6" if np.all(high == 6) else "relu" if np.all(np.isposinf(high)) else ""


def _sign(program: "Program", value: int) -> tuple[int, bool] | None:
    """What was compared with zero to make this, and whether for above it."""
    step = program.producer.get(value)
    while step is not None and step.type in {"Cast", "Identity"}:
        step = program.producer.get(step.inputs[0])
    if step is None or step.type not in _ABOVE | _BELOW:
        return None
    first, second = step.inputs
    above = step.type in _ABOVE
    if _is_zero(program, second):
        return first, above
    return (second, not above) if _is_zero(program, first) else None


def _is_zero(program: "Program", value: int) -> bool:
    """Whether this is a constant, all of it zero."""
    if value in program.live:
        return False
    held = program.captures.get(value)
    if held is not None:
        return held.dtype != tf.resource and bool(np.all(np.equal(held, 0)))
    known = tf.get_static_value(program.tensors[value])
    if known is not None:
        return not np.any(known)
    step = program.producer.get(value)
    if step is None:
        return False
    if step.type == "ZerosLike":
        return True
    if step.type == "Fill":
        return _is_zero(program, step.inputs[1])
    return step.type in _SAME and _is_zero(program, step.inputs[0])
