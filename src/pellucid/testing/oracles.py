"""Slow second implementations of the methods, from the papers: NumPy, float64, loops.

Every function takes `score(*leaves) -> (m,)`, the explained number of rows of float64 inputs,
and inputs channels last. Derivatives are central differences: exact, up to rounding, for the
piecewise linear tiny models; for the smooth `vit` their error, with this step, is below 1e-8 of
the gradient's maximum.
"""

from collections.abc import Callable, Sequence

import numpy as np

Score = Callable[..., np.ndarray]
Leaves = Sequence[np.ndarray]

STEP = 1e-6


def gradient(score: Score, leaves: Leaves) -> list[np.ndarray]:
    """∂score/∂leaf of one sample (no batch axis), one array a leaf."""
    found = []
    for index, leaf in enumerate(leaves):
        size = leaf.size
        steps = STEP * np.concatenate([np.eye(size), -np.eye(size)]).reshape(-1, *leaf.shape)
        batch = [np.broadcast_to(other, (2 * size, *other.shape)) for other in leaves]
        batch[index] = leaf + steps
        values = score(*batch)
        found.append(((values[:size] - values[size:]) / (2 * STEP)).reshape(leaf.shape))
    return found


def gradient_x_input(score: Score, leaves: Leaves) -> list[np.ndarray]:
    """X ⊙ ∂f/∂x (Shrikumar et al. 2016)."""
    return [g * a for g, a in zip(gradient(score, leaves), leaves, strict=True)]


def integrated_gradients(score: Score, leaves: Leaves, steps: int) -> list[np.ndarray]:
    """(x − 0) ∫ ∂f(t x)/∂x dt by Gauss–Legendre (Sundararajan et al. 2017, eq. 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = [np.zeros_like(a) for a in leaves]
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        for part, g in zip(total, gradient(score, [t * a for a in leaves]), strict=True):
            part += w * g
    return [t * a for t, a in zip(total, leaves, strict=True)]


def _noisy_gradients(
    score: Score, leaves: Leaves, samples: int, noise: float, seed: int
) -> list[np.ndarray]:
    """The gradients `(samples, ...)` at noisy copies, with pellucid's documented draws."""
    found = []
    for j in range(samples):
        moved = []
        for index, a in enumerate(leaves):
            rng = np.random.default_rng([seed, 2, index, j])
            draw = rng.standard_normal(a.shape, dtype=np.float32)
            moved.append(a + (noise * np.ptp(a.astype(np.float32)) * draw).astype(np.float64))
        found.append(gradient(score, moved))
    return [np.stack(column) for column in zip(*found, strict=True)]


def smoothgrad(
    score: Score, leaves: Leaves, samples: int, noise: float, seed: int
) -> list[np.ndarray]:
    """The mean gradient over noisy copies (Smilkov et al. 2017)."""
    return [g.mean(axis=0) for g in _noisy_gradients(score, leaves, samples, noise, seed)]


def squaregrad(
    score: Score, leaves: Leaves, samples: int, noise: float, seed: int
) -> list[np.ndarray]:
    """The mean squared gradient over noisy copies (Hooker et al. 2019)."""
    return [(g**2).mean(axis=0) for g in _noisy_gradients(score, leaves, samples, noise, seed)]


def vargrad(
    score: Score, leaves: Leaves, samples: int, noise: float, seed: int
) -> list[np.ndarray]:
    """The variance of the gradient over noisy copies (Adebayo et al. 2018), over m − 1."""
    return [g.var(axis=0, ddof=1) for g in _noisy_gradients(score, leaves, samples, noise, seed)]


def occlusion(score: Score, leaves: Leaves, window: int, stride: int) -> list[np.ndarray]:
    """Mean drop over the windows that cover a position (Zeiler & Fergus 2014, section 2)."""
    whole = score(*(a[None] for a in leaves))[0]
    found = []
    for index, leaf in enumerate(leaves):
        space = range(leaf.ndim - 1) if leaf.ndim > 1 else range(1)
        starts = []
        for axis in space:
            last = leaf.shape[axis] - window
            starts.append(sorted({*range(0, last + 1, stride), last}))
        total, count = np.zeros_like(leaf), np.zeros_like(leaf)
        for corner in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(starts)):
            box = tuple(slice(int(c), int(c) + window) for c in corner)
            covered = leaf.copy()
            covered[box] = 0
            given = [covered if k == index else other for k, other in enumerate(leaves)]
            total[box] += whole - score(*(a[None] for a in given))[0]
            count[box] += 1
        found.append(total / count)
    return found


def bilinear(grid: np.ndarray, row: int, column: int, size: tuple[int, ...]) -> float:
    """The value of a grid at a pixel centre, borders repeated."""
    low, part = [], []
    for position, length, full in zip((row, column), grid.shape, size, strict=True):
        at = min(max((position + 0.5) * length / full - 0.5, 0), length - 1)
        low.append(int(at))
        part.append(at - int(at))
    (r, c), (a, b) = low, part
    below, right = min(r + 1, grid.shape[0] - 1), min(c + 1, grid.shape[1] - 1)
    upper = (1 - b) * grid[r, c] + b * grid[r, right]
    lower = (1 - b) * grid[below, c] + b * grid[below, right]
    return float((1 - a) * upper + a * lower)
