"""Which part of an input a layer's units see, by where the gradients of a few of them are not 0."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, Operation
from pellucid.errors import LayerError
from pellucid.methods.inside.field_pattern import (
    NOTHING,
    Interval,
    Measured,
    filled,
    places_to_measure,
)
from pellucid.methods.inside.receptive import drawn_like, layer_output, rounding_of
from pellucid.running.outputs import model_errors
from pellucid.task import Task
from pellucid.types import Array, Leaves, shape_of

_PURPOSE = 73


@dataclass(frozen=True)
class Question:
    """What is asked: of a call of a layer that returns `shape`, along `axes` of an input.

    `kept` are, for each axis of the input, the axes of the output that tell places apart;
    `matching` where each has its own, so that one unit answers for all axes at once.
    """

    layer: str
    shape: tuple[int, ...]
    part: int
    axes: tuple[int, ...]
    kept: tuple[tuple[int, ...], ...]
    matching: bool
    draws: int

    @property
    def counts(self) -> tuple[int, ...]:
        """How many places the layer has along each axis of the input."""
        return tuple(int(np.prod([self.shape[p] for p in own], dtype=int)) for own in self.kept)


def intervals_by_gradients(task: Task, asked: Question) -> list[np.ndarray] | None:
    """For each axis `(places, 2)`: the first and last line of the input that each place sees.

    In each draw of `default_rng([seed, 73, draw])` the input is random in the range of the data,
    and the gradient of one unit's place, with random positive weights of its channels, is not 0
    where it sees something. Lines that hold nothing at all are not seen; where no line is empty,
    as below a sum over all positions, those within rounding of the largest are not. Few places are
    measured where they follow a pattern (`field_pattern`), and of three of them is checked that
    nothing else moves them.

    None where gradients do not tell: whole numbers, numbers that are not finite, a unit that moves
    with what it has no gradient for, or more places to measure than the input has lines.
    """
    own = task.batch.arrays[asked.part]
    if own.dtype.kind != "f":
        return None
    found = [_Along(own.shape[axis], count) for axis, count in zip(asked.axes, asked.counts,
                                                                    strict=True)]  # fmt: skip
    pulls: list[_Pull] = []
    lines = sum(own.shape[axis] for axis in asked.axes)
    while any(wanted := [along.wanted(asked.draws) for along in found]):
        if max(map(len, wanted)) > lines:
            return None
        pulls = pulls or [_Pull(task, asked, draw) for draw in range(asked.draws)]
        for units in _together(asked, wanted):
            if not _measure(found, pulls, units):
                return None
    if not _holds(task, asked, found):
        return None
    return [filled(a.known(), a.count) for a in found]


@dataclass
class _Along:
    """What is known of places along one axis of the input."""

    length: int
    count: int
    seen: dict[int, np.ndarray] = field(default_factory=dict)
    draws: dict[int, int] = field(default_factory=dict)

    def wanted(self, draws: int) -> list[int]:
        """The places to measure in one more draw."""
        return places_to_measure(self.known(), self.count, self.length, draws)

    def known(self) -> dict[int, Measured]:
        return {u: Measured(_ends(lines), self.draws[u]) for u, lines in self.seen.items()}

    def add(self, unit: int, lines: np.ndarray) -> None:
        """What a place saw in one more draw."""
        self.seen[unit] = self.seen.get(unit, np.zeros(self.length, bool)) | lines
        self.draws[unit] = self.draws.get(unit, 0) + 1


def _ends(lines: np.ndarray) -> Interval:
    where = np.flatnonzero(lines)
    return (int(where[0]), int(where[-1])) if len(where) else NOTHING


def _together(asked: Question, wanted: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Places to measure, one an axis: of a picture rows and columns with the same unit."""
    if not asked.matching:  # the same units for each axis of the input
        every = sorted(set().union(*wanted))
        return [(u,) * len(asked.axes) for u in every]
    middle = [count // 2 for count in asked.counts]
    return [
        tuple(m if u is None else u for m, u in zip(middle, units, strict=True))
        for units in zip_longest(*wanted)
    ]


def _measure(found: Sequence[_Along], pulls: Sequence["_Pull"], units: tuple[int, ...]) -> bool:
    """Add what these places see in one more draw; False where a gradient is not finite."""
    drawn = min(along.draws.get(unit, 0) for along, unit in zip(found, units, strict=True))
    lines = pulls[min(drawn, len(pulls) - 1)].lines(units)
    if lines is None:
        return False
    for along, unit, seen in zip(found, units, lines, strict=True):
        along.add(unit, seen)
    return True


class _Pull:
    """One draw: a forward pass, after which each unit's gradient is a backward pass."""

    def __init__(self, task: Task, asked: Question, draw: int) -> None:
        self.task, self.asked = task, asked
        rng = np.random.default_rng([task.seed, _PURPOSE, draw])
        own = task.batch.arrays[asked.part]
        base = drawn_like(rng, own, own.shape[1:], 1.0)[None]
        leaves = task.in_own_type(
            tuple(
                task.asarray(base if i == asked.part else a[:1])
                for i, a in enumerate(task.batch.arrays)
            )
        )
        self._rounding = rounding_of(task, leaves[asked.part])
        self._weights = rng.uniform(0.5, 1.5, size=(1, *asked.shape[1:])).astype(np.float32)
        with model_errors(task.model, leaves, task.model.adapter, np.zeros(1, int)):
            _, _, self._pullback = task.model.vjp(
                lambda given: (_value(task, asked.layer, given), None), leaves
            )

    def lines(self, units: tuple[int, ...]) -> list[np.ndarray] | None:
        """For each axis which lines the unit at these places has a gradient for."""
        cotangent = np.zeros_like(self._weights)
        where = place_of(self.asked, units)
        cotangent[where] = self._weights[where]
        gradient = self._pullback(self.task.asarray(cotangent))[self.asked.part]
        size = np.abs(np.asarray(self.task.to_numpy(gradient)).astype(np.float64))
        if not np.isfinite(size).all():
            return None
        found = []
        for axis in self.asked.axes:
            largest = size.max(axis=tuple(i for i in range(size.ndim) if i != axis))
            seen = largest > 0
            found.append(largest > self._rounding * largest.max() if seen.all() else seen)
        return found


def place_of(asked: Question, units: tuple[int, ...]) -> tuple:
    """The index of all units at these places in what the layer returns for one row."""
    index: list = [slice(None)] * len(asked.shape)
    if asked.matching:
        for (axis,), unit in zip(asked.kept, units, strict=True):
            index[axis] = unit
    else:
        sizes = [asked.shape[axis] for axis in asked.kept[0]]
        for axis, unit in zip(asked.kept[0], np.unravel_index(units[0], sizes), strict=True):
            index[axis] = int(unit)
    return tuple(index)


def _value(task: Task, layer: str, leaves: Leaves) -> Array:
    values: list[Array] = []

    def see(op: Operation) -> Array:
        value = op()
        if op.kind == "layer" and numbered(op) == layer:
            values.append(value)
        return value

    task.model.run(leaves, intercept=see, layers=(layer,), kinds=LAYERS_ONLY)
    if not values or len(shape_of(values[-1])) < 2:
        raise LayerError(f"The layer {layer!r} returns no array in a run of these inputs.")
    return task.xp.astype(values[-1], task.xp.float32)


def _holds(task: Task, asked: Question, found: Sequence[_Along]) -> bool:
    """Whether first, middle and last unit stay as they are when all they do not see is changed."""
    own = task.batch.arrays[asked.part]
    rng = np.random.default_rng([task.seed, _PURPOSE, asked.draws])
    base = drawn_like(rng, own, own.shape[1:], 1.0)
    other = drawn_like(rng, own, own.shape[1:], 4.0)
    intervals = [filled(a.known(), a.count) for a in found]
    ends = [(0, count // 2, count - 1) for count in asked.counts]
    rows, places = [base], []
    for units in dict.fromkeys(zip(*ends, strict=True)):
        inside = np.ones(own.shape[1:], bool)
        for axis, of_axis, unit in zip(asked.axes, intervals, units, strict=True):
            low, high = of_axis[unit]
            lines = np.arange(own.shape[axis])
            within = (lines >= low) & (lines <= high) & (low >= 0)
            inside &= within.reshape(-1, *[1] * (inside.ndim - axis))
        if not inside.all():
            rows.append(np.where(inside, base, other))
            places.append(place_of(asked, units))
    if not places:
        return True
    value, rounding = layer_output(task, asked.layer, asked.part, np.stack(rows))
    size = np.abs(value).reshape(len(value), -1).max(axis=1)
    moved = [
        np.abs(value[row][place[1:]] - value[0][place[1:]]).max()
        > rounding * max(size[0], size[row])
        for row, place in enumerate(places, start=1)
    ]
    return not any(moved)
