"""What a metric is given: one explanation, the model it is of, and ways to ask again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.standard.asking import Asker
from pellucid.standard.blanks import not_finite
from pellucid.standard.maps import positions_of
from pellucid.standard.subject import Subject


@dataclass(frozen=True, eq=False)
class Case:
    """One explanation before the standard.

    `positions (n, p)` are its signed values, one a pixel, step or column; `subject` runs the model
    on changed copies; `asker` makes the explanation anew for other inputs, targets and seeds (None
    for maps whose method is not known); `masks (n, p)` say where the objects are, where given.
    """

    subject: Subject
    explanation: Explanation
    asker: Asker | None = None
    masks: np.ndarray | None = None
    replaced: np.ndarray | None = None
    """Positions in place of the explanation's own, for controls that are made of them."""
    curves: dict[Any, np.ndarray] = field(default_factory=dict)
    """Curves of removal that were asked for; its controls share them, as an inverted map's are
    its own the other way round."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Why a way of the metric that is asked has no number, for the metric to say."""

    @property
    def count(self) -> int:
        """The number of samples."""
        return self.subject.count

    @cached_property
    def positions(self) -> np.ndarray:
        """Its values, `(n, p)`; 0 for a sample whose map is not finite, which gets no score."""
        return np.where(self.without_numbers[:, None], 0.0, self.as_given)

    @cached_property
    def without_numbers(self) -> np.ndarray:
        """The samples whose maps hold NaN or infinity, `(n,)`."""
        return not_finite(self.as_given)

    @cached_property
    def as_given(self) -> np.ndarray:
        """Its values, `(n, p)`, whatever they are."""
        found = positions_of(self.explanation) if self.replaced is None else self.replaced
        wanted = (self.subject.count, self.subject.positions)
        if found.shape != wanted:
            raise InputError(
                f"{self.explanation.method} gives {found.shape[1]} values a sample for inputs of"
                f" {wanted[1]} positions, and {len(found)} samples of {wanted[0]}: only maps over"
                " the inputs can be judged."
            )
        return found

    @cached_property
    def units(self) -> np.ndarray:
        """The sums of its values over what is removed as one, `(n, units)`."""
        unit_of = self.subject.unit_of
        if self.subject.units == len(unit_of):
            return self.positions
        count = self.subject.units
        return np.stack([np.bincount(unit_of, row, count) for row in self.positions])

    @cached_property
    def elements(self) -> tuple[np.ndarray, ...]:
        """Its values at each number of each input: those of a pixel are shared by its channels."""
        batch = self.subject.task.batch
        pieces = np.split(self.positions, self.subject.borders, axis=1)
        found = []
        for part, array, dims, piece, shape in zip(
            self.explanation.parts, batch.arrays, batch.dims, pieces, self.subject.shapes,
            strict=True,
        ):  # fmt: skip
            if self.replaced is None and part.values.shape == array.shape:
                own = part.values.astype(np.float64)
                own[self.without_numbers] = 0.0
                found.append(own)
                continue
            wide = piece.reshape(-1, *shape)
            if "channel" in dims:
                axis = dims.index("channel")
                wide = np.expand_dims(wide, axis) / array.shape[axis]
            found.append(np.broadcast_to(wide, array.shape))
        return tuple(found)

    def target_of(self, rows: np.ndarray | None = None) -> Any:
        """What is explained of these samples (None: all), as `explain` takes it."""
        return self.subject.target_of(np.arange(self.count) if rows is None else rows)

    def of_each_imputer(self, function: Any) -> Mapping[str, np.ndarray]:
        """`function(imputer name)` for each way of removing features."""
        return {name: function(name) for name in self.subject.imputers}
