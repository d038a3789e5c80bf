"""How a model that says nothing of its inputs takes them: by position, by name, or as a dict."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.errors import InputError, quote_nearest

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
    """Positional and named arguments for a function whose signature can be read.

    Raises `InputError` for a dict with a key that the function has no argument for, or without
    one that it needs; a function of one argument is given the dict itself.
    """
    if not isinstance(structure, tuple):
        return tuple(leaves), {}
    named = dict(zip(structure, leaves, strict=True))
    _refuse_wrong_keys(function, structure)
    return ((), named) if takes_names(function, structure) else ((named,), {})


def _refuse_wrong_keys(function: Any, keys: tuple[str, ...]) -> None:
    parameters = _parameters(function)
    if any(p.kind in {p.VAR_KEYWORD, p.VAR_POSITIONAL} for p in parameters.values()):
        return
    needed = [n for n, p in parameters.items() if p.default is p.empty]
    strange = [key for key in keys if key not in parameters]
    absent = [n for n in needed if n not in keys]
    if len(strange) == len(keys) and len(needed) <= 1:
        return
    has = f"The model has the inputs {', '.join(map(repr, parameters))}"
    if strange:
        near = quote_nearest(strange[0], list(parameters))
        raise InputError(f"{has}; there is none called {strange[0]!r}.\n  {near}".rstrip())
    if absent:
        raise InputError(
            f"{has}; {absent[0]!r} is missing, the input has {', '.join(map(repr, keys))}."
        )


def takes_names(function: Any, names: tuple[str, ...]) -> bool:
    """Whether a dict of inputs is spread over keyword arguments, as most functions want."""
    parameters = _parameters(function)
    if not parameters:
        return False
    spread = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return spread or all(n in parameters for n in names)


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """The arguments of a function; nothing where it does not show them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
