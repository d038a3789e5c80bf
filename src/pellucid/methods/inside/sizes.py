"""How large a tree that imitates a model may become, and what it is grown on and measured on."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError

FEWEST = 10
"""Rows to grow a tree on and to measure it on, together."""
_DEEPEST = 8


@dataclass(frozen=True)
class Size:
    """How large a tree may become."""

    depth: int
    leaves: int | None = None
    rows: int = 1
    """The fewest rows of a leaf."""


def checked_size(depth: Any, leaves: Any, rows: Any) -> Size:
    """The size; for a depth of "auto" the largest. Raises `InputError` for what is none."""
    if depth != "auto" and not whole(depth, 1):
        raise InputError(f"Expected max_depth to be 1 or more, or 'auto', got {depth!r}.")
    if leaves is not None and not whole(leaves, 2):
        raise InputError(f"Expected max_leaves to be 2 or more, got {leaves!r}.")
    if not whole(rows, 1):
        raise InputError(f"Expected min_rows to be 1 or more, got {rows!r}.")
    return Size(_DEEPEST if depth == "auto" else int(depth), leaves, int(rows))


def whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least that."""
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return number and bool(value >= least)


def check_share(held_out: Any) -> None:
    """Raises `InputError` for what is no share of rows to hold out."""
    number = isinstance(held_out, int | float | np.integer | np.floating)
    if not number or isinstance(held_out, bool) or not 0 < held_out < 1:
        raise InputError(
            f"Expected held_out to be a share between 0 and 1, or rows, got {held_out!r}.\n"
            "  Without rows it has not seen, nothing tells how far a tree can be believed."
        )
