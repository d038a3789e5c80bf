"""The result of looking along a column, and how a column is found."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import CapabilityError, InputError, quote_nearest
from pellucid.task import Task
from pellucid.types import Evaluations


@dataclass(frozen=True, eq=False)
class Effect:
    """A curve (or surface) of the explained score along one column (or two).

    `grid` holds the values looked at, `(g,)` for each column, and `values (g,)` or `(g, h)` the
    effect there with its standard error over the rows, `stderr`. `categories` are the words of a
    grid of categories. An "ale" of two columns is what they do beyond what either does alone.
    `individual (n, g)` has one curve a row, for ICE. `data` are the column's
    own values in the table, to show where the curve rests on many.
    """

    kind: str
    """"partial_dependence" or "ale"."""
    features: tuple[str, ...]
    grid: tuple[np.ndarray, ...]
    values: np.ndarray
    stderr: np.ndarray
    categories: tuple[tuple[str, ...] | None, ...]
    data: tuple[np.ndarray, ...]
    target_name: str
    explained: str
    evaluations: Evaluations
    individual: np.ndarray | None = None

    def plot(self, **options: Any) -> Any:
        """Draw the curve with its 95 % band, or the surface; Axes, never shown.

        See `pellucid.plots.effect`.
        """
        from pellucid.plots.effects import effect

        return effect(self, **options)

    def __str__(self) -> str:
        """What was looked at, over what, at what cost."""
        words = " and ".join(self.features)
        return (
            f"{self.kind} of {words} on the {self.explained} of {self.target_name}:"
            f" {self.values.size} points over {len(self.data[0])} rows,"
            f" {self.evaluations.forward} evaluations"
        )


def the_table(task: Task) -> np.ndarray:
    """The only input, which is a table. Raises `CapabilityError` otherwise."""
    if len(task.batch.arrays) != 1 or task.batch.dims[0] != ("sample", "feature"):
        shapes = ", ".join(str(a.shape) for a in task.batch.arrays)
        raise CapabilityError(f"Effects are of the columns of one table; got inputs {shapes}.")
    return task.batch.arrays[0]


def column_of(task: Task, feature: Any) -> tuple[int, str]:
    """Number and name of a column given by either. Raises `InputError` for another."""
    count = the_table(task).shape[1]
    names = task.wrapped.feature_names or task.batch.columns
    if isinstance(feature, str) and names is not None and feature in names:
        return names.index(feature), feature
    if isinstance(feature, int | np.integer) and not isinstance(feature, bool):
        number = int(feature)
        if 0 <= number < count:
            return number, names[number] if names else f"feature {number}"
    known = f"; {quote_nearest(str(feature), names)}" if names else "; the columns have no names"
    raise InputError(
        f"No column {feature!r}: expected a number from 0 to {count - 1}, or a name{known}"
    )


def words_of(task: Task, column: int) -> tuple[str, ...] | None:
    """The categories of a column; None for one of numbers."""
    known = task.model.adapter.categories
    return None if known is None else known[column]
