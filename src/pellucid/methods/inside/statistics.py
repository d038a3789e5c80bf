"""What the units of every layer do over a data set, in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation
from pellucid.methods.inside.moments import Moments, by_unit

BOUNDS: Mapping[str, tuple[float | None, float | None]] = {
    "sigmoid": (0.0, 1.0),
    "hard sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    # Its lower end is how a unit is off: one that is never on is dead, not saturated.
    "relu6": (None, 6.0),
}
"""What bounded operations saturate at, by form; the ends of a "clip" are seen in the data."""

FORMS: frozenset[str] = frozenset({*BOUNDS, "relu", "clip"})
"""The forms that are looked at: those with a bound, or that switch units off."""

ACTIVATIONS: frozenset[str] = frozenset({"activation"})


@dataclass(frozen=True)
class UnitCounts:
    """Of each unit of one layer: moments, zeros, extremes, and how often it is at a bound.

    `low` and `high` are the bounds; the counts are of values within `near` of the range from one.
    For a form without known bounds they are the extremes of the whole layer so far.
    """

    moments: Moments
    zeros: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    low: float | None
    high: float | None
    at_low: np.ndarray
    at_high: np.ndarray

    def with_more(self, other: "UnitCounts") -> "UnitCounts":
        """Of the values of both."""
        low, at_low = _at_bound(self.low, self.at_low, other.low, other.at_low, min)
        high, at_high = _at_bound(self.high, self.at_high, other.high, other.at_high, max)
        return UnitCounts(
            self.moments.with_more(other.moments),
            self.zeros + other.zeros,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
            low, high, at_low, at_high,
        )  # fmt: skip


def _at_bound(
    a: float | None, count_a: np.ndarray, b: float | None, count_b: np.ndarray, outer: Any
) -> tuple[float | None, np.ndarray]:
    """The outer of two bounds, and the counts there."""
    if a is None or b is None or a == b:
        return a, count_a + count_b
    return (a, count_a) if outer(a, b) == a else (b, count_b)


def counts_of(value: np.ndarray, axis: int, form: str, near: float) -> UnitCounts:
    """Of one micro-batch's values of a layer, `near` as a share of the range between bounds."""
    flat = by_unit(value, axis)
    if flat.dtype != np.float64:
        flat = flat.astype(np.float32, copy=False)
    low, high, within = bounds_of(flat, form, near)
    nothing = np.zeros(flat.shape[1], dtype=np.int64)
    return UnitCounts(
        Moments.of(flat),
        (flat == 0).sum(axis=0),
        flat.min(axis=0).astype(np.float64),
        flat.max(axis=0).astype(np.float64),
        low,
        high,
        nothing if low is None else (flat <= low + within).sum(axis=0),
        nothing if high is None else (flat >= high - within).sum(axis=0),
    )


def bounds_of(flat: np.ndarray, form: str, near: float) -> tuple[float | None, float | None, float]:
    """The bounds of a form, and how near to one counts."""
    if form == "clip":
        return float(flat.min()), float(flat.max()), 0.0
    low, high = BOUNDS.get(form, (None, None))
    size = (high or 0.0) - (low or 0.0)
    return low, high, near * size


class Forms:
    """Which bounded operation made what a layer returns: the last whose numbers are the same."""

    def __init__(self) -> None:
        self._last: list[tuple[int, str, np.ndarray]] = []
        self.of_layer: dict[str, str] = {}
        self.made: set[int] = set()
        """Operations, by index, whose result a layer returns: they need no line of their own."""

    def saw_operation(self, op: Operation, value: np.ndarray) -> None:
        """An operation that has run."""
        self._last = [*self._last[-3:], (op.index, op.form, value)]

    def saw_layer(self, name: str, value: np.ndarray) -> None:
        """A layer that has returned."""
        for index, form, made in reversed(self._last):
            if made.shape != value.shape:
                continue
            as_is = np.array_equal(made, value)
            if as_is or (form == "relu6" and np.allclose(made / 6, value, rtol=1e-5, atol=1e-6)):
                self.made.add(index)
                if form in FORMS:
                    self.of_layer[name] = form if as_is else "hard sigmoid"
                return
