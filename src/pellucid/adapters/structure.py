"""How a model that says nothing of its inputs takes them: by position, by name, or as a dict."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

Structure = tuple[str, ...] | int | None
"""Names of a dict's entries, the number of several inputs, or None for one input."""


def flatten(x: Any) -> tuple[tuple[Any, ...], Structure]:
    """The inputs a user passed, one by one, and how they were held together."""
    if isinstance(x, Mapping):
        return tuple(x.values()), tuple(map(str, x))
    if isinstance(x, tuple):
        return x, len(x)
    if isinstance(x, list) and x and all(hasattr(a, "shape") and a.ndim > 0 for a in x):
        return tuple(x), len(x)
    return (x,), None


def unflatten(leaves: Sequence[Any], structure: Structure) -> Any:
    """The inverse of `flatten`."""
    if structure is None:
        return leaves[0]
    if isinstance(structure, tuple):
        return dict(zip(structure, leaves, strict=True))
    return tuple(leaves)


def arguments(
    function: Any, leaves: Sequence[Any], structure: Structure
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments for a function whose signature can be read."""
    if not isinstance(structure, tuple):
        return tuple(leaves), {}
    named = dict(zip(structure, leaves, strict=True))
    return ((), named) if takes_names(function, structure) else ((named,), {})


def takes_names(function: Any, names: tuple[str, ...]) -> bool:
    """Whether a dict of inputs is spread over keyword arguments, as most functions want."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    spread = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return spread or all(n in parameters for n in names)
