"""The layout of a traced model's pictures, read from its first convolution."""

from collections.abc import Callable

import jax.numpy as jnp

from pellucid.adapters.jax.operations import ELEMENTWISE
from pellucid.adapters.jax.program import Program, Step
from pellucid.types import Leaves

_KEEPS_AXES = ELEMENTWISE | {"pad", "slice", "rev", "copy_p", "jit", "pjit", "custom_jvp_call"}


def channel_axis_seen(x: Leaves, traced: Callable[[Leaves], Program]) -> int | None:
    """Where pictures and series like these have their channels, as a trace of the model shows.

    The trace is the one by which the model's end is found later.
    """
    if not any(3 <= a.ndim <= 5 and jnp.issubdtype(a.dtype, jnp.floating) for a in x):
        return None
    try:
        program = traced(tuple(a[:1] for a in x))
    except Exception:
        # Inputs that the model cannot run, for which the run itself has the right words.
        return None
    return channel_axis_of(program)


def channel_axis_of(program: Program) -> int | None:
    """1 or -1: where the input of the first convolution has its channels.

    Followed back from the convolution to the input, through what a model does before it: scaling,
    padding, a transposition. None where no convolution is fed like that.
    """
    for step in program.steps:
        if step.name == "conv_general_dilated":
            return _channel_axis(program, step)
    return None


def _channel_axis(program: Program, convolution: Step) -> int | None:
    value, axis = convolution.inputs[0], convolution.params["dimension_numbers"].lhs_spec[1]
    while isinstance(value, int) and value not in program.leaves:
        position = program.producer.get(value)
        step = None if position is None else program.steps[position]
        if step is None:
            return None
        if step.name == "transpose":
            axis = step.params["permutation"][axis]
        elif step.name not in _KEEPS_AXES:
            return None
        rank = len(program.avals[value].shape)
        before = [v for v in step.reads if v in program.live and _rank(program, v) == rank]
        if not before:
            return None
        value = before[0]
    if not isinstance(value, int):
        return None
    last = _rank(program, value) - 1
    return {1: 1, last: -1}.get(axis)


def _rank(program: Program, value: int) -> int:
    return len(program.avals[value].shape)
