"""DeepLIFT with RevealCancel on the tiny models in slow NumPy float64, as its paper writes it.

Every sum of a layer knows Δx⁺ and Δx⁻, and its multipliers are told apart: what reaches the score
through the one and through the other (Shrikumar et al. 2017, sections 3.5.1 and 3.5.2).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pellucid.testing.handed_down import Layer
from pellucid.testing.nodes import Node, in_order
from pellucid.testing.oracles_backward import Tape, _central
from pellucid.testing.oracles_lrp import Descent
from pellucid.testing.tiny_numpy import FORWARDS
from pellucid.testing.tiny_weights import ARCHITECTURES, weights_and_inputs


class Told(Node):
    """A sum of products: `up` and `down` are what raises it and what lowers it."""

    def __init__(
        self,
        value: np.ndarray,
        reference: np.ndarray,
        parents: Sequence[Node],
        back: Any,
        parts: tuple[np.ndarray, np.ndarray],
    ) -> None:
        super().__init__(value, reference, parents, back)
        self.up, self.down = parts
        self.of_up, self.of_down = np.zeros_like(value), np.zeros_like(value)
        self.layer: Layer | None = None

    def __add__(self, other: Any) -> Node:
        return _joined(self, other) if isinstance(other, Node) else super().__add__(other)


def _joined(a: Node, b: Node) -> Told:
    """A residual addition: one sum of what both are sums of."""
    parts = [(n.up, n.down) if isinstance(n, Told) else _apart(n.change) for n in (a, b)]
    whole = parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
    return Told(a.value + b.value, a.reference + b.reference, [a, b], lambda m: (m, m), whole)


def _apart(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(change, 0), np.minimum(change, 0)


class Plain(Node):
    """A value that is no sum of a layer, which may be added to one."""

    def __add__(self, other: Any) -> Node:
        return _joined(self, other) if isinstance(other, Told) else super().__add__(other)


class Reveal(Tape):
    """A pass over nodes, whose layers tell their sums apart."""

    _window: Any = Descent._window
    dense: Any = Descent.dense
    conv: Any = Descent.conv
    depthwise: Any = Descent.depthwise
    patches: Any = Descent.patches
    batch_norm: Any = Descent.batch_norm

    def __init__(self, weights: Any) -> None:
        super().__init__(weights, "rescale")
        self.rules: dict[str, str] = {}

    def _made(self, layer: Layer) -> Told:
        x: Any = layer.x
        f, turned, w = layer.forward, layer.turned, layer.w
        raising, lowering = np.maximum(w, 0), np.minimum(w, 0)
        above, below = _apart(x.change)

        def back(m: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray]:
            of_up, of_down = m
            risen = turned(of_up, raising) + turned(of_down, lowering)
            fallen = turned(of_down, raising) + turned(of_up, lowering)
            still = 0.5 * (risen + fallen)
            return (np.where(x.change > 0, risen, np.where(x.change < 0, fallen, still)),)

        parts = f(above, raising) + f(below, lowering), f(above, lowering) + f(below, raising)
        made = Told(f(x.value, w) + layer.b, f(x.reference, w) + layer.b, [x], back, parts)
        made.layer = layer
        return made

    def relu(self, x: Any) -> Any:
        return self._cancelling(lambda v: np.maximum(v, 0), lambda v: (v > 0).astype(float), x)

    def gelu(self, x: Any) -> Any:
        return self._cancelling(self._gelu, lambda v: _central(self._gelu, v), x)

    def _cancelling(
        self,
        f: Callable[[np.ndarray], np.ndarray],
        derivative: Callable[[np.ndarray], np.ndarray],
        x: Any,
    ) -> Node:
        if not isinstance(x, Told):
            slope = self._slope(f, x, derivative(x.value))
            return Plain(f(x.value), f(x.reference), [x], lambda m: (m * slope,))
        start, up, down = x.reference, x.up, x.down

        def multiplier(own: np.ndarray, other: np.ndarray) -> np.ndarray:
            alone, last = f(start + own) - f(start), f(start + other + own) - f(start + other)
            limit = derivative(start) + derivative(start + other)
            still = np.abs(own) < 1e-12
            return 0.5 * np.where(still, limit, (alone + last) / np.where(still, 1, own))

        of_up, of_down = multiplier(up, down), multiplier(down, up)
        return Plain(
            f(x.value), f(x.reference), [x], lambda m: ((m * of_up, m * of_down),),
        )  # fmt: skip


def reveal_cancel(
    name: str, x: Sequence[np.ndarray], baseline: Sequence[np.ndarray], targets: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The attributions of a tiny model's target logits."""
    architecture = ARCHITECTURES[name]
    tape = Reveal(weights_and_inputs(architecture, 0)[0])
    leaves = [Plain(a.astype(float), b.astype(float)) for a, b in zip(x, baseline, strict=True)]
    output: Any = FORWARDS[architecture](tape, *leaves)
    _give(output, np.eye(output.shape[1])[targets])
    for node in reversed(in_order(output)):
        if node.back is not None:
            m: Any = (node.of_up, node.of_down) if isinstance(node, Told) else node.total
            for parent, part in zip(node.parents, node.back(m), strict=True):
                _give(parent, part)
    return tuple(leaf.change * leaf.total for leaf in leaves)


def _give(node: Node, part: Any) -> None:
    """A multiplier, or one for what raises and one for what lowers the node."""
    of_up, of_down = part if isinstance(part, tuple) else (part, part)
    if isinstance(node, Told):
        node.of_up, node.of_down = node.of_up + of_up, node.of_down + of_down
    else:
        mean = 0.5 * (of_up + of_down)
        chosen = np.where(node.change > 0, of_up, np.where(node.change < 0, of_down, mean))
        node.total = node.total + chosen
