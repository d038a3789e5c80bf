"""Networks whose weights are set by hand, in NumPy with their gradient, and in torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Activation = Literal["", "relu", "square"]

_FORWARD: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "square": lambda z: z * z,
}
_SLOPE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": np.ones_like,
    "relu": lambda z: (z > 0).astype(np.float64),
    "square": lambda z: 2 * z,
}


@dataclass(frozen=True, eq=False)
class Dense:
    """`activation(x @ weight + bias)` of flattened rows; weight `(i, o)`, bias `(o,)`."""

    weight: np.ndarray
    bias: np.ndarray
    activation: Activation = ""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1) @ self.weight + self.bias

    def backward(self, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        return (cotangent @ self.weight.T).reshape(x.shape)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A filter `kernel (h, w, i, o)` of odd sides over pictures `(n, h, w, i)`, zeros around."""

    kernel: np.ndarray
    bias: np.ndarray
    activation: Activation = ""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return _slid(x, self.kernel) + self.bias

    def backward(self, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        return _slid(cotangent, self.kernel[::-1, ::-1].transpose(0, 1, 3, 2))


@dataclass(frozen=True, eq=False)
class Lookup:
    """What stands in `table (words, features)` for each word's number, `(n, t)` to `(n, t, f)`."""

    table: np.ndarray
    activation: Activation = ""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.table[x.astype(int)]

    def backward(self, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        return np.zeros(x.shape)


Layer = Dense | Convolution | Lookup


@dataclass(frozen=True, eq=False)
class HandSet:
    """Layers one after the other: a NumPy function of a batch, pictures with channels last.

    >>> double = HandSet([Dense(np.array([[2.0]]), np.zeros(1))])
    >>> double(np.ones((1, 1))), double.gradient(np.ones((1, 1)))
    (array([[2.]]), array([[2.]]))
    """

    layers: Sequence[Layer]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs `(n, o)`, float64."""
        return self._run(x)[-1][1]

    def gradient(self, x: np.ndarray, output: int = 0) -> np.ndarray:
        """∂ f_output / ∂x, of the shape of `x`; the slope of a ReLU at 0 is 0."""
        steps = self._run(x)
        cotangent = np.zeros_like(steps[-1][1])
        cotangent[:, output] = 1
        for layer, (given, _, before) in zip(self.layers[::-1], steps[::-1], strict=True):
            cotangent = layer.backward(given, cotangent * _SLOPE[layer.activation](before))
        return cotangent

    def build(self, framework: str) -> Any:
        """The same network in "torch" (pictures with channels first), or itself for "numpy"."""
        if framework == "numpy":
            return self
        from pellucid.testing.known.network_torch import build

        return build(self)

    def _run(self, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each layer: what it was given, what it returned, and that before its activation."""
        steps, value = [], np.asarray(x)
        for layer in self.layers:
            given = value if isinstance(layer, Lookup) else value.astype(np.float64)
            before = layer.forward(given)
            value = _FORWARD[layer.activation](before)
            steps.append((given, value, before))
        return steps


def _slid(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    rows, columns = kernel.shape[:2]
    around = ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0))
    views = np.lib.stride_tricks.sliding_window_view(np.pad(x, around), (rows, columns), (1, 2))
    return np.einsum("nhwirc,rcio->nhwo", views, kernel)
