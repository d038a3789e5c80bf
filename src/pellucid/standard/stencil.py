"""Removed positions as weighted means of their neighbours, all of them solved for at once."""

import numpy as np

from pellucid.inputs.fills import inpaint
from pellucid.inputs.layout import space_axes

_DIRECT, _DIAGONAL = 1 / 6, 1 / 12
_ROUNDS = 60
_CLOSE = 1e-4


def neighbour_means(x: np.ndarray, kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """`x (m, ...)` with what is not `kept (m, *positions)` solved from its neighbours.

    Each removed position is the mean of the positions around it that exist, those side by side
    twice as heavy as those across a corner (1/6 and 1/12); of a series, of the two beside it. The
    linear system of Rong et al. 2022 (arXiv 2202.00449), section 4.2, is solved by over-relaxed
    rounds over interleaved colours from a smooth start (`inpaint`), until no value moves by more
    than 1e-4 of the sample's range. Where nothing is kept: the sample's own mean.
    """
    axis = dims.index("channel") if "channel" in dims else None
    last = x[..., None] if axis is None else np.moveaxis(x, axis, -1)
    names = tuple(d for d in dims if d != "channel")
    start = inpaint(np.ascontiguousarray(last), kept, (*names, "channel")).astype(np.float32)
    space = len(space_axes(dims))
    hidden = ~kept
    some = kept.reshape(len(kept), -1).any(axis=1) & hidden.reshape(len(kept), -1).any(axis=1)
    if some.any():
        start[some] = _relaxed(start[some], hidden[some], space)
    return start[..., 0] if axis is None else np.ascontiguousarray(np.moveaxis(start, -1, axis))


def _relaxed(a: np.ndarray, hidden: np.ndarray, space: int) -> np.ndarray:
    steps, weights = _stencil(space)
    shape = a.shape[1:-1]
    size = max(shape)
    omega = 2 / (1 + np.sin(np.pi / (size + 1)))
    total = _around(np.ones((1, *shape, 1), np.float32), steps, weights)
    flat = a.reshape(len(a), -1)
    scale = np.maximum(flat.max(axis=1) - flat.min(axis=1), 1e-12)
    colours = np.indices(shape) % 2
    code = sum(c * 2**i for i, c in enumerate(colours))
    found = a.copy()
    moving = np.arange(len(a))  # a copy that has settled stays: it knows nothing of its company
    for _ in range(_ROUNDS + 4 * size):
        now, own = found[moving], hidden[moving]
        moved = np.zeros(len(now))
        for colour in range(2**space):
            change = omega * (_around(now, steps, weights) / total - now)
            change *= (own & (code == colour))[..., None]
            now = now + change
            moved = np.maximum(moved, np.abs(change).reshape(len(now), -1).max(axis=1))
        found[moving] = now
        moving = moving[moved > _CLOSE * scale[moving]]
        if not moving.size:
            break
    return found


def _stencil(space: int) -> tuple[list[tuple[int, ...]], list[float]]:
    around = [s for s in np.ndindex(*(3,) * space) if s != (1,) * space]
    steps = [tuple(i - 1 for i in s) for s in around]
    return steps, [_DIRECT if sum(map(abs, s)) == 1 else _DIAGONAL for s in steps]


def _around(a: np.ndarray, steps: list[tuple[int, ...]], weights: list[float]) -> np.ndarray:
    """The weighted sum of each position's neighbours that exist."""
    space = len(steps[0])
    padded = np.pad(a, [(0, 0), *[(1, 1)] * space, (0, 0)])
    found = np.zeros_like(a)
    for step, weight in zip(steps, weights, strict=True):
        place = tuple(slice(1 + s, 1 + s + n) for s, n in zip(step, a.shape[1:-1], strict=True))
        found += weight * padded[(slice(None), *place)]
    return found
