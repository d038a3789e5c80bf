"""What a recorded step is like in space: where it slides, where its axes go, what it costs."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from pellucid.adapters.sliding import Sliding
from pellucid.running.recorded import Recording, Step
from pellucid.types import shape_of

_CLOSE = 1e-4
"""How far an operation may be off on a part, in units of its largest value, to be local."""
_FIXED = 4.0
"""Multiplications that a number costs to be moved about."""


def over_all(sliding: Sliding, axes: tuple[int, ...]) -> Sliding | None:
    """The same with a place for each of `axes`, in their order; None if it slides elsewhere."""
    if not set(sliding.axes) <= set(axes):
        return None
    known = {a: i for i, a in enumerate(sliding.axes)}

    def each(values: tuple[int, ...], otherwise: int) -> tuple[int, ...]:
        return tuple(values[known[a]] if a in known else otherwise for a in axes)

    return replace(
        sliding,
        axes=axes,
        size=each(sliding.size, 1),
        stride=each(sliding.stride, 1),
        dilation=each(sliding.dilation, 1),
        before=each(sliding.before, 0),
    )


def axes_after(before: np.ndarray, after: np.ndarray, axes: tuple[int, ...]) -> list[Any]:
    """Where the spatial axes may be in what a step made, the likeliest first."""
    space, found = space_of(before.shape, axes), []
    for shift in (0, -1, 1):
        moved = tuple(a + shift for a in axes)
        if min(moved) > 0 and space_of(after.shape, moved) == space:
            found.append(moved)
    if before.ndim == after.ndim and before.size == after.size:
        for order in permutations(range(1, before.ndim)):
            turned = (0, *order)
            moved = tuple(turned.index(a) for a in axes)
            if moved not in found and np.array_equal(before.transpose(turned), after):
                found.append(moved)
    return found


def space_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes of an array along `axes`; None where it has not as many."""
    return tuple(shape[a] for a in axes) if max(axes) < len(shape) else None


def resized(shape: tuple[int, ...], axes: tuple[int, ...], size: tuple[int, ...]) -> Any:
    """The shape with these sizes along `axes`."""
    found = list(shape)
    for axis, n in zip(axes, size, strict=True):
        found[axis] = n
    return tuple(found)


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two results are the same but for rounding."""
    if found.shape != wanted.shape:
        return False
    if found.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    scale = float(np.abs(wanted).max(initial=0.0))
    return bool(np.abs(found - wanted).max(initial=0.0) <= _CLOSE * scale)


def cost_of(recording: Recording, step: Step) -> float:
    """Multiplications, about, of one row."""
    made = recording.values[step.writes[0]].array
    each, sliding = _FIXED, step.operation.sliding()
    if step.operation.kind != "linear":
        each += 0.0 if sliding is None else float(np.prod(sliding.size))
    else:
        space = 1 if sliding is None else int(np.prod([made.shape[a] for a in sliding.axes]))
        channels = made.shape[-1] if sliding is None and made.ndim else made.size / space
        given = [*step.operation.weights.values()]
        given += [a for a, r in zip(step.operation.inputs, step.reads, strict=True) if r is None]
        shapes = [s for s in map(shape_of, given) if len(s) > 1 and s[:1] != made.shape[:1]]
        each += max((float(np.prod(s)) for s in shapes), default=0.0) / max(channels, 1)
    return made.size * each
