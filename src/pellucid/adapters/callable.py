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
from pellucid.number_types import in_type, real_table
from pellucid.types import Leaves, Outputs


class CallableAdapter(ForwardOnlyAdapter):
    """A function that can only be run. Methods that need no gradient work on it.

    Tables of whole numbers are real numbers to it, as a mean or half of one may be asked about;
    where its first call refuses those (it looks rows up by number), it gets whole ones.
    """

    framework = "callable"
    refusal = (
        "A plain function cannot {what}: it can only be run.\n"
        "  occlusion works on it; or wrap(function, framework='torch') if it is made of"
        " differentiable tensor operations."
    )

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._structure: Any = None
        self._types: tuple[np.dtype, ...] = ()
        self._takes_real: bool | None = None
        self.layout_known = False

    @property
    def method_of(self) -> Any:
        held = getattr(self._function, "__self__", None)
        known = {"torch", "keras", "tensorflow", "sklearn", "xgboost", "lightgbm", "onnxruntime"}
        roots = {c.__module__.partition(".")[0] for c in type(held).__mro__}
        return None if known.isdisjoint(roots) else held

    def say_channels(self, axis: int) -> None:
        """Where the channels of pictures are, 1 or -1, as the user knows."""
        self.channel_axis, self.layout_known = axis, True

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
        arrays = tuple(map(_as_numbers, leaves))
        self._types = tuple(a.dtype for a in arrays)
        return tuple(map(real_table, arrays))

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

    def as_given(self, leaves: Sequence[Any]) -> Any:
        if self._frame is not None:
            return super().as_given(leaves)
        # Whole numbers that were made real ones are told as such only by their type.
        return self.restore([_whole_again(a, t) for a, t in zip(leaves, self._types, strict=True)])

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        return (None,)

    def forward(self, x: Leaves, *, peel: bool) -> Outputs:
        # Copies: a function that works in place would change the caller's arrays.
        copies = [a.copy() for a in x]
        if self._frame is not None:
            return self._called(self._frame.decode(copies[0]))
        as_given = all(a.dtype == t for a, t in zip(x, self._types, strict=False))
        if as_given or self._takes_real:
            return self._called(self.restore(copies))
        if self._takes_real is None:
            return self._first_called(x, copies)
        return self._called_with_whole(x)

    def _first_called(self, x: Leaves, copies: list[np.ndarray]) -> Outputs:
        """The outputs for whole numbers as real ones, or as they came if it refuses those."""
        try:
            found = self._called(self.restore(copies))
            self._takes_real = True
        except Exception as error:
            if self.is_out_of_memory(error):
                raise
            try:
                found = self._called_with_whole(x)
            except Exception:  # not for its type: what was said first holds
                raise error from None
            self._takes_real, self.takes_whole_only = False, True
        return found

    def _called_with_whole(self, x: Leaves) -> Outputs:
        what = "the rows this function is asked about, and it takes whole numbers only"
        whole = [in_type(a.copy(), t, what) for a, t in zip(x, self._types, strict=True)]
        return self._called(self.restore(whole))

    def _called(self, given: Any) -> Outputs:
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


def _whole_again(a: np.ndarray, kind: np.dtype) -> np.ndarray:
    """`a` in a type of whole numbers, where it holds nothing else."""
    if kind.kind == "f":
        return a
    with np.errstate(invalid="ignore"):
        own = a.astype(kind)
    return own if np.array_equal(own, a) else a


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(item, change) for item in value)
    return change(value)
