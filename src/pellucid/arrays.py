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


def _gaussian_slope(size: int, sigma: float) -> np.ndarray:
    """The derivative of `_gaussian_matrix` in sigma; its rows sum to 0."""
    sigma = max(sigma, 1e-6)
    squared = (np.arange(size)[:, None] - np.arange(size)[None, :]) ** 2 / sigma**3
    matrix = _gaussian_matrix(size, sigma)
    return matrix * (squared - (matrix * squared).sum(axis=1, keepdims=True))


def blur(a: np.ndarray, sigma: float, axes: tuple[int, ...]) -> np.ndarray:
    """Gaussian blur of `sigma` pixels along each of `axes`."""
    matrices = {axis: _gaussian_matrix(a.shape[axis], sigma).astype(np.float32) for axis in axes}
    return apply_along(matrices, a, axes)


def blur_and_slope(
    a: np.ndarray, sigma: float, axes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The blur of `a`, and its derivative in sigma, in float64; exact for the discrete blur."""
    wide = a.astype(np.float64)
    matrices = {axis: _gaussian_matrix(a.shape[axis], sigma) for axis in axes}
    slope = np.zeros(a.shape)
    for axis in axes:
        changed = {**matrices, axis: _gaussian_slope(a.shape[axis], sigma)}
        slope += apply_along(changed, wide, axes)
    return apply_along(matrices, wide, axes), slope
