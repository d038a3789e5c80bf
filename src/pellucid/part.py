"""One of a model's inputs in a result: what was attributed to it, and what it was."""

from dataclasses import dataclass, replace

import numpy as np

from pellucid.inputs.features import Features
from pellucid.inputs.frames import MISSING


@dataclass(frozen=True)
class Part:
    """The attribution of one of the model's inputs, and that input.

    `dims` names the axes of `values`, the sample axis first; `input_dims` those of `inputs`.
    They differ where a method returns one map for all channels.
    """

    name: str
    values: np.ndarray
    inputs: np.ndarray
    dims: tuple[str, ...]
    input_dims: tuple[str, ...]
    baseline: np.ndarray | None = None
    stderr: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    categories: tuple[tuple[str, ...] | None, ...] | None = None
    """For each column of a table the words of its categories, whose numbers `inputs` holds."""
    display: np.ndarray | None = None
    """What a person sees of the input (uint8 picture), where the model says how to make it."""
    units: Features | None = None
    """What was counted as one: groups of columns, cells, superpixels; None where each position
    was."""
    in_equal_parts: bool = False
    """Whether positions share their unit's value, so that values add up; else each has all."""

    def __repr__(self) -> str:
        """Name and shapes, not the numbers."""
        axes = ", ".join(self.dims)
        return f"<Part {self.name!r}: values {self.values.shape} ({axes}), of {self.inputs.shape}>"

    def value_at(self, sample: int, position: int) -> float | str | None:
        """What the input holds where the value numbered `position` of a sample stands.

        A category, and what is missing, in words; None where the map is not of the input's shape.
        """
        if self.inputs.shape != self.values.shape:
            return None
        value = float(self.inputs[sample].ravel()[position])
        if np.isnan(value):
            return MISSING
        words = None if self.categories is None else self.categories[position]
        return value if words is None else words[int(value)]


def units_of(units: Features | None, index: np.ndarray) -> Features | None:
    """The units of some samples only."""
    if units is None or len(units.units) == 1:
        return units
    return replace(units, units=units.units[index])
