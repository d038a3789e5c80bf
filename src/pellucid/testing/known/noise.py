"""Backgrounds of 8 × 8 pixels: white, and such that neighbours are alike."""

from collections.abc import Callable

import numpy as np

from pellucid.arrays import blur

Noise = Callable[[np.random.Generator, int], np.ndarray]
SMOOTH = 3.0
"""Pixels: the σ of Clark et al. 2023 (arXiv 2306.12816), section 3.1."""


def white_noise(generator: np.random.Generator, count: int) -> np.ndarray:
    """Independent normal pixels."""
    return generator.normal(size=(count, 8, 8))


def smooth_noise(generator: np.random.Generator, count: int) -> np.ndarray:
    """White noise blurred with σ = 3, of variance 1 over all of it."""
    wide = blur(generator.normal(size=(count, 8, 8)), SMOOTH, (1, 2))
    return wide / wide.std()
