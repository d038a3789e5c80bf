"""Names for the shapes of things that cross rooms."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A native tensor of the model's own framework (NumPy, torch, TensorFlow, ...)."""

Leaves: TypeAlias = tuple[Array, ...]
"""The arrays of one batch of inputs, flattened in a fixed order; all share the first axis."""

Outputs: TypeAlias = Any
"""What a model returns: an array, or a tuple or dict of arrays."""

TargetLike: TypeAlias = (
    int | str | tuple[Any, Any] | Sequence[int] | np.ndarray | Callable[[Any], Any] | None
)


def is_array(value: Any) -> bool:
    """Whether `value` is an array of any framework: the one place where that is asked."""
    return hasattr(value, "shape")


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array of any framework; empty for anything that has none."""
    return tuple(int(size) for size in getattr(value, "shape", ()))


class Evaluations(NamedTuple):
    """Rows of input the model was run on, counted where the model is called.

    `forward` whole forward passes, `backward` backward passes, `suffix` passes through a part of
    the model only: the layers above a cut, or what a change of the input reaches.
    """

    forward: int = 0
    backward: int = 0
    suffix: int = 0
