"""What keeps an optimised input plain: total variation, and the size of its values."""

from dataclasses import dataclass

import numpy as np

_SMALL = 1e-4
"""Below it a difference counts by its square, so that there is a derivative at 0."""


@dataclass(frozen=True)
class Penalties:
    """λ_tv Σ |neighbours' difference| + λ_2 Σ (x − m)² + λ_1 Σ |x − m|, in input units.

    m is the middle of the range, or 0. The smooth |a| is √(a² + ε²) − ε with ε = 1e-4.
    """

    total_variation: float = 0.0
    l2: float = 0.0
    l1: float = 0.0

    def of(self, images: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The penalty of each image `(k,)`, and its gradient."""
        found, gradient = np.zeros(len(images)), np.zeros_like(images)
        offset = images - middle
        if self.l2:
            found += self.l2 * _total(offset**2)
            gradient += 2 * self.l2 * offset
        if self.l1:
            size, sign = _smooth(offset)
            found += self.l1 * _total(size)
            gradient += self.l1 * sign
        for axis in range(1, images.ndim - 1) if self.total_variation else ():
            size, sign = _smooth(np.diff(images, axis=axis))
            found += self.total_variation * _total(size)
            pad = [(0, 0)] * images.ndim
            pad[axis] = (1, 1)
            gradient -= self.total_variation * np.diff(np.pad(sign, pad), axis=axis)
        return found, gradient


def _total(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).sum(axis=1)


def _smooth(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|a| with a derivative everywhere, and that derivative."""
    root = np.sqrt(values**2 + _SMALL**2)
    return root - _SMALL, values / root
