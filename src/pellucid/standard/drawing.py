"""Weights of a model that has learned nothing."""

import numpy as np


def drawn_anew(value: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Weights that know nothing, on the scale of `value`.

    Numbers of both signs in arrays of two axes or more are drawn from a normal distribution of
    the same mean and standard deviation; all others (biases, scales, running means and variances)
    change places among themselves, so that a variance stays one. Whole numbers stay.
    """
    if value.dtype.kind not in "f":
        return value
    wide = value.astype(np.float64)
    if wide.ndim >= 2 and (wide > 0).any() and (wide < 0).any():
        drawn = wide.mean() + wide.std() * generator.standard_normal(wide.shape)
    else:
        drawn = generator.permutation(wide.ravel()).reshape(wide.shape)
    return drawn.astype(value.dtype)
