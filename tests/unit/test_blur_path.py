"""The blur along a path and its slope, against dense matrices in float64."""

import numpy as np
import pytest

from pellucid.arrays import blur_and_slope


def dense(size, sigma):
    """The normalised Gaussian and its derivative in sigma, from all pairs of positions."""
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    matrix = np.exp(-0.5 * (distance / sigma) ** 2)
    matrix /= matrix.sum(axis=1, keepdims=True)
    squared = distance**2 / sigma**3
    return matrix, matrix * (squared - (matrix * squared).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0, 30.0])
@pytest.mark.parametrize(("kind", "close"), [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_blur_and_slope_of_a_picture(sigma, kind, close):
    x = np.random.default_rng(0).random((2, 3, 96, 80)).astype(kind) + 5
    blurred, slope = blur_and_slope(x, sigma, (2, 3))
    (high, dhigh), (wide, dwide) = dense(96, sigma), dense(80, sigma)
    own = x.astype(np.float64)
    assert np.abs(blurred - high @ own @ wide.T).max() < close
    expected = dhigh @ own @ wide.T + high @ own @ dwide.T
    assert np.abs(slope - expected).max() < close * max(np.abs(expected).max(), 1e-3)


def test_neither_the_layout_nor_the_batch_changes_a_bit():
    x = np.random.default_rng(1).random((3, 2, 33, 40)).astype(np.float32)
    whole = blur_and_slope(x, 2.5, (2, 3))
    last = blur_and_slope(np.moveaxis(x, 1, -1).copy(), 2.5, (1, 2))
    one = blur_and_slope(x[1:2], 2.5, (2, 3))
    for a, b, c in zip(whole, last, one, strict=True):
        np.testing.assert_array_equal(a, np.moveaxis(b, -1, 1))
        np.testing.assert_array_equal(a[1:2], c)


def test_what_is_flat_has_no_slope():
    """A blur keeps a constant, a series and what has no space at all."""
    series = np.full((2, 50, 3), 7.0, dtype=np.float32)
    blurred, slope = blur_and_slope(series, 4.0, (1,))
    np.testing.assert_array_equal(blurred, series)
    np.testing.assert_array_equal(slope, 0)
    flat = np.ones((2, 4), dtype=np.float32)
    assert not blur_and_slope(flat, 4.0, ())[1].any()
