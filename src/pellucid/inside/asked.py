"""What a surrogate tree may ask about: the columns of a table, in the user's own units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_close
from pellucid.inputs.frames import Frame, is_frame, is_frame_row
from pellucid.task import Task


@dataclass(frozen=True)
class Asked:
    """Columns a tree may ask about: their values for the rows, their names and categories.

    `read` turns other rows, as a user passes them, into such a table; `presence` says that they
    hold 1 for what is there and 0 for what is hidden, and `picture` shows where a column looks.
    """

    table: np.ndarray
    names: tuple[str, ...]
    words: tuple[tuple[str, ...] | None, ...]
    read: Callable[[Any], np.ndarray]
    presence: bool = False
    picture: Callable[[int], np.ndarray] | None = None

    def only(self, columns: Sequence[int]) -> "Asked":
        """Some of the columns."""
        chosen = list(columns)
        return Asked(
            self.table[:, chosen],
            tuple(self.names[c] for c in chosen),
            tuple(self.words[c] for c in chosen),
            lambda x: self.read(x)[:, chosen],
            self.presence,
            None if self.picture is None else lambda column: _picture(self, chosen[column]),
        )


def _picture(asked: Asked, column: int) -> np.ndarray:
    assert asked.picture is not None
    return asked.picture(column)


def asked_of_table(task: Task, x: Any, places: np.ndarray) -> Asked:
    """The columns of the model's only table, as the user gave it and before any preprocessing."""
    known = task.wrapped.feature_names
    if is_frame(x):
        return of_frame(x, places, task.batch.columns)
    if len(task.batch.arrays) != 1:
        raise InputError(
            f"A tree asks about one table; this model has {len(task.batch.arrays)} inputs.\n"
            "  features= takes a table of your own with a row for each sample."
        )
    raw = task.batch.arrays[0] if task.wrapped.preprocess is None else np.asarray(x)[places]
    return of_array(raw, known, "feature")


def of_frame(x: Any, places: np.ndarray, columns: Sequence[str] | None = None) -> Asked:
    """The columns of a data frame; words are categories."""
    frame = Frame(x, columns)
    table = frame.encode(x)[places]

    def read(rows: Any) -> np.ndarray:
        if is_frame(rows):
            return frame.encode(rows)
        if is_frame_row(rows) or isinstance(rows, dict):
            return frame.encode_row(rows)[None]
        return frame.encode(frame.named(rows))

    return Asked(table, tuple(map(str, frame.names)), frame.categories, read)


def of_array(array: np.ndarray, names: Sequence[str] | None, kind: str) -> Asked:
    """The columns of an array of numbers `(n, columns)`."""
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise InputError(
            "A tree asks about the columns of a table (n, columns) of numbers, got"
            f" {array.dtype} of shape {array.shape}.\n"
            "  For other inputs features= says what to ask about."
        )
    width = array.shape[1]
    labels = tuple(names) if names else tuple(f"{kind} {i}" for i in range(width))

    def read(rows: Any) -> np.ndarray:
        found = np.asarray(rows, dtype=np.float64)
        found = found[None] if found.ndim == 1 else found
        if found.ndim != 2 or found.shape[1] != width:
            raise InputError(f"Expected rows of {width} columns, got shape {found.shape}.")
        return found

    return Asked(array.astype(np.float64), labels, (None,) * width, read)


def columns_named(asked: Asked, wanted: Any) -> list[int]:
    """The numbers of the columns given by name or number. Raises `InputError` for another."""
    listed = [wanted] if isinstance(wanted, str | int | np.integer) else list(wanted)
    if not listed:
        raise InputError("features=[] leaves nothing to ask about.")
    return [_number(asked.names, column) for column in dict.fromkeys(listed)]


def _number(names: Sequence[str], column: Any) -> int:
    if isinstance(column, str) and column in names:
        return list(names).index(column)
    whole = isinstance(column, int | np.integer) and not isinstance(column, bool)
    number = int(column) if whole else -1
    if 0 <= number < len(names):
        return number
    near = quote_close(column, names) if isinstance(column, str) else ""
    raise InputError(
        f"No column {column!r}: expected a name or a number from 0 to {len(names) - 1}.\n  {near}"
        .rstrip()
    )  # fmt: skip
