"""Which part of an input a layer's units see, by changing the input line by line."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, Operation
from pellucid.running.outputs import model_errors
from pellucid.task import Task
from pellucid.types import Array

_DRAWS_PURPOSE = 71
_ROUNDING = 16 * float(np.finfo(np.float32).eps)
"""A change smaller than this, as a share of the unit's own value, may be rounding alone."""


@dataclass(frozen=True)
class Seen:
    """For one axis of the input: `(places of the input, places of the layer)` true where seen."""

    axis: int
    seen: np.ndarray


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
    """
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
        value = _layer_output(task, layer, part, given)
        return changed_rows(value, places)

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


def _layer_output(task: Task, layer: str, part: int, given: np.ndarray) -> np.ndarray:
    """What the layer returns for these rows of one input, the others being the first sample's."""
    rows = len(given)
    leaves = tuple(
        task.asarray(given if i == part else np.repeat(a[:1], rows, axis=0))
        for i, a in enumerate(task.batch.arrays)
    )
    values: list[np.ndarray] = []

    def see(op: Operation) -> Array:
        value = op()
        if op.kind == "layer" and numbered(op) == layer:
            values.append(np.asarray(task.to_numpy(value)).astype(np.float32))
        return value

    leaves = task.in_own_type(leaves)
    with model_errors(task.model, leaves, task.model.adapter, np.zeros(rows, int)):
        task.model.run(leaves, intercept=see, layers=(layer,), kinds=LAYERS_ONLY)
    return values[-1]


def changed_rows(value: np.ndarray, places: tuple[int, ...]) -> np.ndarray:
    """`(rows, places)`: which places of rows 1, 2, ... differ from those of row 0."""
    size = np.maximum(np.abs(value[1:]), np.abs(value[:1]))
    units = tuple(i for i in range(1, value.ndim) if i not in places)
    differs = np.abs(value[1:] - value[:1]) > _ROUNDING * size
    return differs.any(axis=units).reshape(len(differs), -1)
