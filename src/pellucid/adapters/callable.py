"""Any function from NumPy arrays to NumPy arrays."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from pellucid.adapters.forward_only import ForwardOnlyAdapter
from pellucid.adapters.functions import function_fingerprint
from pellucid.adapters.structure import unflatten
from pellucid.errors import InputError
from pellucid.inputs.frames import Frame, is_frame, is_frame_row
from pellucid.types import Leaves, Outputs


class CallableAdapter(ForwardOnlyAdapter):
    """A function that can only be run. Methods that need no gradient work on it."""

    framework = "callable"
    refusal = (
        "A plain function cannot {what}: it can only be run.\n"
        "  occlusion works on it; or wrap(function, framework='torch') if it is made of"
        " differentiable tensor operations."
    )

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._structure: Any = None

    @property
    def takes_missing(self) -> bool:
        return self._frame is not None

    def accept(self, x: Any) -> Leaves:
        self._frame = Frame(x) if is_frame(x) else None
        if self._frame is not None:
            self._structure = None
            return (self._frame.encode(x),)
        if isinstance(x, Mapping):
            self._structure, leaves = tuple(x), tuple(x.values())
        elif isinstance(x, tuple):
            self._structure, leaves = len(x), x
        else:
            self._structure, leaves = None, (x,)
        return tuple(map(_as_numbers, leaves))

    def accept_more(self, x: Any) -> Leaves:
        if self._frame is None:
            other = copy(self)
            leaves = other.accept(x)
            if any(other.categories or ()):
                raise InputError(
                    "Further rows came as a data frame with words, but x as an array of numbers.\n"
                    "  Pass x as a data frame of the same columns."
                )
            return leaves
        return (self._frame.encode(x if is_frame(x) else self._frame.named(x)),)

    def accept_row(self, row: Mapping[str, Any]) -> np.ndarray:
        return super().accept_row(row) if self._frame is None else self._frame.encode_row(row)

    def restore(self, leaves: Sequence[Any]) -> Any:
        return unflatten(leaves, self._structure)

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        return (None,)

    def forward(self, x: Leaves, *, peel: bool) -> Outputs:
        # Copies: a function that works in place would change the caller's arrays.
        copies = [a.copy() for a in x]
        given = self.restore(copies) if self._frame is None else self._frame.decode(copies[0])
        out = self._function(*given) if isinstance(given, tuple) else self._function(given)
        return _map(out, np.asarray)

    def fingerprint(self) -> str:
        return function_fingerprint(self._function)


def _as_numbers(a: Any) -> np.ndarray:
    array = np.asarray(a)
    if array.dtype.kind not in "fiub":
        hint = "\n  Keep its columns' types: frame.iloc[[0]], or frame[:1]." * is_frame_row(a)
        raise InputError(
            f"Expected arrays of numbers, or a data frame, got {type(a).__name__} of"
            f" {array.dtype}.{hint}"
        )
    return array


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(item, change) for item in value)
    return change(value)
