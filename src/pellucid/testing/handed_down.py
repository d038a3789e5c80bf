"""Values that hand their relevance down, and layers that share it out: see `oracles_lrp`."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

EPSILON = 1e-6
MARGIN = ContextVar("MARGIN", default=EPSILON)
"""ε of the relevance that is handed down now."""

BOUNDS = (-4.0, 4.0)

Linear = Callable[[np.ndarray, np.ndarray], np.ndarray]


def over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The quotient a / b, and 0 where b is 0."""
    return np.where(b == 0, 0.0, a / np.where(b == 0, 1.0, b))


def away(d: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The denominator moved away from zero by ε of each sample's largest |z|."""
    margin = MARGIN.get() * np.abs(z).max(axis=tuple(range(1, z.ndim)), keepdims=True)
    return d + np.where(d >= 0, margin, -margin)


class Value:
    """A value, and how its relevance reaches what it was made from."""

    def __init__(
        self, value: np.ndarray, parents: Sequence["Value"] = (), back: Any = None
    ) -> None:
        self.value, self.parents, self.back = value, tuple(parents), back
        self.relevance = np.zeros_like(value)
        self.layer: Layer | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __len__(self) -> int:
        return len(self.value)

    def __add__(self, other: Any) -> "Value":
        if isinstance(other, Value):
            z = self.value + other.value
            return Value(
                z, [self, other], lambda r: (over(self.value, z) * r, over(other.value, z) * r)
            )
        z = self.value + other
        return Value(z, [self], lambda r: (over(self.value, z) * r,))

    __radd__ = __add__

    def mean(self, axis: tuple[int, ...]) -> "Value":
        total = self.value.sum(axis=axis, keepdims=True)
        return Value(
            self.value.mean(axis=axis),
            [self],
            lambda r: (over(self.value, total) * np.expand_dims(r, axis),),
        )

    def moved(self, there: Any, back: Any) -> "Value":
        return Value(there(self.value), [self], lambda r: (back(r),))

    def __getitem__(self, key: Any) -> "Value":
        def back(r: np.ndarray) -> np.ndarray:
            whole = np.zeros_like(self.value)
            whole[key] = r
            return whole

        return self.moved(lambda v: v[key], back)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> "Value":
        """`np.concatenate`, the only function that the tiny models apply to values."""
        assert func is np.concatenate
        (parts,), axis = args, kwargs["axis"]
        values = [p.value if isinstance(p, Value) else p for p in parts]
        ends = np.cumsum([v.shape[axis] for v in values])[:-1]
        live = [i for i, p in enumerate(parts) if isinstance(p, Value)]
        return Value(
            np.concatenate(values, axis),
            [parts[i] for i in live],
            lambda r: tuple(np.split(r, ends, axis)[i] for i in live),
        )


class Layer:
    """A layer with weights: z = f(x, w) + b, and `turned(r, w)`, its transpose."""

    def __init__(
        self, x: Value, forward: Linear, turned: Linear, w: np.ndarray, b: np.ndarray, kind: str
    ) -> None:
        self.x, self.forward, self.turned = x, forward, turned
        self.w, self.b, self.kind = w, b, kind

    def share(self, rule: str, r: np.ndarray, *, bias: bool = True) -> np.ndarray:
        """The relevance of the input under a rule (Montavon et al. 2019, table 10.1)."""
        name, _, numbers = rule.partition(":")
        given = [float(n) for n in numbers.split(",") if n]
        x, w, b, f, turned = self.x.value, self.w, self.b * bias, self.forward, self.turned
        z = f(x, w) + self.b
        if name == "epsilon":
            return x * turned(r / away(z, z), w)
        if name == "norm":
            return x * turned(r / away(f(x, w), f(x, w)), w)
        if name in {"flat", "w_square"}:
            weights = np.ones_like(w) if name == "flat" else w * w
            total = f(np.ones_like(x), weights)
            return turned(r / away(total, total), weights)
        up, down = np.maximum(w, 0), np.minimum(w, 0)
        if name == "box":
            low, high = BOUNDS
            total = f(x, w) - f(0 * x + low, up) - f(0 * x + high, down)
            s = r / away(total, total)
            return x * turned(s, w) - low * turned(s, up) - high * turned(s, down)
        above, below = np.maximum(x, 0), np.minimum(x, 0)
        p = f(above, up) + f(below, down) + np.maximum(b, 0)
        n = f(above, down) + f(below, up) + np.minimum(b, 0)
        if name == "gamma":
            (gamma,) = given
            positive = r * (z >= 0) / away(z + gamma * p, z)
            negative = r * (z < 0) / away(z + gamma * n, z)
            return (
                x * turned(positive + negative, w)
                + gamma * (above * turned(positive, up) + below * turned(positive, down))
                + gamma * (above * turned(negative, down) + below * turned(negative, up))
            )
        alpha, beta = {"z_plus": (1.0, 0.0), "contrast": (1.0, 1.0)}.get(name) or given
        margin = MARGIN.get() * np.abs(z).max(axis=tuple(range(1, z.ndim)), keepdims=True)
        s, t = alpha * r / (p + margin), beta * r / (n - margin)
        favoured = above * turned(s, up) + below * turned(s, down)
        return favoured - above * turned(t, down) - below * turned(t, up)
