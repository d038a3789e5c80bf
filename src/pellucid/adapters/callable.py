"""Any function from NumPy arrays to NumPy arrays."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from pellucid.adapters.protocol import (
    Adapter,
    Cut,
    InputSpec,
    Intercept,
    LayerInfo,
    OperationInfo,
    Tier,
)
from pellucid.errors import CapabilityError, InputError
from pellucid.inputs.frames import Frame, is_frame, is_frame_row
from pellucid.types import Array, Leaves, Outputs


class CallableAdapter(Adapter):
    """A function that can only be run. Methods that need no gradient work on it."""

    framework = "callable"
    xp = np
    channel_axis = -1
    supports = Tier.CALLABLE

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._structure: Any = None
        self._frame: Frame | None = None

    @property
    def columns(self) -> tuple[str, ...] | None:
        return None if self._frame is None else tuple(map(str, self._frame.names))

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...] | None:
        return None if self._frame is None else self._frame.categories

    @property
    def takes_missing(self) -> bool:
        return self._frame is not None

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return None

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
        if self._structure is None:
            return leaves[0]
        if isinstance(self._structure, tuple):
            return dict(zip(self._structure, leaves, strict=True))
        return tuple(leaves)

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        return (None,)

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        return ()

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        raise self._cannot("list operations")

    def run(
        self,
        x: Leaves,
        *,
        peel: bool = True,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        if intercept is not None or weights:
            raise self._cannot("intercept operations")
        # Copies: a function that works in place would change the caller's arrays.
        copies = [a.copy() for a in x]
        given = self.restore(copies) if self._frame is None else self._frame.decode(copies[0])
        out = self._function(*given) if isinstance(given, tuple) else self._function(given)
        return _map(out, np.asarray)

    def vjp(self, fn: Any, x: Leaves) -> Any:
        raise self._cannot("give gradients")

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        raise self._cannot("be cut at a layer")

    def stop_gradient(self, a: Array) -> Array:
        return a

    def custom_vjp(self, fn: Any, backward: Any) -> Any:
        raise self._cannot("give gradients")

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        raise self._cannot("show its weights")

    def asarray(self, a: np.ndarray) -> Array:
        return a

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a)

    def fingerprint(self) -> str:
        code = getattr(self._function, "__code__", None)
        text = repr(
            (
                getattr(self._function, "__qualname__", type(self._function).__qualname__),
                code and code.co_code,
                code and [c for c in code.co_consts if not hasattr(c, "co_code")],
            )
        )
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    @staticmethod
    def _cannot(what: str) -> CapabilityError:
        return CapabilityError(
            f"A plain function cannot {what}: it can only be run.\n"
            "  occlusion works on it; or wrap(function, framework='torch') if it is made of"
            " differentiable tensor operations."
        )


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
