"""The tiny models' forward passes in plain NumPy float64: slow, obvious, the oracle of the rest."""

import math
from collections.abc import Callable, Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]

BATCH_NORM_EPSILON = 1e-3
"""Keras's default, given to every framework."""

LAYER_NORM_EPSILON = 1e-5
"""PyTorch's default, given to every framework."""

HEADS = 2
"""Attention heads of `vit`."""

_erf = np.frompyfunc(math.erf, 1, 1)


class Pass:
    """One forward pass: weights in float64, and how near each sample came to a kink.

    `kink_distance` is `(n,)`: the smallest |pre-activation| of any ReLU and the smallest lead of
    a max-pool's winner. Where it is not tiny, the gradient is the same in every framework.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.kink_distance: np.ndarray | float = np.inf

    def dense(self, x: np.ndarray, layer: str) -> np.ndarray:
        """`(n, i) -> (n, o)`."""
        return x @ self.weights[f"{layer}/kernel"] + self.weights[f"{layer}/bias"]

    def conv(self, x: np.ndarray, layer: str) -> np.ndarray:
        """`(n, h, w, i) -> (n, h, w, o)`; odd kernel `(kh, kw, i, o)`, zeros around, stride 1."""
        kernel = self.weights[f"{layer}/kernel"]
        out = np.zeros((*x.shape[:3], kernel.shape[3]))
        for row, column, window in _windows(x, kernel.shape[:2]):
            out += window @ kernel[row, column]
        return out + self.weights[f"{layer}/bias"]

    def depthwise(self, x: np.ndarray, layer: str) -> np.ndarray:
        """`(n, h, w, i) -> (n, h, w, i·m)`; kernel `(kh, kw, i, m)`, the m of a channel adjoin."""
        kernel = self.weights[f"{layer}/kernel"]
        out = np.zeros((*x.shape, kernel.shape[3]))
        for row, column, window in _windows(x, kernel.shape[:2]):
            out += window[..., None] * kernel[row, column]
        return out.reshape(*x.shape[:3], -1) + self.weights[f"{layer}/bias"]

    def batch_norm(self, x: np.ndarray, layer: str) -> np.ndarray:
        """Normalise by the stored statistics, as at inference."""
        gamma, beta, mean, variance = (
            self.weights[f"{layer}/{part}"] for part in ("gamma", "beta", "mean", "variance")
        )
        return gamma * (x - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) + beta

    def layer_norm(self, x: np.ndarray, layer: str) -> np.ndarray:
        """Normalise the last axis of each token, `(n, t, c) -> (n, t, c)`."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        gamma, beta = self.weights[f"{layer}/gamma"], self.weights[f"{layer}/beta"]
        return gamma * centred / np.sqrt(variance + LAYER_NORM_EPSILON) + beta

    def attention(self, x: np.ndarray, block: str) -> np.ndarray:
        """Self-attention of HEADS heads, `(n, t, c) -> (n, t, c)` (Vaswani et al. 2017, 3.2)."""
        n, t, c = x.shape
        query, key, value = (
            self.dense(x, f"{block}_{part}").reshape(n, t, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        share = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]))
        joined = (share @ value).transpose(0, 2, 1, 3).reshape(n, t, c)
        return self.dense(joined, f"{block}_output")

    def relu(self, x: np.ndarray) -> np.ndarray:
        self._note_distance(np.abs(x))
        return np.maximum(x, 0.0)

    def gelu(self, x: np.ndarray) -> np.ndarray:
        """`x Φ(x)` with the exact error function (Hendrycks & Gimpel 2016)."""
        error_function = np.asarray(_erf(x / math.sqrt(2.0)), dtype=np.float64)
        return 0.5 * x * (1.0 + error_function)

    def average_pool(self, x: np.ndarray) -> np.ndarray:
        """`(n, h, w, c) -> (n, h/2, w/2, c)`, windows of 2 by 2."""
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))

    def patches(self, x: np.ndarray, layer: str) -> np.ndarray:
        """`(n, h, w, i) -> (n, tokens, o)`: a convolution with stride as large as its kernel."""
        kernel = self.weights[f"{layer}/kernel"]
        side, channels = kernel.shape[0], kernel.shape[3]
        n, h, w, c = x.shape
        cut = x.reshape(n, h // side, side, w // side, side, c).transpose(0, 1, 3, 2, 4, 5)
        flat = cut.reshape(n, -1, side * side * c)
        return flat @ kernel.reshape(-1, channels) + self.weights[f"{layer}/bias"]

    def max_pool(self, x: np.ndarray) -> np.ndarray:
        """`(n, h, w, c) -> (n, h/2, w/2, c)`, windows of 2 by 2."""
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
        ranked = np.sort(windows.reshape(n, h // 2, w // 2, c, 4), axis=-1)
        lead = ranked[..., -1] - ranked[..., -2]
        # A window of zeros is a tie of switched-off ReLUs: whoever wins passes no gradient.
        self._note_distance(np.where(ranked[..., -1] == 0.0, np.inf, lead))
        return ranked[..., -1]

    def _note_distance(self, distance: np.ndarray) -> None:
        nearest = distance.reshape(len(distance), -1).min(axis=1)
        self.kink_distance = np.minimum(self.kink_distance, nearest)


def _windows(x: np.ndarray, size: tuple[int, ...]):
    """Yield `(row, column, x shifted there)` for each position of a kernel, zeros outside."""
    (rows, columns), (_, h, w, _) = size, x.shape
    top, left = rows // 2, columns // 2
    padded = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    for row in range(rows):
        for column in range(columns):
            yield row, column, padded[:, row : row + h, column : column + w]


def _mean_of_positions(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=(1, 2))


def _dense(run: Pass, x: np.ndarray) -> np.ndarray:
    x = run.relu(run.dense(x, "hidden1"))
    x = run.relu(run.dense(x, "hidden2"))
    return run.dense(x, "head")


def _sigmoid(run: Pass, x: np.ndarray) -> np.ndarray:
    return run.dense(run.relu(run.dense(x, "hidden1")), "head")


def _cnn(run: Pass, x: np.ndarray) -> np.ndarray:
    x = run.max_pool(run.relu(run.conv(x, "conv1")))
    x = run.relu(run.conv(x, "conv2"))
    return run.dense(_mean_of_positions(x), "head")


def _cnn_functional(run: Pass, x: np.ndarray) -> np.ndarray:
    x = run.average_pool(run.relu(run.conv(x, "conv1")))
    x = run.relu(run.conv(x, "conv2"))
    x = run.relu(run.conv(x, "conv2"))  # the same layer, called again
    return run.dense(_mean_of_positions(x), "head")


def _residual(run: Pass, x: np.ndarray) -> np.ndarray:
    x = run.relu(run.batch_norm(run.conv(x, "conv1"), "norm1"))
    branch = run.batch_norm(run.conv(x, "conv2"), "norm2")
    return run.dense(_mean_of_positions(run.relu(x + branch)), "head")


def _depthwise(run: Pass, x: np.ndarray) -> np.ndarray:
    x = run.relu(run.depthwise(x, "depthwise"))
    x = run.relu(run.conv(x, "pointwise"))
    return run.dense(_mean_of_positions(x), "head")


def _shared(run: Pass, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    def encoder(x: np.ndarray) -> np.ndarray:
        return run.relu(run.dense(run.relu(run.dense(x, "encoder1")), "encoder2"))

    joined = np.concatenate([encoder(left), encoder(right)], axis=1)
    return run.dense(run.relu(run.dense(joined, "hidden")), "head")


def _two_inputs(run: Pass, image: np.ndarray, table: np.ndarray) -> np.ndarray:
    seen = _mean_of_positions(run.relu(run.conv(image, "conv")))
    read = run.relu(run.dense(table, "table"))
    joined = np.concatenate([seen, read], axis=1)
    return run.dense(run.relu(run.dense(joined, "hidden")), "head")


def _vit(run: Pass, x: np.ndarray) -> np.ndarray:
    tokens = run.patches(x, "patch")
    first = np.broadcast_to(run.weights["class_token/value"], (len(x), 1, tokens.shape[2]))
    tokens = np.concatenate([first, tokens], axis=1) + run.weights["position/value"]
    for block in ("block1", "block2"):
        tokens = tokens + run.attention(run.layer_norm(tokens, f"{block}_norm1"), block)
        hidden = run.gelu(run.dense(run.layer_norm(tokens, f"{block}_norm2"), f"{block}_mlp1"))
        tokens = tokens + run.dense(hidden, f"{block}_mlp2")
    return run.dense(run.layer_norm(tokens, "norm")[:, 0], "head")


FORWARDS: Mapping[str, Callable[..., np.ndarray]] = {
    "dense": _dense,
    "sigmoid": _sigmoid,
    "cnn": _cnn,
    "cnn_functional": _cnn_functional,
    "residual": _residual,
    "depthwise": _depthwise,
    "shared": _shared,
    "two_inputs": _two_inputs,
    "vit": _vit,
}
"""Logits `(n, classes)` of each architecture, from a `Pass` and its inputs."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function of each element."""
    return 1.0 / (1.0 + np.exp(-logits))
