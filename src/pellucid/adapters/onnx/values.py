"""Between a user's arrays and the types an ONNX graph declares."""

import re
from typing import Any

import numpy as np

from pellucid.adapters.protocol import InputSpec
from pellucid.errors import CapabilityError, InputError

_TYPES = {"float": "float32", "double": "float64"}


def input_spec(value: Any) -> InputSpec:
    """What the graph says of an input. Raises `CapabilityError` for one that is no tensor."""
    found = re.fullmatch(r"tensor\((\w+)\)", value.type)
    if found is None or found[1] in {"string", "bfloat16"}:
        raise CapabilityError(
            f"The input {value.name!r} of this ONNX model is {value.type}; pellucid explains inputs"
            " that are tensors of numbers.\n  Wrap a function that prepares it from numbers."
        )
    kind = found[1]
    sizes = [size if isinstance(size, int) else None for size in value.shape[1:]]
    return InputSpec(value.name, tuple(sizes), _TYPES.get(kind, kind))


def float_output(value: Any) -> bool:
    """Whether an output holds scores: floats, or a probability for each class by name."""
    return "float" in value.type or "double" in value.type


def as_leaf(value: Any, spec: InputSpec) -> np.ndarray:
    """An array in the type the graph declares; `InputError` where numbers would change."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"Expected numbers for {spec.name}, got {array.dtype}.")
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    changed = array.astype(wanted)
    if wanted.kind in "iub" and array.dtype.kind == "f" and not np.array_equal(changed, array):
        raise InputError(f"The input {spec.name!r} is of type {wanted}; other numbers came.")
    return changed


def as_output(value: Any) -> np.ndarray:
    """An output as an array; a list of dictionaries by class (ZipMap) becomes a table."""
    if isinstance(value, list):
        return np.array([[row[key] for key in sorted(row)] for row in value], np.float32)
    return np.asarray(value)
