"""Methods that change the backward pass, in slow NumPy: a tape of the tiny models, by the papers.

Every value on the tape knows its reference too, so that DeepLIFT's multipliers can be formed as
its authors do: going down from the score, m = Δy/Δx at what bends, weights at what does not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pellucid.testing.nodes import Node, send_back
from pellucid.testing.tiny_numpy import FORWARDS, HEADS, LAYER_NORM_EPSILON, Pass
from pellucid.testing.tiny_weights import ARCHITECTURES, weights_and_inputs


class Tape(Pass):
    """A pass over nodes. `rule` is "rescale" (DeepLIFT), "gradient", "guided" or "deconvnet"."""

    def __init__(self, weights: Any, rule: str) -> None:
        super().__init__(weights)
        self.rule = rule

    def dense(self, x: Any, layer: str) -> Any:
        kernel, bias = self.weights[f"{layer}/kernel"], self.weights[f"{layer}/bias"]
        return x.linear(lambda v: v @ kernel + bias, lambda m: m @ kernel.T)

    def conv(self, x: Any, layer: str) -> Any:
        kernel = self.weights[f"{layer}/kernel"]

        def back(m: np.ndarray) -> np.ndarray:
            return _turned(m, kernel.shape[:2], lambda a, r, c: a @ kernel[r, c].T)

        return x.linear(lambda v: Pass.conv(self, v, layer), back)

    def depthwise(self, x: Any, layer: str) -> Any:
        kernel = self.weights[f"{layer}/kernel"]

        def back(m: np.ndarray) -> np.ndarray:
            apart = m.reshape(*m.shape[:3], *kernel.shape[2:])
            return _turned(apart, kernel.shape[:2], lambda a, r, c: (a * kernel[r, c]).sum(axis=-1))

        return x.linear(lambda v: Pass.depthwise(self, v, layer), back)

    def batch_norm(self, x: Any, layer: str) -> Any:
        unit = np.ones((1, x.shape[-1]))
        slope = Pass.batch_norm(self, unit, layer) - Pass.batch_norm(self, 0 * unit, layer)
        return x.linear(lambda v: Pass.batch_norm(self, v, layer), lambda m: m * slope[0])

    def average_pool(self, x: Any) -> Any:
        def back(m: np.ndarray) -> np.ndarray:
            return m.repeat(2, axis=1).repeat(2, axis=2) / 4

        return x.linear(lambda v: Pass.average_pool(self, v), back)

    def patches(self, x: Any, layer: str) -> Any:
        kernel = self.weights[f"{layer}/kernel"]
        side, channels = kernel.shape[0], kernel.shape[3]
        n, h, w, c = x.shape

        def back(m: np.ndarray) -> np.ndarray:
            flat = m @ kernel.reshape(-1, channels).T
            cut = flat.reshape(n, h // side, w // side, side, side, c)
            return cut.transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)

        return x.linear(lambda v: Pass.patches(self, v, layer), back)

    def relu(self, x: Any) -> Any:
        def back(m: np.ndarray) -> tuple[np.ndarray, ...]:
            if self.rule == "deconvnet":
                return (np.maximum(m, 0),)
            if self.rule == "guided":
                return (np.maximum(m, 0) * (x.value > 0),)
            return (m * self._slope(lambda v: np.maximum(v, 0), x, (x.value > 0).astype(float)),)

        return Node(np.maximum(x.value, 0), np.maximum(x.reference, 0), [x], back)

    def gelu(self, x: Any) -> Any:
        slope = self._slope(self._gelu, x, _central(self._gelu, x.value))
        return Node(self._gelu(x.value), self._gelu(x.reference), [x], lambda m: (m * slope,))

    def _gelu(self, v: np.ndarray) -> np.ndarray:
        return Pass.gelu(self, v)

    def _slope(self, function: Any, x: Node, derivative: np.ndarray) -> np.ndarray:
        """Δy/Δx, or the derivative where nothing changes or the rule is another."""
        if self.rule != "rescale":
            return derivative
        still = np.abs(x.change) < 1e-9
        ratio = (function(x.value) - function(x.reference)) / np.where(still, 1, x.change)
        return np.where(still, derivative, ratio)

    def max_pool(self, x: Any) -> Any:
        now, before = _winners(x.value), _winners(x.reference)
        value, reference = Pass.max_pool(self, x.value), Pass.max_pool(self, x.reference)

        def back(m: np.ndarray) -> tuple[np.ndarray, ...]:
            if self.rule != "rescale":
                return (_spread(m) * now,)
            change = value - reference
            winner = np.where(_spread(change) >= 0, now, before)
            still = np.abs(x.change) < 1e-9
            shared = _spread(m * change) * winner / np.where(still, 1, x.change)
            # A winner that stands still made no output fall: that was its earlier winner's doing.
            whole = _spread(m * (np.abs(change) < 1e-9)) * now
            return (np.where(still, whole, shared),)

        return Node(value, reference, [x], back)

    def layer_norm(self, x: Any, layer: str) -> Any:
        gamma, beta = self.weights[f"{layer}/gamma"], self.weights[f"{layer}/beta"]
        d = x.linear(_centred, _centred)
        square = self.product(lambda p, q: p * q, d, d, lambda m, q: m * q, lambda m, p: m * p)
        size = x.shape[-1]
        variance = square.linear(
            lambda v: v.mean(axis=-1, keepdims=True), lambda m: np.repeat(m, size, axis=-1) / size
        )
        inverse = self.bent(lambda v: 1 / np.sqrt(v + LAYER_NORM_EPSILON), variance)
        normed = self.product(
            lambda p, q: p * q, d, inverse,
            lambda m, q: m * q, lambda m, p: (m * p).sum(axis=-1, keepdims=True),
        )  # fmt: skip
        return normed.linear(lambda v: v * gamma + beta, lambda m: m * gamma)

    def attention(self, x: Any, block: str) -> Any:
        n, t, c = x.shape

        def apart(v: np.ndarray) -> np.ndarray:
            return v.reshape(n, t, HEADS, -1).transpose(0, 2, 1, 3)

        def joined(v: np.ndarray) -> np.ndarray:
            return v.transpose(0, 2, 1, 3).reshape(n, t, c)

        query, key, value = (
            self.dense(x, f"{block}_{part}").linear(apart, joined)
            for part in ("query", "key", "value")
        )
        scale = 1 / np.sqrt(query.shape[-1])
        scores = self.product(
            lambda q, k: q @ k.transpose(0, 1, 3, 2) * scale, query, key,
            lambda m, k: m @ k * scale, lambda m, q: m.transpose(0, 1, 3, 2) @ q * scale,
        )  # fmt: skip
        share = self.softmax(scores)
        mixed = self.product(
            lambda s, v: s @ v, share, value,
            lambda m, v: m @ v.transpose(0, 1, 3, 2), lambda m, s: s.transpose(0, 1, 3, 2) @ m,
        )  # fmt: skip
        return self.dense(mixed.linear(joined, apart), f"{block}_output")

    def softmax(self, scores: Node) -> Node:
        """exp(x − ln Σ exp(x)), the rescale rule at each exponential and at the logarithm."""
        top = np.maximum(scores.value, scores.reference).max(axis=-1, keepdims=True)
        length = scores.shape[-1]
        total = self.bent(lambda v: np.exp(v - top), scores).linear(
            lambda v: v.sum(axis=-1, keepdims=True), lambda m: np.repeat(m, length, axis=-1)
        )
        slope = self._slope(np.log, total, 1 / total.value)
        logarithm = Node(
            -np.log(total.value) - top, -np.log(total.reference) - top, [total],
            lambda m: (-m * slope,),
        ).linear(
            lambda v: np.repeat(v, length, axis=-1), lambda m: m.sum(axis=-1, keepdims=True)
        )  # fmt: skip
        return self.bent(np.exp, scores + logarithm)

    def bent(self, function: Callable[[np.ndarray], np.ndarray], x: Node) -> Node:
        """A function of single numbers: Δy/Δx, or the derivative."""
        slope = self._slope(function, x, _central(function, x.value))
        return Node(function(x.value), function(x.reference), [x], lambda m: (m * slope,))

    def product(self, function: Any, a: Node, b: Node, to_a: Any, to_b: Any) -> Node:
        """Each factor's multiplier is the other's mean over input and reference, or its value."""

        def middle(node: Node) -> np.ndarray:
            return (node.value + node.reference) / 2 if self.rule == "rescale" else node.value

        return Node(
            function(a.value, b.value), function(a.reference, b.reference), [a, b],
            lambda m: (to_a(m, middle(b)), to_b(m, middle(a))),
        )  # fmt: skip


def multipliers(
    name: str,
    x: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    targets: np.ndarray,
    rule: str,
) -> tuple[np.ndarray, ...]:
    """What reaches each input of a tiny model from its target's logit, under a rule, float64."""
    architecture = ARCHITECTURES[name]
    tape = Tape(weights_and_inputs(architecture, 0)[0], rule)
    leaves = [Node(a.astype(float), b.astype(float)) for a, b in zip(x, baseline, strict=True)]
    output: Any = FORWARDS[architecture](tape, *leaves)
    send_back(output, np.eye(output.shape[1])[targets])
    return tuple(leaf.total for leaf in leaves)


