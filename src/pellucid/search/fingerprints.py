"""By what a search's file knows functions and arrays again."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from pellucid.types import is_array


class UnknownFunctionError(Exception):
    """What a function is made of cannot be told from something else of the same kind."""


def fingerprint(*given: Any) -> str:
    """A hash of values and arrays, whatever they are nested in, and of functions.

    Of a function: its name, its instructions, and the values of everything that they read. Raises
    `UnknownFunctionError` for a callable that cannot be told so.
    """
    digest = hashlib.sha256()
    for piece in _pieces(given, ()):
        digest.update(piece)
        digest.update(b"|")
    return digest.hexdigest()


def told(function: Any) -> str:
    """A function by name and fingerprint; that it cannot be told apart, where that is so."""
    name = (function if isinstance(function, FunctionType | type) else type(function)).__qualname__
    try:
        return f"function {name} {fingerprint(function)[:16]}"
    except UnknownFunctionError as error:
        return f"{UNKNOWN} {name}: {error}"


UNKNOWN = "a function that cannot be told from others,"
"""How `told` begins where a search cannot be gone on with."""


def _pieces(value: Any, within: tuple[int, ...]) -> Iterator[bytes]:
    if id(value) in within:  # a function that calls itself
        yield b"itself"
        return
    inside = (*within, id(value))
    if isinstance(value, Mapping):
        for key, own in value.items():
            yield str(key).encode()
            yield from _pieces(own, inside)
    elif isinstance(value, list | tuple | set | frozenset):
        yield str(len(value)).encode()
        for own in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            yield from _pieces(own, inside)
    elif is_array(value) and not isinstance(value, np.generic):
        array = np.asarray(value)
        array = array.astype(str) if array.dtype.hasobject else array
        yield f"{array.shape}{array.dtype}".encode()
        yield np.ascontiguousarray(array).tobytes()
    elif callable(value):
        yield from _of_callable(value, inside)
    else:
        yield repr(value).encode()


def _of_callable(function: Any, within: tuple[int, ...]) -> Iterator[bytes]:
    if isinstance(function, partial):
        yield from _pieces((function.func, function.args, function.keywords), within)
    elif isinstance(function, FunctionType):
        yield function.__qualname__.encode()
        yield from _of_code(function.__code__)
        read = [cell.cell_contents for cell in function.__closure__ or ()]
        names = [n for n in _names(function.__code__) if n in function.__globals__]
        read += [function.__globals__[n] for n in sorted(names)]
        for own in (*read, function.__defaults__, function.__kwdefaults__):
            yield from _read(own, within)
    elif isinstance(function, type):
        yield f"{function.__module__}.{function.__qualname__}".encode()
    else:
        # What a library compiled is found again by its name; anything else holds a state.
        kind = type(function).__qualname__
        try:
            reduced = function.__reduce_ex__(4)
        except TypeError as error:
            raise UnknownFunctionError(f"it is an object of the class {kind}") from error
        if not isinstance(reduced, str):
            raise UnknownFunctionError(f"it is an object of the class {kind}")
        yield f"{kind} {reduced}".encode()


def _read(value: Any, within: tuple[int, ...]) -> Iterator[bytes]:
    """What a function reads, where a hash can hold it."""
    if isinstance(value, ModuleType):
        yield value.__name__.encode()
        return
    plain = isinstance(value, str | bytes | int | float | complex | np.generic | type(None))
    nested = isinstance(value, Mapping | list | tuple | set | frozenset)
    if not (plain or nested or is_array(value) or callable(value)):
        raise UnknownFunctionError(f"it reads an object of the class {type(value).__qualname__}")
    yield from _pieces(value, within)


def _of_code(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant)
        else:
            yield repr(constant).encode()


def _names(code: CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*(_names(c) for c in inner))
