"""Which part of an input a layer's units see, by changing the input line by line."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, Operation
from pellucid.errors import InputError
from pellucid.running.outputs import model_errors
from pellucid.task import Task
from pellucid.types import Array

_DRAWS_PURPOSE = 71
_FLOAT32 = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Seen:
    """For one axis of the input: `(places of the input, places of the layer)` true where seen."""

    axis: int
    seen: np.ndarray

    @property
    def intervals(self) -> np.ndarray:
        """The first and last line that each place sees, `(places, 2)`; −1 for none."""
        nothing = ~self.seen.any(axis=0)
        low = np.where(nothing, -1, self.seen.argmax(axis=0))
        high = np.where(nothing, -1, len(self.seen) - 1 - self.seen[::-1].argmax(axis=0))
        return np.stack([low, high], axis=1)


def lines_seen(
    task: Task,
    layer: str,
    part: int,
    axes: Sequence[int],
    kept: Sequence[tuple[int, ...]],
    *,
    draws: int,
) -> list[Seen]:
    """Which lines of an input each place of a layer's output sees, along each of its axes.

    A line is all that has one place along an axis: a row of a picture, with all its columns and
    channels. In each draw the input is random in the range of the data, and one line after the
    other is drawn anew, four times as wide; a place of the layer sees a line if any of its units
    changes in any draw. `kept` are, for each axis, the axes of the output that tell places apart.

    Raises `InputError` for whole numbers that are all the same.
    """
    own = task.batch.arrays[part]
    if own.dtype.kind != "f" and (own == own.flat[0]).all():
        raise InputError(
            f"Expected an input with two different values or more, as others are drawn from them,"
            f" got {own.flat[0]} alone.\n  Give samples that differ."
        )
    found = []
    for axis, places in zip(axes, kept, strict=True):
        seen = None
        for draw in range(draws):
            one = _one_draw(task, layer, part, axis, places, draw)
            seen = one if seen is None else seen | one
        found.append(Seen(axis, np.zeros((0, 0), bool) if seen is None else seen))
    return found


def _one_draw(
    task: Task, layer: str, part: int, axis: int, places: tuple[int, ...], draw: int
) -> np.ndarray:
    rng = np.random.default_rng([task.seed, _DRAWS_PURPOSE, part, axis, draw])
    own = task.batch.arrays[part]
    base = drawn_like(rng, own, own.shape[1:], 1.0)
    length, shape = own.shape[axis], list(own.shape[1:])
    shape[axis - 1] = 1
    lines = [drawn_like(rng, own, tuple(shape), 4.0) for _ in range(length)]

    def evaluate(start: int, stop: int) -> np.ndarray:
        # The unchanged input goes first in every micro-batch, so that both are rounded alike.
        given = np.repeat(base[None], stop - start + 1, axis=0)
        for row, line in enumerate(range(start, stop), start=1):
            index = [slice(None)] * base.ndim
            index[axis - 1] = slice(line, line + 1)
            given[(row, *index)] = lines[line]
        value, rounding = layer_output(task, layer, part, given)
        return changed_rows(value, rounding, places)

    run = task.schedule.run(length, evaluate, key="lines")
    return np.concatenate([changed for _, _, changed in run])


def drawn_like(
    rng: np.random.Generator, own: np.ndarray, shape: tuple[int, ...], width: float
) -> np.ndarray:
    """Random numbers as wide as the data, or some of its own where it holds whole numbers."""
    if own.dtype.kind != "f":
        return rng.choice(np.unique(own), size=shape).astype(own.dtype)
    wide = float(own.std(dtype=np.float64)) or 1.0
    centre = float(own.mean(dtype=np.float64))
    return (centre + width * wide * rng.standard_normal(shape)).astype(own.dtype)


def layer_output(task: Task, layer: str, part: int, given: np.ndarray) -> tuple[np.ndarray, float]:
    """What the layer returns for these rows of one input, the others being the first sample's."""
    rows = len(given)
    leaves = tuple(
        task.asarray(given if i == part else np.repeat(a[:1], rows, axis=0))
        for i, a in enumerate(task.batch.arrays)
    )
    values: list[tuple[np.ndarray, float]] = []

    def see(op: Operation) -> Array:
        value = op()
        if op.kind == "layer" and numbered(op) == layer:
            values.append(with_rounding(task, value))
        return value

    leaves = task.in_own_type(leaves)
    with model_errors(task.model, leaves, task.model.adapter, np.zeros(rows, int)):
        task.model.run(leaves, intercept=see, layers=(layer,), kinds=LAYERS_ONLY)
    return values[-1]


def with_rounding(task: Task, value: Array) -> tuple[np.ndarray, float]:
    """What a layer returned, and what rounding alone may change, as a share of its largest."""
    found = np.asarray(task.to_numpy(value))
    rounding = rounding_of(task, value) if found.dtype.kind == "f" else 0.0
    return found.astype(np.float64), rounding


def rounding_of(task: Task, value: Array) -> float:
    """What rounding may change of sums in the type of `value`, as a share of the largest."""
    own = float(task.xp.finfo(value.dtype).eps)
    # Half-precision numbers are summed in float32 and rounded once.
    return max(2 * own, 16 * min(own, _FLOAT32))


def changed_rows(value: np.ndarray, rounding: float, places: tuple[int, ...]) -> np.ndarray:
    """`(rows, places)`: which places of rows 1, 2, ... differ from those of row 0.

    By more than that share of the largest value of both rows: where large terms cancel, a unit near
    zero is rounded as they are.
    """
    every = tuple(range(1, value.ndim))
    size = np.abs(value).max(axis=every, keepdims=True)
    units = tuple(i for i in every if i not in places)
    differs = np.abs(value[1:] - value[:1]) > rounding * np.maximum(size[1:], size[:1])
    return differs.any(axis=units).reshape(len(differs), -1)
