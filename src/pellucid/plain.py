"""Values as JSON can hold them, and as people read them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.types import is_array


def plain(value: Any) -> Any:
    """`value` as JSON can hold it; arrays beyond 16 numbers as a short description."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        if value.size <= 16:
            return value.tolist()
        return f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if is_array(value):
        return f"array of shape {tuple(value.shape)}"
    return (
        getattr(value, "__name__", None) or f"{type(value).__module__}.{type(value).__qualname__}"
    )


def structure_out(structure: Any) -> Any:
    """How inputs were nested, for `structure_in` to read."""
    if isinstance(structure, dict):
        return {"dict": [[str(k), structure_out(v)] for k, v in structure.items()]}
    if isinstance(structure, tuple | list):
        kind = "tuple" if isinstance(structure, tuple) else "list"
        return {kind: [structure_out(v) for v in structure]}
    return structure


def structure_in(structure: Any) -> Any:
    """What `structure_out` wrote."""
    if isinstance(structure, dict) and "dict" in structure:
        return {k: structure_in(v) for k, v in structure["dict"]}
    if isinstance(structure, dict) and "tuple" in structure:
        return tuple(structure_in(v) for v in structure["tuple"])
    if isinstance(structure, dict) and "list" in structure:
        return [structure_in(v) for v in structure["list"]]
    return structure


def readable(value: Any) -> str:
    """A value of an input: words as they are, a number with four figures, whole ones whole."""
    if value is None or isinstance(value, str):
        return value or ""
    whole = abs(value) < 1e15 and value == round(value)
    return f"{value:.0f}" if whole or 9999.5 <= abs(value) < 1e7 else f"{value:.4g}"
