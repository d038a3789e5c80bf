"""What tells one function from another: its name, its code and the constants in it."""

import hashlib
from typing import Any


def code_text(function: Any) -> str:
    """The same for equal functions in every process; of a callable object, its class."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    # Inner functions are printed with an address, which says nothing of them.
    constants = code and [c for c in code.co_consts if not hasattr(c, "co_code")]
    return repr((name, code and code.co_code, constants))


def function_fingerprint(function: Any) -> str:
    """A short hash of `code_text`."""
    return hashlib.blake2b(code_text(function).encode(), digest_size=8).hexdigest()
