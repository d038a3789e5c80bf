"""Attributions as one number a position, and positions in order; nothing here runs a model."""

import numpy as np

from pellucid.explanation import Explanation, Part
from pellucid.inputs.layout import space_axes


def position_shape(shape: tuple[int, ...], dims: tuple[str, ...]) -> tuple[int, ...]:
    """The shape of what is removed as one: pixels, steps, columns; without the sample axis."""
    space = space_axes(dims)
    return tuple(shape[i] for i in space) or tuple(shape[1:])


def positions_of(explanation: Explanation) -> np.ndarray:
    """Each sample's attributions, one signed number a position, `(n, positions)` float64.

    Channels of a pixel or step are summed; several inputs come one after the other. A map that is
    coarser or flatter than the input (a class activation map) is drawn over it first.
    """
    return np.concatenate([_of_part(p) for p in explanation.parts], axis=1)


def _of_part(part: Part) -> np.ndarray:
    values = part.values.astype(np.float64)
    if "channel" in part.dims:
        values = values.sum(axis=part.dims.index("channel"))
    return values.reshape(len(values), -1)


SAME = 1e-6
"""Of a map's largest |a|: values closer than that are equal, for rounding moves them."""


def levels_of(positions: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of the values of each row, the same for equal ones, `(n, k)`.

    Going down from the largest value, a level ends where the next value is lower by more than
    `SAME` of the row's largest |a|, and where it has become that wide: neighbours in a row of
    many values do not make one level of all. NaN is the lowest.
    """
    finite = np.isfinite(positions)
    size = np.where(finite, np.abs(positions), 0.0).max(axis=1, keepdims=True)
    size = np.where(size > 0, size, 1)
    beyond = np.where(np.isnan(positions), -3, 2 * np.sign(positions))
    known = np.where(finite, np.where(finite, positions, 0) / size, beyond) / SAME
    order = np.argsort(-known, axis=1)
    down = np.take_along_axis(known, order, axis=1)
    opens = np.ones(down.shape, bool)
    opens[:, 1:] = down[:, 1:] < down[:, :-1] - 1
    first = np.maximum.accumulate(np.where(opens, np.arange(down.shape[1]), 0), axis=1)
    within = np.floor(np.take_along_axis(down, first, axis=1) - down)
    opens[:, 1:] |= within[:, 1:] > within[:, :-1]
    # Numbers of two bytes are put in order ten times as fast as those of eight.
    levels = np.empty(
        order.shape, np.int16 if order.shape[1] < np.iinfo(np.int16).max else np.int64
    )
    np.put_along_axis(levels, order, -np.cumsum(opens, axis=1, dtype=levels.dtype), axis=1)
    return levels


def order_of(positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Positions from the largest to the smallest, `(n, positions)`; equal ones in random order.

    The random order is the same for all samples and explanations. Equal are those of one of
    `levels_of`. NaN counts as the smallest.
    """
    shuffled = generator.permutation(positions.shape[1])
    order = np.argsort(-levels_of(positions)[:, shuffled], axis=1, kind="stable")
    return shuffled[order]


def ranks_of(positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The place of each position in `order_of`, 0 the largest, `(n, positions)`."""
    order = order_of(positions, generator)
    ranks = np.empty(order.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.int32)[None], axis=1)
    return ranks


def mid_ranks(a: np.ndarray) -> np.ndarray:
    """Ranks of each row, ties (see `levels_of`) sharing the mean of theirs, `(n, k)` float64."""
    found = np.empty(a.shape, np.float64)
    for own, row in zip(found, levels_of(a), strict=True):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        own[:] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of `a` with that of `b`, `(n,)`; NaN where one is constant.

    Rows whose spread is at rounding level count as constant.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    spread_a, spread_b = _centred(a), _centred(b)
    norms = np.linalg.norm(spread_a, axis=1) * np.linalg.norm(spread_b, axis=1)
    flat = _is_flat(a, spread_a) | _is_flat(b, spread_b)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.einsum("nk,nk->n", spread_a, spread_b) / norms
    return np.where(flat, np.nan, np.clip(found, -1, 1))


def _centred(a: np.ndarray) -> np.ndarray:
    return a - a.mean(axis=1, keepdims=True)


def _is_flat(a: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.abs(spread).max(axis=1) <= 1e-9 * np.maximum(np.abs(a).max(axis=1), 1e-300)


def rank_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of `a` with that of `b`, `(n,)`."""
    return correlations(mid_ranks(a), mid_ranks(b))
