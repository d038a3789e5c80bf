"""A part of an explanation by what was counted as one: groups of columns, cells, superpixels."""

from dataclasses import replace

import numpy as np

from pellucid.explanation import Part
from pellucid.plain import readable


def values_by_unit(part: Part, sample: int, array: np.ndarray) -> np.ndarray:
    """What one sample of `array`, the part's values or errors, holds for each unit, `(units,)`."""
    assert part.units is not None
    units = part.units.of(sample).ravel()
    held = units >= 0
    flat = np.asarray(array[sample], np.float64).ravel()[held]
    count = int(part.units.counts.max())
    sums = np.bincount(units[held], weights=flat, minlength=count)
    if part.in_equal_parts:
        return sums
    return sums / np.maximum(np.bincount(units[held], minlength=count), 1)


def painted(part: Part, sample: int, array: np.ndarray) -> np.ndarray:
    """One sample of `array` with the whole value of its unit on every position."""
    if part.units is None:
        return array[sample]
    values = np.append(values_by_unit(part, sample, array), 0.0)
    return values[part.units.of(sample)].reshape(array[sample].shape)


def by_unit(part: Part) -> Part:
    """The part with one value a unit in place of one a position; itself where it has no units.

    A group of columns is one column, whose value is the values of its columns in words.
    """
    if part.units is None:
        return part
    rows = range(len(part.values))
    table = part.dims == ("sample", "feature")
    values = np.stack([values_by_unit(part, i, part.values) for i in rows])
    errors = part.stderr
    if errors is not None:
        errors = np.stack([values_by_unit(part, i, errors) for i in rows]).astype(np.float32)
    inputs, categories = _grouped(part) if table else (part.inputs, None)
    return replace(
        part,
        values=values.astype(np.float32),
        stderr=errors,
        inputs=inputs,
        categories=categories,
        dims=("sample", "feature") if table else ("sample", "unit"),
        input_dims=("sample", "feature") if table else part.input_dims,
        feature_names=tuple(unit_name(part, u) for u in range(values.shape[1])),
        units=None,
        baseline=None,
    )


def unit_name(part: Part, unit: int) -> str:
    """What people call a unit: its group's name, else those of its columns."""
    units = part.units
    assert units is not None
    if units.names is None and part.dims == ("sample", "feature"):
        held = np.flatnonzero(units.of(0) == unit)
        names = part.feature_names
        return "+".join(names[i] if names else f"feature {i}" for i in held)
    return units.names[unit] if units.names else f"segment {unit}"


def _grouped(part: Part) -> tuple[np.ndarray, tuple[tuple[str, ...] | None, ...]]:
    """The inputs of groups of columns: one column as it is, several in words."""
    assert part.units is not None
    units, count = part.units.of(0), int(part.units.counts.max())
    inputs = np.empty((len(part.inputs), count))
    categories: list[tuple[str, ...] | None] = []
    for unit in range(count):
        held = np.flatnonzero(units == unit)
        if len(held) == 1:
            inputs[:, unit] = part.inputs[:, held[0]]
            categories.append(None if part.categories is None else part.categories[held[0]])
            continue
        words = [
            ", ".join(readable(part.value_at(row, int(column))) for column in held)
            for row in range(len(inputs))
        ]
        known = tuple(dict.fromkeys(words))
        inputs[:, unit] = [known.index(word) for word in words]
        categories.append(known)
    return inputs, tuple(categories)
