"""How sure a share is."""

import numpy as np

_Z = 1.959963984540054
"""97.5 % of a normal distribution lie below it."""


def wilson(hits: np.ndarray | float, count: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share; (0, 1) where nothing was counted.

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96. Source: Wilson 1927.
    """
    total = np.asarray(count, dtype=np.float64)
    n = np.maximum(total, 1e-12)
    p = np.asarray(hits, dtype=np.float64) / n
    middle, width = p + _Z**2 / (2 * n), _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    low, high = (middle - width) / (1 + _Z**2 / n), (middle + width) / (1 + _Z**2 / n)
    some = total > 0
    return np.where(some, np.clip(low, 0, 1), 0.0), np.where(some, np.clip(high, 0, 1), 1.0)
