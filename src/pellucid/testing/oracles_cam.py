"""Slow second implementations of the class activation maps, from the papers: NumPy, float64, loops.

Each takes `activation (*positions, k)` of one sample and `suffix((m, *positions, k)) -> (m,)`, the
score above that layer, and returns the signed map `(*positions)` before any ReLU. Derivatives are
central differences, as in `pellucid.testing.oracles`.
"""

from collections.abc import Callable

import numpy as np

from pellucid.testing.oracles import bilinear, gradient

Suffix = Callable[[np.ndarray], np.ndarray]


def _weighted(activation: np.ndarray, weights: list[float]) -> np.ndarray:
    total = np.zeros(activation.shape[:-1])
    for k, w in enumerate(weights):
        total += w * activation[..., k]
    return total


def gradcam(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """Σ_k mean(∂f/∂A_k) A_k (Selvaraju et al. 2017, eq. 1 and 2)."""
    g = gradient(suffix, [activation])[0]
    return _weighted(activation, [g[..., k].mean() for k in range(g.shape[-1])])


def gradcam_plus_plus(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """Σ_k A_k Σ_p α_kp ReLU(∂f/∂A_kp), α by eq. 19 as printed (Chattopadhay et al. 2018).

    Without the factor exp(f), which is one number a sample.
    """
    g = gradient(suffix, [activation])[0]
    g[np.abs(g) < 1e-9] = 0  # what central differences leave of a derivative that is none
    weights = []
    for k in range(g.shape[-1]):
        total, weight = activation[..., k].sum(), 0.0
        for derivative in g[..., k].ravel():
            if derivative != 0:
                alpha = derivative**2 / (2 * derivative**2 + total * derivative**3)
                weight += alpha * max(derivative, 0)
        weights.append(weight)
    return _weighted(activation, weights)


def hirescam(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """Σ_k ∂f/∂A_k ⊙ A_k (Draelos & Carin 2020, eq. 5)."""
    g = gradient(suffix, [activation])[0]
    return np.sum([g[..., k] * activation[..., k] for k in range(g.shape[-1])], axis=0)


def xgradcam(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """Σ_k A_k Σ_p (A_kp / Σ_q A_kq) ∂f/∂A_kp (Fu et al. 2020, eq. 8)."""
    g = gradient(suffix, [activation])[0]
    weights = []
    for k in range(g.shape[-1]):
        total = activation[..., k].sum()
        shares = activation[..., k] / total if total != 0 else np.zeros(activation.shape[:-1])
        weights.append((shares * g[..., k]).sum())
    return _weighted(activation, weights)


def layercam(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """Σ_k ReLU(∂f/∂A_k) ⊙ A_k (Jiang et al. 2021, eq. 5 and 6)."""
    g = gradient(suffix, [activation])[0]
    positive = np.maximum(g, 0)
    return np.sum([positive[..., k] * activation[..., k] for k in range(g.shape[-1])], axis=0)


def eigencam(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """A v₁ by the singular value decomposition itself (Muhammad & Yeasin 2020, eq. 4 and 5)."""
    rows = activation.reshape(-1, activation.shape[-1])
    first = np.linalg.svd(rows, full_matrices=False)[2][0]
    projected = (rows @ first).reshape(activation.shape[:-1])
    return -projected if projected.sum() < 0 else projected


def ablationcam(activation: np.ndarray, suffix: Suffix) -> np.ndarray:
    """Σ_k (f(A) − f(A without k)) A_k (Desai & Ramaswamy 2020, eq. 2; not divided by f)."""
    weights = []
    for k in range(activation.shape[-1]):
        without = activation.copy()
        without[..., k] = 0
        weights.append(float(suffix(activation[None])[0] - suffix(without[None])[0]))
    return _weighted(activation, weights)


def scorecam(
    activation: np.ndarray, score: Suffix, image: np.ndarray, baseline: float = 0.0
) -> np.ndarray:
    """Σ_k softmax(f(x ⊙ M_k) − f(x_b))_k A_k (Wang et al. 2020, algorithm 1).

    `score((m, h, w, c)) -> (m,)` is of whole inputs, `image (h, w, c)` one of them. Channels that
    are the same everywhere are left out of the softmax.
    """
    increases: dict[int, float] = {}
    for k in range(activation.shape[-1]):
        if np.ptp(activation[..., k]) == 0:
            continue
        mask = enlarged(activation[..., k], image.shape[:2])
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        increases[k] = float(score((image * mask[..., None])[None])[0] - baseline)
    total = sum(np.exp(v) for v in increases.values())
    weights = [np.exp(increases[k]) / total if k in increases else 0.0
               for k in range(activation.shape[-1])]  # fmt: skip
    return _weighted(activation, weights)


def enlarged(grid: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A map at the input's size, position by position."""
    return np.array(
        [[bilinear(grid, row, column, size) for column in range(size[1])] for row in range(size[0])]
    )
