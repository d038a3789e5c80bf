"""Where the nodes of a small tree stand: its root at the left, and no two cards on each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GAP = 12.0
_BETWEEN = 64.0


@dataclass(frozen=True)
class Place:
    """The card of one node, in pixels from the top left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        return self.x + self.width


Sizes = Callable[[Any], tuple[float, float]]


def placed(nodes: Sequence[Any], size_of: Sizes) -> list[Place]:
    """The places of all nodes; a level has one left edge, a parent stands between its children.

    Subtrees are moved together until their outlines are a gap apart (Reingold & Tilford 1981). A
    list of rules runs downwards instead, each answer beside its rule.
    """
    if nodes[0].questions and nodes[0].listed:
        return _listed(nodes, size_of)
    middles = np.zeros(len(nodes))
    _outline(nodes, 0, size_of, middles)
    lefts = _lefts(nodes, size_of)
    found = []
    for node, middle in zip(nodes, middles, strict=True):
        width, height = size_of(node)
        found.append(Place(lefts[node.depth], middle - height / 2, width, height))
    top = min(place.y for place in found)
    return [Place(p.x, p.y - top, p.width, p.height) for p in found]


def _lefts(nodes: Sequence[Any], size_of: Sizes) -> list[float]:
    depth = max(node.depth for node in nodes)
    widest = [max(size_of(n)[0] for n in nodes if n.depth == d) for d in range(depth + 1)]
    return [sum(widest[:d]) + d * _BETWEEN for d in range(depth + 1)]


Outline = tuple[list[float], list[float]]
"""The upper and the lower border of a subtree at each depth from its root on."""


def _outline(nodes: Sequence[Any], number: int, size_of: Sizes, middles: np.ndarray) -> Outline:
    """Sets the middles within a subtree, its own root at 0 first and then moved as a whole."""
    node, half = nodes[number], size_of(nodes[number])[1] / 2
    if not node.questions:
        return [-half], [half]
    upper = _outline(nodes, node.yes, size_of, middles)
    lower = _outline(nodes, node.no, size_of, middles)
    apart = max(b + GAP - t for b, t in zip(upper[1], lower[0], strict=False))
    _move(nodes, node.yes, -apart / 2, middles)
    _move(nodes, node.no, apart / 2, middles)
    tops = _merged(upper[0], lower[0], -apart / 2, apart / 2, first=True)
    bottoms = _merged(upper[1], lower[1], -apart / 2, apart / 2, first=False)
    return [-half, *tops], [half, *bottoms]


def _merged(
    upper: list[float], lower: list[float], up: float, down: float, *, first: bool
) -> list[float]:
    """The border of both subtrees: of the one that should lie further out where both are there."""
    moved = [[v + up for v in upper], [v + down for v in lower]]
    near, far = (moved[0], moved[1]) if first else (moved[1], moved[0])
    return near + far[len(near) :]


def _move(nodes: Sequence[Any], number: int, by: float, middles: np.ndarray) -> None:
    middles[number] += by
    if nodes[number].questions:
        _move(nodes, nodes[number].yes, by, middles)
        _move(nodes, nodes[number].no, by, middles)


def _listed(nodes: Sequence[Any], size_of: Sizes) -> list[Place]:
    found: dict[int, Place] = {}
    widest = max(size_of(n)[0] for n in nodes if n.questions)
    y, node = 0.0, nodes[0]
    while node.questions:
        width, height = size_of(node)
        found[node.number] = Place(0.0, y, width, height)
        answer = nodes[node.yes]
        wide, high = size_of(answer)
        found[answer.number] = Place(widest + _BETWEEN, y + (height - high) / 2, wide, high)
        y += max(height, high) + 2 * GAP
        node = nodes[node.no]
    width, height = size_of(node)
    found[node.number] = Place(widest + _BETWEEN, y, width, height)
    return [found[n.number] for n in nodes]
