"""Values with a reference, on a tape in slow NumPy: see `oracles_backward`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Node:
    """A value and its reference, and how a multiplier of it reaches what it was made from."""

    def __init__(
        self,
        value: np.ndarray,
        reference: np.ndarray,
        parents: Sequence["Node"] = (),
        back: Any = None,
    ) -> None:
        self.value, self.reference = value, reference
        self.parents, self.back = tuple(parents), back
        self.total = np.zeros_like(value)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __len__(self) -> int:
        return len(self.value)

    @property
    def change(self) -> np.ndarray:
        return self.value - self.reference

    def linear(
        self, function: Callable[[np.ndarray], np.ndarray], back: Callable[..., Any]
    ) -> "Node":
        return Node(function(self.value), function(self.reference), [self], lambda m: (back(m),))

    def __add__(self, other: Any) -> "Node":
        if not isinstance(other, Node):
            return self.linear(lambda v: v + other, lambda m: m)
        return Node(
            self.value + other.value, self.reference + other.reference, [self, other],
            lambda m: (m, m),
        )  # fmt: skip

    __radd__ = __add__

    def mean(self, axis: tuple[int, ...]) -> "Node":
        size = np.prod([self.shape[a] for a in axis])
        shape = self.shape
        return self.linear(
            lambda v: v.mean(axis=axis),
            lambda m: np.broadcast_to(np.expand_dims(m, axis), shape) / size,
        )

    def __getitem__(self, key: Any) -> "Node":
        def back(m: np.ndarray) -> np.ndarray:
            whole = np.zeros_like(self.value)
            whole[key] = m
            return whole

        return self.linear(lambda v: v[key], back)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> "Node":
        """`np.concatenate`, the only function that the tiny models apply to values."""
        assert func is np.concatenate
        (parts,), axis = args, kwargs["axis"]
        values = [p.value if isinstance(p, Node) else p for p in parts]
        references = [p.reference if isinstance(p, Node) else p for p in parts]
        ends = np.cumsum([v.shape[axis] for v in values])[:-1]
        live = [i for i, p in enumerate(parts) if isinstance(p, Node)]
        return Node(
            np.concatenate(values, axis), np.concatenate(references, axis),
            [parts[i] for i in live],
            lambda m: tuple(np.split(m, ends, axis)[i] for i in live),
        )  # fmt: skip


def in_order(output: Node) -> list[Node]:
    """Parents before what is made from them."""
    order: list[Node] = []
    seen: set[int] = set()

    def visit(node: Node) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(output)
    return order


def send_back(output: Node, multiplier: np.ndarray) -> None:
    """Give every node below `output` the multiplier that reaches it, as `total`."""
    output.total = multiplier
    for node in reversed(in_order(output)):
        if node.back is not None:
            for parent, part in zip(node.parents, node.back(node.total), strict=True):
                parent.total = parent.total + part
