"""The plain values that Keras layers compute with besides their weights.

Numbers, strings and arrays held by a layer decide what it computes, as its weights do. A changed
one is seen by what stands for it here.
"""

import functools
import operator
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

State = dict[str, Any]
"""Where a value is held -> what stands for it; equal for equal values."""

_WHOLE = 16 * 1024**2
"""Bytes up to which an array is compared whole; of a larger one 65,536 of its numbers."""

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None)})
SKIP = object()
"""Stands for what is no plain value."""

_NO_TENSORS: set[type] = set()
"""Classes whose objects are no tensors: to ask Keras takes 20 µs, and looks ask thousands."""

ITEMS = 256
"""Containers longer than this are not looked into."""

_PARTS = frozenset(
    "tensorflow.Module tensorflow.Variable torch.Module torch.Parameter flax.Object".split()
)
"""Classes whose objects are looked into where they are used, by the root of their module."""


class LayerLooks:
    """Looks at the plain attributes of layers, each going on from the one before.

    What an immutable value stands for is worked out once for as long as the layer holds that very
    object: the 157 layers of a MobileNetV2 take 1 ms instead of 7.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Look] = {}

    def state(self, roots: Iterable[keras.layers.Layer]) -> State:
        """The plain attributes of every layer in and below `roots`, without Keras's bookkeeping."""
        state: State = {}
        layers = (layer for root in roots for layer in root._flatten_layers())
        for number, layer in enumerate(layers):
            held, known = layer.__dict__, self._known.get(number)
            if known is None or not known.is_of(held):
                known = self._known[number] = _Look(held, f"layer {number}")
            state.update(known.settled)
            state.update(plain_attributes({k: held[k] for k in known.open}, f"layer {number}"))
        return state


class _Look:
    """One layer's attributes: what the settled ones stand for, and the names of the others."""

    def __init__(self, held: Mapping[str, Any], place: str) -> None:
        self._names, self._values = tuple(held), tuple(held.values())
        named = list(zip(self._names, self._values, strict=True))
        mine = [(name, value) for name, value in named if name not in keras_own()]
        self.open = [name for name, value in mine if not _is_settled(value)]
        still = {name: value for name, value in mine if name not in self.open}
        self.settled = plain_attributes(still, place)

    def is_of(self, held: Mapping[str, Any]) -> bool:
        """Whether a layer holds the same objects under the same names."""
        values = tuple(held.values())
        return (
            len(values) == len(self._values)
            and all(map(operator.is_, values, self._values))
            and tuple(held) == self._names
        )


def _is_settled(value: Any) -> bool:
    """Whether an object stands for the same as long as it is the same object."""
    if type(value) is tuple:
        return all(map(_is_settled, value))
    if isinstance(value, list | tuple | dict | np.ndarray):
        return False
    found = represented(value)  # of what is left, only a tensor has content that may change
    return type(value) in _PLAIN or found is SKIP or isinstance(found, Function)


def layer_state(roots: Iterable[keras.layers.Layer]) -> State:
    """As one look of `LayerLooks`."""
    return LayerLooks().state(roots)


def plain_attributes(held: Mapping[str, Any], place: str) -> State:
    """What stands for the plain values among the attributes of one object."""
    stands = ((f"{place}.{name}", represented(value)) for name, value in held.items())
    return {name: value for name, value in stands if value is not SKIP}


def worded(value: Any) -> Any:
    """A stand-in without the numbers that differ from process to process."""
    if isinstance(value, Function):
        return value.name
    return tuple(map(worded, value)) if isinstance(value, tuple) else value


def stand_in(value: Any) -> Any | None:
    """What stands for a value in a description; None where it is no plain value."""
    found = represented(value)
    return None if found is SKIP else str(worded(found))


class Function:
    """A function is the same while it is the same object."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.name = str(getattr(function, "__qualname__", type(function).__qualname__))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


@functools.cache
def keras_own() -> frozenset[str]:
    """Attributes of Keras's own bookkeeping, which change with use and not what is computed."""
    model = keras.Sequential()
    model.compile("sgd", "mse")
    names = {*vars(keras.layers.Layer()), *vars(keras.Model()), *vars(model)}
    changed = {"call", "quantized_call", "history", "stop_training", "_build_shapes_dict"}
    return frozenset((names | changed) - {"activation"})


def represented(value: Any, depth: int = 0) -> Any:
    """What stands for a value: equal for equal ones; `SKIP` where it is no plain value."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, np.ndarray | np.generic):
        return _content(np.asarray(value))
    if isinstance(value, list | tuple | dict):
        if depth > 2 or len(value) > ITEMS:
            return SKIP
        parts = value.items() if isinstance(value, dict) else value
        found = [represented(part, depth + 1) for part in list(parts)]
        return (len(found), *(part for part in found if part is not SKIP))
    if isinstance(value, keras.Variable) or _is_part(kind):
        return SKIP
    if kind not in _NO_TENSORS:
        if keras.ops.is_tensor(value):
            known = not _is_symbolic(value)
            return _content(np.asarray(keras.ops.convert_to_numpy(value))) if known else SKIP
        _NO_TENSORS.add(kind)
    return Function(value) if callable(value) else SKIP


@functools.cache
def _is_part(kind: type) -> bool:
    """Whether objects of a class are layers, modules or variables of some framework."""
    if issubclass(kind, keras.layers.Layer):
        return True
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind.__mro__}
    return not bases.isdisjoint(_PARTS)


def _is_symbolic(tensor: Any) -> bool:
    """Whether a tensor of the backend stands for a number that no one knows yet."""
    if keras.config.backend() == "tensorflow":
        return not hasattr(tensor, "numpy")
    return "Tracer" in type(tensor).__name__ or str(getattr(tensor, "device", "")) == "meta"


def _content(array: np.ndarray) -> Any:
    if array.dtype.hasobject:
        return SKIP
    if array.nbytes > _WHOLE:
        array = array.reshape(-1)[:: array.size // 65536] if array.flags.c_contiguous else array
    content = np.ascontiguousarray(array).tobytes()
    return "array", array.shape, array.dtype.str, zlib.crc32(content)
