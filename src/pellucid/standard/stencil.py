"""Removed positions as weighted means of their neighbours, all of them solved for at once."""

from typing import Any

import numpy as np

_DIRECT, _DIAGONAL = 1 / 6, 1 / 12
_CLOSE = 1e-6
"""Of the right side's norm: where rounds of conjugate gradients end."""


def neighbour_means(x: np.ndarray, kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """`x (m, ...)` with what is not `kept (m, *positions)` solved from its neighbours.

    Each removed position is the mean of the positions around it that exist, those side by side
    twice as heavy as those across a corner (1/6 and 1/12); of a series, of the two beside it. The
    linear system of Rong et al. 2022 (arXiv 2202.00449), section 4.2, is sparse and symmetric: each
    copy is solved by a sparse factorisation that its channels share, of volumes, where that fills
    up, by conjugate gradients to 1e-6. Where nothing is kept: the sample's own mean.
    """
    axis = dims.index("channel") if "channel" in dims else None
    last = x[..., None] if axis is None else np.moveaxis(x, axis, -1)
    shape, channels = last.shape[1:-1], last.shape[-1]
    flat = last.reshape(len(x), -1, channels).astype(np.float64)
    system = _system(shape)
    found = np.empty(flat.shape, np.float32)
    for own, values, stay in zip(found, flat, kept.reshape(len(x), -1), strict=True):
        own[:] = values if stay.any() else values.mean(axis=0)
        if stay.any() and not stay.all():
            rows = system[~stay]
            own[~stay] = _solved(rows[:, ~stay], -(rows[:, stay] @ values[stay]), len(shape))
    whole = found.reshape(last.shape)
    return whole[..., 0] if axis is None else np.ascontiguousarray(np.moveaxis(whole, -1, axis))


def _system(shape: tuple[int, ...]) -> Any:
    """Each position's total weight of neighbours, minus those neighbours: sparse, `(p, p)`."""
    from scipy import sparse

    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    rows, columns, weights = [], [], []
    for step in np.ndindex(*(3,) * len(shape)):
        move = [s - 1 for s in step]
        if not any(move):
            continue
        here = tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(move, shape, strict=True))
        there = tuple(slice(max(s, 0), n - max(-s, 0)) for s, n in zip(move, shape, strict=True))
        own = numbers[here].ravel()
        rows.append(own)
        columns.append(numbers[there].ravel())
        direct = sum(map(abs, move)) == 1
        weights.append(np.full(own.size, _DIRECT if direct else _DIAGONAL))
    pairs = (np.concatenate(rows), np.concatenate(columns))
    around = sparse.csr_matrix((np.concatenate(weights), pairs), shape=(numbers.size,) * 2)
    total = np.asarray(around.sum(axis=1)).ravel()
    return (sparse.diags(total) - around).tocsr()


def _solved(matrix: Any, right: np.ndarray, space: int) -> np.ndarray:
    """The solution for each column of `right`."""
    from scipy.sparse.linalg import cg, splu

    if space > 2:
        found = [cg(matrix, column, rtol=_CLOSE) for column in right.T]
        if not any(failed for _, failed in found):
            return np.stack([solution for solution, _ in found], axis=1)
    options = {"SymmetricMode": True}
    factors = splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
    )
    return factors.solve(right)
