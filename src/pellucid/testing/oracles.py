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


def expected_gradients(
    score: Score, leaves: Leaves, samples: int, seed: int, background: Leaves | None = None
) -> list[np.ndarray]:
    """E[(x − b) ∂f(b + t(x − b))/∂x] (Erion et al. 2021, eq. 2), with pellucid's draws.

    `background` holds the rows `(k, ...)` of each leaf, one of zeros if it is left out; `samples`
    is even.
    """
    background = [np.zeros((1, *a.shape)) for a in leaves] if background is None else background
    draws = np.random.default_rng([seed, 4])
    size = len(background[0])
    decks = [draws.permutation(size) for _ in range(-(-samples // size))]
    deck = np.concatenate(decks)[:samples]
    offsets = draws.random(samples)
    total, slope = ([np.zeros_like(a) for a in leaves] for _ in range(2))
    for j, row in enumerate(deck):
        t = (j // 2 + offsets[j]) / (samples / 2)
        start = [b[row].astype(np.float64) for b in background]
        moved = [s + t * (a - s) for s, a in zip(start, leaves, strict=True)]
        for k, g in enumerate(gradient(score, moved)):
            total[k] += (leaves[k] - start[k]) * g / samples
            slope[k] += g / samples
    shifts = [b[deck].mean(axis=0) - b.mean(axis=0) for b in background]
    return [a + s * g for a, s, g in zip(total, shifts, slope, strict=True)]


def blur_integrated_gradients(
    score: Score, leaves: Leaves, steps: int, max_sigma: float
) -> list[np.ndarray]:
    """∫ ∂f(z)/∂z dz/dt dt along Gaussian blurs (Xu et al. 2020, eq. 4) by Gauss–Legendre.

    The path's speed is a central difference here; leaves without spatial axes stay.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)

    def blurred(leaf: np.ndarray, t: float) -> np.ndarray:
        sigma = (np.exp((1 - t) * np.log(1 + 2 * max_sigma)) - 1) / 2
        for axis in range(leaf.ndim - 1):
            grid = np.arange(leaf.shape[axis])
            weight = np.exp(-0.5 * ((grid[:, None] - grid) / sigma) ** 2)
            weight /= weight.sum(axis=1, keepdims=True)
            leaf = np.moveaxis(np.tensordot(weight, leaf, axes=(1, axis)), 0, axis)
        return leaf

    total = [np.zeros_like(a) for a in leaves]
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        slopes = gradient(score, [blurred(a, t) for a in leaves])
        for k, a in enumerate(leaves):
            speed = (blurred(a, t + STEP) - blurred(a, t - STEP)) / (2 * STEP)
            total[k] += w * slopes[k] * speed
    return total


def guided_integrated_gradients(
    score: Score,
    leaves: Leaves,
    steps: int,
    start: Leaves,
    fraction: float = 0.25,
    rule: str = "trapezoid",
) -> list[np.ndarray]:
    """The adaptive path from `start` (Kapishnikov et al. 2021, algorithm 1), one value at a time.

    `rule="left"` is the paper's; "trapezoid" weighs a step with the gradients at both its ends.
    """
    end = np.concatenate([a.ravel() for a in leaves])
    place = np.concatenate([a.astype(np.float64).ravel() for a in start])
    found = np.zeros(end.size)
    whole = np.abs(end - place).sum()

    def slope_at(row: np.ndarray) -> np.ndarray:
        cuts = np.cumsum([a.size for a in leaves])[:-1]
        pairs = zip(np.split(row, cuts), leaves, strict=True)
        parts = [part.reshape(a.shape) for part, a in pairs]
        return np.concatenate([g.ravel() for g in gradient(score, parts)])

    slope = slope_at(place)
    for step in range(steps):
        goal = whole * (1 - (step + 1) / steps)
        tie = 1e-5 * np.abs(slope).max()
        before = place.copy()
        while (need := np.abs(end - place).sum() - goal) > 1e-9 * whole:
            waiting = [i for i in range(end.size) if place[i] != end[i]]
            order = sorted(abs(slope[i]) for i in waiting)
            rank = int(fraction * (end.size - 1))
            quantile = order[rank] if rank < len(order) else np.inf
            chosen = [i for i in waiting if abs(slope[i]) <= quantile + tie]
            share = need / sum(abs(end[i] - place[i]) for i in chosen)
            for i in chosen:
                place[i] = end[i] if share >= 1 - 1e-9 else place[i] + share * (end[i] - place[i])
        after = slope_at(place)
        found += (place - before) * (slope if rule == "left" else (slope + after) / 2)
        slope = after
    cuts = np.cumsum([a.size for a in leaves])[:-1]
    return [p.reshape(a.shape) for p, a in zip(np.split(found, cuts), leaves, strict=True)]
