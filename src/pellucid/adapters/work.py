"""How many multiplications an operation takes, from the shapes it was seen with."""

import math
from typing import Any

from pellucid.adapters.protocol import Operation
from pellucid.types import shape_of


def multiply_adds(op: Operation, out: Any, channel_axis: int) -> int:
    """Multiply-adds of a linear operation or of a product of two arrays summed over an axis.

    A convolution makes as many as its weights, once for every place it is put to (of a transposed
    one, for every place it spreads from); a dense layer or matrix product of (p, k) with (k, n)
    makes p·k·n. Whatever works element by element (a bias, a norm, an activation, a gate) counts
    as none, as is usual. `channel_axis` is where the model keeps channels.
    """
    if op.kind == "rnn":  # one that is not opened: its matrices once a step, states of zeros too
        held = (math.prod(_shape(a)) for a in op.weights.values() if len(_shape(a)) > 2)
        return int(op.arguments.get("steps", 0)) * sum(held)
    if op.kind not in {"linear", "mul"} or op.form == "scale":
        return 0
    output = _shape(out)
    if op.form == "convolution":
        weight = _largest_constant(op)
        given = next((_shape(a) for a, alive in zip(op.inputs, op.live, strict=False) if alive), ())
        places = [
            math.prod(shape) // shape[axis]
            for shape, axis in zip((given, output), _channel_axes(op, channel_axis), strict=True)
            if len(shape) > 2
        ]
        return weight * min(places, default=1)
    if op.kind == "mul":
        shapes = [_shape(a) for a in op.inputs[:2]]
        return math.prod(output) * _summed(op, *shapes) if len(shapes) == 2 else 0
    moving = [a for a, alive in zip(op.inputs, op.live, strict=False) if alive]
    given = max((math.prod(_shape(a)) for a in moving), default=0)
    # (p, k), (k, n) and (p, n) hold p·k·n numbers, squared, wherever a framework puts the axes.
    return round(math.sqrt(given * _largest_constant(op) * math.prod(output)))


def _shape(a: Any) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in shape_of(a))
    except (AttributeError, TypeError, ValueError):
        return ()


def _largest_constant(op: Operation) -> int:
    held = [a for a in op.weights.values() if a is not None]
    fixed = [a for a, alive in zip(op.inputs, op.live, strict=False) if not alive]
    return max((math.prod(_shape(a)) for a in held or fixed), default=0)


def _channel_axes(op: Operation, usual: int) -> tuple[int, int]:
    """Where the channels of a convolution's input and output are."""
    layout = op.arguments.get("data_format")
    if isinstance(layout, str):
        axis = 1 if layout.startswith("NC") else -1
        return axis, axis
    numbers = op.arguments.get("dimension_numbers")
    if numbers is not None:
        return int(numbers.lhs_spec[1]), int(numbers.out_spec[1])
    return usual, usual


def _summed(op: Operation, first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Over how many products each number of the output is a sum; 0 for a gate."""
    equation = op.arguments.get("equation")
    if isinstance(equation, str):
        return _summed_by(equation, first, second)
    numbers = op.arguments.get("dimension_numbers")
    if isinstance(numbers, tuple):
        return math.prod(first[axis] for axis in numbers[0][0])
    if op.name.lower() in _MATRIX_PRODUCTS and first and second:
        turned = op.arguments.get("adj_x") or op.arguments.get("transpose_a")
        return first[-2 if turned else -1]
    return 0


_MATRIX_PRODUCTS = frozenset(
    {"matmul", "mm", "bmm", "mv", "__matmul__", "__rmatmul__", "batchmatmul", "batchmatmulv2"}
)


def _summed_by(equation: str, *shapes: tuple[int, ...]) -> int:
    sides, _, kept = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, shape in zip(sides.split(","), shapes, strict=False):
        sizes |= dict(zip(letters.replace(".", "")[::-1], reversed(shape), strict=False))
    return math.prod(size for letter, size in sizes.items() if letter not in kept)
