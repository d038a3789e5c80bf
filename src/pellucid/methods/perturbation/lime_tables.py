"""Where LIME looks for neighbours of a row of a table: around the data it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.inputs.features import Features
from pellucid.number_types import in_type

_PARTS = {"quartile": 4, "decile": 10}
DISCRETIZERS = (*_PARTS, None)


@dataclass(frozen=True)
class Neighbourhood:
    """What a table's columns look like, and what counts as staying near a row.

    `rows (m, columns)` is the background; `edges` the upper borders of a column's bins but the
    last, None where the column is a category (each value its own bin) or is used as a number.
    """

    rows: np.ndarray
    units: np.ndarray
    """Which unit each column belongs to; −1 for none: it is always the sample's."""
    edges: tuple[np.ndarray | None, ...]
    numeric: np.ndarray
    """The columns that are used as numbers, not by their bins."""

    @property
    def count(self) -> int:
        return int(self.units.max()) + 1

    @cached_property
    def held(self) -> np.ndarray:
        """The columns of no unit, which are never drawn."""
        return np.flatnonzero(self.units < 0)

    @cached_property
    def _codes_of_rows(self) -> np.ndarray:
        return self.codes(self.rows)

    def draw(self, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`count` rows whose units are independent, each as in the background, and their bins.

        A unit's columns come from one row of the background together, every row as often as any
        other; a column used as a number is normal with the background's mean and deviation. Those
        of no unit are 0, for the sample's own values to be put there.
        """
        drawn = np.zeros((count, len(self.units)), dtype=self.rows.dtype)
        codes = np.zeros(drawn.shape)
        whole, rest = divmod(count, len(self.rows))
        turns = np.tile(np.arange(len(self.rows)), whole)
        for unit in range(self.count):
            last = generator.permutation(len(self.rows))[:rest]
            source = generator.permutation(np.concatenate([turns, last]))
            for column in np.flatnonzero(self.units == unit):
                drawn[:, column] = self.rows[source, column]
                codes[:, column] = self._codes_of_rows[source, column]
        middle, spread = self.scale
        for column in np.flatnonzero(self.numeric):
            normal = middle[column] + spread[column] * generator.standard_normal(count)
            drawn[:, column] = in_type(normal, drawn.dtype, "neighbours drawn for discretizer=None")
        return drawn, codes

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each column, 1 where it does not vary."""
        numbers = self.rows.astype(np.float64)
        known = np.isfinite(numbers)
        held = np.where(known, numbers, 0.0)
        counts = np.maximum(known.sum(axis=0), 1)
        middle = held.sum(axis=0) / counts
        spread = np.sqrt(np.where(known, (numbers - middle) ** 2, 0.0).sum(axis=0) / counts)
        return middle, np.where(spread > 0, spread, 1.0)

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """The bin of each value of `rows (m, columns)`."""
        return np.stack([_codes(rows[:, c], e) for c, e in enumerate(self.edges)], axis=1)

    def seen_from(
        self, x: np.ndarray, own: np.ndarray, drawn: np.ndarray, codes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the surrogate sees of drawn rows `(m, units)`, and their squared distance to x.

        1 for a unit whose columns all lie in x's bins, 0 for another; standardised numbers.
        `own (columns,)` are the bins of x, `codes` those of the drawn rows.
        """
        same = codes == own
        if len(self.units) == self.count and not self.numeric.any():
            seen = same.astype(np.float64)
            if not np.array_equal(self.units, np.arange(self.count)):
                seen = seen[:, np.argsort(self.units)]
            return seen, self.count - seen @ np.ones(self.count)
        seen = np.empty((len(drawn), self.count))
        away = np.empty_like(seen)
        middle, spread = self.scale
        for unit in range(self.count):
            columns = np.flatnonzero(self.units == unit)
            if self.numeric[columns].all():
                column = columns[0]
                seen[:, unit] = (drawn[:, column] - middle[column]) / spread[column]
                here = middle[column] if np.isnan(x[column]) else x[column]
                away[:, unit] = ((drawn[:, column] - here) / spread[column]) ** 2
            else:
                seen[:, unit] = same[:, columns].all(axis=1)
                away[:, unit] = 1 - seen[:, unit]
        return seen, away.sum(axis=1)

    def conditions(
        self,
        x: np.ndarray,
        columns: Sequence[str] | None,
        categories: Sequence[Sequence[str] | None] | None = None,
    ) -> list[str]:
        """What holds of row x in each unit, in words: "2 < age <= 5", "job = nurse"."""
        words: list[list[str]] = [[] for _ in range(self.count)]
        for c, e in enumerate(self.edges):
            name = str(columns[c]) if columns is not None else f"feature {c}"
            known = categories[c] if categories is not None else None
            if known is not None:
                condition = f"{name} = {known[int(x[c])]}"
            else:
                condition = name if self.numeric[c] else _condition(name, x[c], e)
            if self.units[c] >= 0:
                words[self.units[c]].append(condition)
        return [" and ".join(own) for own in words]


def make_neighbourhood(
    background: np.ndarray,
    features: Features,
    *,
    discretizer: str | None,
    categorical: Sequence[int],
) -> Neighbourhood:
    """The neighbourhood in a background `(m, columns)`.

    Columns that are neither categories nor in a group of several are cut into bins of equally many
    rows ("quartile", "decile"), or used as numbers (None).

    Raises `InputError` for another discretizer or a background of fewer than 2 rows.
    """
    if discretizer not in DISCRETIZERS:
        raise InputError(f"Expected discretizer to be one of {DISCRETIZERS}, got {discretizer!r}.")
    if len(background) < 2:
        raise InputError("LIME of a table needs a background of 2 rows or more, got 1.")
    units = features.units[0]
    alone = (np.bincount(units[units >= 0])[units] == 1) & (units >= 0)
    numeric = np.array([discretizer is None and alone[c] and c not in categorical
                        for c in range(len(units))])  # fmt: skip
    parts = _PARTS.get(discretizer or "quartile", 4)
    edges = tuple(
        None if c in categorical else _edges(background[:, c], parts) for c in range(len(units))
    )
    return Neighbourhood(background, units, edges, numeric)


def _edges(column: np.ndarray, parts: int) -> np.ndarray:
    known = column[~np.isnan(column)] if column.dtype.kind == "f" else column
    if not known.size:
        return np.empty(0)
    return np.unique(np.quantile(known, np.arange(1, parts) / parts))


def _codes(values: np.ndarray, edges: np.ndarray | None) -> np.ndarray:
    """The bin of each value; what is missing is a bin of its own."""
    numbers = values.astype(np.float64)
    missing = np.isnan(numbers)
    found = numbers if edges is None else np.searchsorted(edges, numbers).astype(np.float64)
    return np.where(missing, -np.inf, found)


def _condition(name: str, value: Any, edges: np.ndarray | None) -> str:
    if np.isnan(value):
        return f"{name} is missing"
    if edges is None:
        return f"{name} = {value:g}"
    place = int(np.searchsorted(edges, value))
    low = f"{edges[place - 1]:.4g} < " if place > 0 else ""
    high = f" <= {edges[place]:.4g}" if place < len(edges) else ""
    return f"{low}{name}{high}" if high else f"{name} > {edges[place - 1]:.4g}" if low else name