def deeplift(
    name: str, x: Sequence[np.ndarray], baseline: Sequence[np.ndarray], targets: np.ndarray
) -> tuple[np.ndarray, ...]:
    """DeepLIFT's attributions (Shrikumar et al. 2017, eq. 3 to 5, 12) of a tiny model."""
    found = multipliers(name, x, baseline, targets, "rescale")
    return tuple((a - b) * m for a, b, m in zip(x, baseline, found, strict=True))


def _turned(m: np.ndarray, size: tuple[int, ...], back: Any) -> np.ndarray:
    """The transpose of a convolution with zeros around and stride 1."""
    rows, columns = size
    top, left = rows // 2, columns // 2
    n, h, w = m.shape[:3]
    made = back(m, 0, 0)
    whole = np.zeros((n, h + 2 * top, w + 2 * left, made.shape[-1]))
    for row in range(rows):
        for column in range(columns):
            whole[:, row : row + h, column : column + w] += back(m, row, column)
    return whole[:, top : top + h, left : left + w]


def _spread(m: np.ndarray) -> np.ndarray:
    return m.repeat(2, axis=1).repeat(2, axis=2)


def _winners(x: np.ndarray) -> np.ndarray:
    """1 at the first largest value of each 2 by 2 window, elsewhere 0."""
    n, h, w, c = x.shape
    windows = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
    flat = windows.reshape(*windows.shape[:4], 4)
    chosen = np.eye(4)[flat.argmax(axis=-1)].reshape(windows.shape)
    return chosen.transpose(0, 1, 4, 2, 5, 3).reshape(n, h, w, c)


def _centred(v: np.ndarray) -> np.ndarray:
    return v - v.mean(axis=-1, keepdims=True)


def _central(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """The derivative by central differences."""
    step = 1e-5 * np.maximum(np.abs(x), 1e-3)
    return (function(x + step) - function(x - step)) / (2 * step)
