"""The few array operations that NumPy and the array standard lack. NumPy in, NumPy out."""

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np


def all_finite(a: np.ndarray) -> bool:
    """Whether no number is NaN or infinite; by their sum, which needs no second array."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(a.sum())) or bool(np.isfinite(a).all())


def apply_along(
    matrices: Mapping[int, np.ndarray], a: np.ndarray, axes: tuple[int, ...]
) -> np.ndarray:
    """`matrices[axis] (m, k)` applied along axes of length k, which become m long.

    `axes` are the spatial ones: each sample's and channel's space is multiplied by itself, in one
    memory order, so that neither the batch nor the layout changes a bit of the result.
    """
    others = tuple(i for i in range(a.ndim) if i not in axes)
    order = (*others, *axes)
    spaces = np.ascontiguousarray(a.transpose(order))
    for place, axis in enumerate(axes, start=len(others)):
        if axis not in matrices:
            continue
        matrix, shape = matrices[axis], spaces.shape
        lead, after = shape[: len(others)], math.prod(shape[place + 1 :])
        if after == 1:
            moved = np.matmul(spaces.reshape(*lead, -1, shape[place]), matrix.T)
        else:
            moved = np.matmul(matrix, spaces.reshape(*lead, -1, shape[place], after))
        spaces = moved.reshape(*shape[:place], len(matrix), *shape[place + 1 :])
    return spaces.transpose(tuple(np.argsort(order)))


@lru_cache(maxsize=64)
def _resize_matrix(size: int, given: int) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres and repeated borders, `(size, given)`."""
    position = np.clip((np.arange(size) + 0.5) * given / size - 0.5, 0, given - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, given - 1)
    fraction = position - low
    matrix = np.zeros((size, given), dtype=np.float32)
    np.add.at(matrix, (np.arange(size), low), 1 - fraction)
    np.add.at(matrix, (np.arange(size), high), fraction)
    return matrix


def resize(a: np.ndarray, sizes: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation along each of `axes` to the given sizes (pixel areas, not corners)."""
    matrices = {
        axis: _resize_matrix(size, a.shape[axis])
        for size, axis in zip(sizes, axes, strict=True)
        if a.shape[axis] != size
    }
    return apply_along(matrices, a, axes)


@lru_cache(maxsize=64)
def _gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """Gaussian smoothing, rows summing to 1, `(size, size)`, float64."""
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    matrix = np.exp(-0.5 * (distance / max(sigma, 1e-6)) ** 2)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _gaussian_and_slope(size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """As `_gaussian_matrix`, and its derivative in sigma, whose rows sum to 0.

    By distance, so that there are `2 size − 1` exponentials rather than `size²`.
    """
    sigma = max(sigma, 1e-6)
    squared = (np.arange(1 - size, size) / sigma) ** 2
    weight = np.exp(-0.5 * squared)
    weight[weight < 1e-20] = 0.0  # of no account, and slow to multiply by where float32 fades out
    # Row i is the weights at distances −i to size − 1 − i.
    both = np.stack([weight, weight * squared / sigma])
    rows = np.lib.stride_tricks.sliding_window_view(both, size, axis=1)[:, ::-1]
    total = rows.sum(axis=2)[..., None]
    matrix = rows[0] / total[0]
    return matrix, (rows[1] - matrix * total[1]) / total[0]


def blur(a: np.ndarray, sigma: float, axes: tuple[int, ...]) -> np.ndarray:
    """Gaussian blur of `sigma` pixels along each of `axes`."""
    matrices = {axis: _gaussian_matrix(a.shape[axis], sigma).astype(np.float32) for axis in axes}
    return apply_along(matrices, a, axes)


def blur_and_slope(
    a: np.ndarray, sigma: float, axes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The blur of `a`, and its derivative in sigma, exact for the discrete blur.

    Each space's mean, which a blur leaves as it is, is taken off before, so that float32 is exact
    enough; float64 stays float64. One pass along each axis makes both.
    """
    kind = np.float64 if a.dtype == np.float64 else np.float32
    mean = a.mean(axis=axes, keepdims=True, dtype=np.float64)
    blurred, slope = (a - mean).astype(kind), None
    for axis in axes:
        matrix, change = (m.astype(kind) for m in _gaussian_and_slope(a.shape[axis], sigma))
        changed = apply_along({axis: change}, blurred, axes)
        slope = changed if slope is None else changed + apply_along({axis: matrix}, slope, axes)
        blurred = apply_along({axis: matrix}, blurred, axes)
    return blurred + mean, np.zeros(a.shape) if slope is None else slope
