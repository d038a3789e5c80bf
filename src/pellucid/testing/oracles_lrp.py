"""Layer-wise relevance propagation of the tiny models in slow NumPy float64, by the papers.

Relevance itself goes down, R of a value to R of what it was made from, layer by layer: no
derivative is taken anywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.testing.handed_down import EPSILON, MARGIN, Layer, Linear, Value, away, over
from pellucid.testing.tiny_numpy import FORWARDS, HEADS, LAYER_NORM_EPSILON, Pass, _erf
from pellucid.testing.tiny_weights import ARCHITECTURES, weights_and_inputs


class Descent(Pass):
    """A pass over values, whose layers share relevance out by the rules of a composite."""

    def __init__(self, weights: Any, rules: Mapping[str, str], *, bias: bool = True) -> None:
        super().__init__(weights)
        self.rules, self.bias = rules, bias

    def _made(self, layer: Layer) -> Value:
        def back(r: np.ndarray) -> tuple[np.ndarray]:
            return (layer.share(self._rule(layer), r, bias=self.bias),)

        made = Value(layer.forward(layer.x.value, layer.w) + layer.b, [layer.x], back)
        made.layer = layer
        return made

    def _rule(self, layer: Layer) -> str:
        first = not layer.x.parents
        for kind, rule in self.rules.items():
            if kind in {layer.kind, "linear"} or (kind == "first" and first):
                return rule
        return "epsilon"

    def dense(self, x: Any, layer: str) -> Any:
        kernel, bias = self.weights[f"{layer}/kernel"], self.weights[f"{layer}/bias"]
        kind = "head" if layer == "head" and "head" in self.rules else "dense"
        return self._made(Layer(x, lambda v, w: v @ w, lambda r, w: r @ w.T, kernel, bias, kind))

    def conv(self, x: Any, layer: str) -> Any:
        return self._window(x, layer, lambda v, w: np.einsum("nhwi,io->nhwo", v, w))

    def depthwise(self, x: Any, layer: str) -> Any:
        def forward(v: np.ndarray, w: np.ndarray) -> np.ndarray:
            return (v[..., None] * w).reshape(*v.shape[:3], -1)

        return self._window(x, layer, forward)

    def _window(self, x: Any, layer: str, at: Linear) -> Any:
        """A convolution with zeros around; `at` does what one position of the kernel does."""
        kernel, bias = self.weights[f"{layer}/kernel"], self.weights[f"{layer}/bias"]
        rows, columns = kernel.shape[:2]
        h, w = x.shape[1:3]
        around = ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0))

        def forward(v: np.ndarray, k: np.ndarray) -> np.ndarray:
            padded = np.pad(v, around)
            return sum(
                at(padded[:, i : i + h, j : j + w], k[i, j])
                for i in range(rows)
                for j in range(columns)
            )  # type: ignore[return-value]

        def turned(r: np.ndarray, k: np.ndarray) -> np.ndarray:
            whole = np.zeros((len(r), h + rows - 1, w + columns - 1, x.shape[3]))
            for i in range(rows):
                for j in range(columns):
                    part = _transposed(at, r, k[i, j], x.shape[3])
                    whole[:, i : i + h, j : j + w] += part
            return whole[:, rows // 2 : rows // 2 + h, columns // 2 : columns // 2 + w]

        return self._made(Layer(x, forward, turned, kernel, bias, "convolution"))

    def patches(self, x: Any, layer: str) -> Any:
        kernel = self.weights[f"{layer}/kernel"]
        side, channels = kernel.shape[0], kernel.shape[3]
        n, h, w, c = x.shape

        def forward(v: np.ndarray, k: np.ndarray) -> np.ndarray:
            cut = v.reshape(n, h // side, side, w // side, side, c).transpose(0, 1, 3, 2, 4, 5)
            return cut.reshape(n, -1, side * side * c) @ k.reshape(-1, channels)

        def turned(r: np.ndarray, k: np.ndarray) -> np.ndarray:
            cut = (r @ k.reshape(-1, channels).T).reshape(n, h // side, w // side, side, side, c)
            return cut.transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)

        bias = self.weights[f"{layer}/bias"]
        return self._made(Layer(x, forward, turned, kernel, bias, "convolution"))

    def batch_norm(self, x: Any, layer: str) -> Any:
        """Merged into the layer before: w s, b s + t."""
        unit = np.ones((1, x.shape[-1]))
        (shift,) = Pass.batch_norm(self, 0 * unit, layer)
        scale = Pass.batch_norm(self, unit, layer)[0] - shift
        before = x.layer
        return self._made(
            Layer(
                before.x, before.forward, before.turned, before.w * scale,
                before.b * scale + shift, before.kind,
            )
        )  # fmt: skip

    def relu(self, x: Any) -> Any:
        return Value(np.maximum(x.value, 0), [x], lambda r: (r,))

    def gelu(self, x: Any) -> Any:
        value = 0.5 * x.value * (1 + np.asarray(_erf(x.value / np.sqrt(2.0)), dtype=float))
        return Value(value, [x], lambda r: (r,))

    def average_pool(self, x: Any) -> Any:
        def spread(v: np.ndarray) -> np.ndarray:
            return v.repeat(2, axis=1).repeat(2, axis=2)

        pooled = Pass.average_pool(self, x.value)
        return Value(pooled, [x], lambda r: (over(x.value, spread(4 * pooled)) * spread(r),))

    def max_pool(self, x: Any) -> Any:
        pooled = Pass.max_pool(self, x.value)

        def back(r: np.ndarray) -> tuple[np.ndarray]:
            spread = [v.repeat(2, axis=1).repeat(2, axis=2) for v in (r, pooled)]
            return (spread[0] * (x.value == spread[1]) * (x.value > 0),)

        return Value(pooled, [x], back)

    def layer_norm(self, x: Any, layer: str) -> Any:
        gamma, beta = self.weights[f"{layer}/gamma"], self.weights[f"{layer}/beta"]
        centred = x.value - x.value.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
        value = gamma * centred / scale + beta

        def back(r: np.ndarray) -> tuple[np.ndarray]:
            ratio = over(over(gamma * centred / scale, value) * r, centred)
            return (x.value * (ratio - ratio.mean(axis=-1, keepdims=True)),)

        return Value(value, [x], back)

    def attention(self, x: Any, block: str) -> Any:
        n, t, c = x.shape

        def apart(v: np.ndarray) -> np.ndarray:
            return v.reshape(n, t, HEADS, -1).transpose(0, 2, 1, 3)

        def joined(v: np.ndarray) -> np.ndarray:
            return v.transpose(0, 2, 1, 3).reshape(n, t, c)

        query, key, value = (
            self.dense(x, f"{block}_{part}").moved(apart, joined)
            for part in ("query", "key", "value")
        )
        keys = key.moved(lambda v: v.transpose(0, 1, 3, 2), lambda r: r.transpose(0, 1, 3, 2))
        product = _halves(query, keys)
        scores = product.value / np.sqrt(query.shape[-1])
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        share = powers / powers.sum(axis=-1, keepdims=True)
        softmax = Value(
            share, [product],
            lambda r: (scores * (r - share * r.sum(axis=-1, keepdims=True)),),
        )  # fmt: skip
        return self.dense(_halves(softmax, value).moved(joined, apart), f"{block}_output")


def _halves(a: Value, b: Value) -> Value:
    """A product of matrices, whose relevance goes to both by halves (AttnLRP, eq. 15)."""
    z = a.value @ b.value

    def back(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = r / (2 * away(z, z))
        return (
            a.value * (s @ b.value.swapaxes(-1, -2)),
            b.value * (a.value.swapaxes(-1, -2) @ s),
        )

    return Value(z, [a, b], back)


def _transposed(at: Linear, r: np.ndarray, k: np.ndarray, channels: int) -> np.ndarray:
    """The transpose of a linear map of channels, column by column."""
    columns = [at(np.eye(channels)[i].reshape(1, 1, 1, -1), k)[0, 0, 0] for i in range(channels)]
    return r @ np.stack(columns).T


def relevance(
    name: str,
    x: Sequence[np.ndarray],
    targets: np.ndarray,
    rules: Mapping[str, str],
    *,
    bias: bool = True,
    whole: bool = False,
    epsilon: float = EPSILON,
) -> tuple[np.ndarray, ...]:
    """The relevance of each input of a tiny model; `whole` starts from 1, not from the logit."""
    before = MARGIN.set(epsilon)
    try:
        return _handed_down(name, x, targets, rules, bias=bias, whole=whole)
    finally:
        MARGIN.reset(before)


def _handed_down(
    name: str,
    x: Sequence[np.ndarray],
    targets: np.ndarray,
    rules: Mapping[str, str],
    *,
    bias: bool,
    whole: bool,
) -> tuple[np.ndarray, ...]:
    architecture = ARCHITECTURES[name]
    descent = Descent(weights_and_inputs(architecture, 0)[0], rules, bias=bias)
    return handed_down(descent, FORWARDS[architecture], x, targets, whole=whole)


def handed_down(
    descent: Descent,
    forward: Any,
    x: Sequence[np.ndarray],
    targets: np.ndarray,
    *,
    whole: bool = False,
) -> tuple[np.ndarray, ...]:
    """The relevance of each input of `forward(descent, *x)`, which returns logits."""
    leaves = [Value(a.astype(float)) for a in x]
    output: Any = forward(descent, *leaves)
    output.relevance = np.eye(output.shape[1])[targets] * (1.0 if whole else output.value)
    for value in reversed(_in_order(output)):
        if value.back is not None:
            for parent, part in zip(value.parents, value.back(value.relevance), strict=True):
                parent.relevance = parent.relevance + part
    return tuple(leaf.relevance for leaf in leaves)


def _in_order(output: Value) -> list[Value]:
    order: list[Value] = []
    seen: set[int] = set()

    def visit(value: Value) -> None:
        if id(value) not in seen:
            seen.add(id(value))
            for parent in value.parents:
                visit(parent)
            order.append(value)

    visit(output)
    return order
