"""The few array operations that NumPy and the array standard lack. NumPy in, NumPy out."""

from functools import lru_cache

import numpy as np


def apply_along(matrix: np.ndarray, a: np.ndarray, axis: int) -> np.ndarray:
    """`matrix (m, k)` applied along an axis of length k, which becomes m long."""
    return np.moveaxis(np.tensordot(a, matrix, axes=([axis], [1])), -1, axis)


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
    for size, axis in zip(sizes, axes, strict=True):
        if a.shape[axis] != size:
            a = apply_along(_resize_matrix(size, a.shape[axis]), a, axis)
    return a


@lru_cache(maxsize=64)
def _gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """Gaussian smoothing, rows summing to 1, `(size, size)`."""
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    matrix = np.exp(-0.5 * (distance / max(sigma, 1e-6)) ** 2)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def blur(a: np.ndarray, sigma: float, axes: tuple[int, ...]) -> np.ndarray:
    """Gaussian blur of `sigma` pixels along each of `axes`."""
    for axis in axes:
        a = apply_along(_gaussian_matrix(a.shape[axis], sigma), a, axis)
    return a
