"""Which features go together: a binary tree over the players."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features

Tree = Any
"""A player's number, or a pair of trees."""


def tree_of_places(features: tuple[Features, ...], sample: int) -> Tree:
    """Inputs apart; within each, units halved again and again along their longer extent.

    So neighbouring cells of an image, segments of a series and columns of a table go together.
    """
    trees, first = [], 0
    for made in features:
        units = made.of(sample)
        count = int(made.counts[sample if len(made.counts) > 1 else 0])
        held = units.ravel() >= 0
        sizes = np.bincount(units.ravel()[held], minlength=count)
        axes = np.indices(units.shape).reshape(units.ndim, -1)[:, held]
        middles = np.stack(
            [np.bincount(units.ravel()[held], a, minlength=count) / sizes for a in axes], axis=1
        )
        trees.append(_halved(np.arange(count), middles, first))
        first += count
    while len(trees) > 1:
        trees = [(trees[0], trees[1]), *trees[2:]]
    return trees[0]


def _halved(units: np.ndarray, middles: np.ndarray, first: int) -> Tree:
    if len(units) == 1:
        return first + int(units[0])
    own = middles[units]
    axis = int(np.argmax(np.ptp(own, axis=0)))
    order = units[np.argsort(own[:, axis], kind="stable")]
    half = (len(units) + 1) // 2
    return _halved(order[:half], middles, first), _halved(order[half:], middles, first)


def tree_from(given: Any, players: int) -> Tree:
    """A tree from nested pairs of numbers, or a linkage matrix as of SciPy `(players − 1, ≥ 2)`.

    Raises `MethodError` for anything that is not a binary tree over all players.
    """
    linked = isinstance(given, np.ndarray)
    tree = _from_linkage(given, players) if linked else _from_nested(given)
    if sorted(leaves(tree)) != list(range(players)):
        raise MethodError(
            f"Expected a hierarchy that holds each of the {players} features once, got"
            f" {sorted(leaves(tree))[:30]}."
        )
    return tree


def _from_nested(given: Any) -> Tree:
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        return int(given)
    if isinstance(given, tuple | list) and len(given) == 2:
        return _from_nested(given[0]), _from_nested(given[1])
    raise MethodError(
        "Expected a hierarchy of nested pairs of feature numbers, such as ((0, 1), 2), or a"
        f" linkage matrix; got {given!r:.80}."
    )


def _from_linkage(linkage: np.ndarray, players: int) -> Tree:
    if linkage.ndim != 2 or linkage.shape[0] != players - 1 or linkage.shape[1] < 2:
        raise MethodError(
            f"Expected a linkage matrix of {players - 1} rows for {players} features, got shape"
            f" {linkage.shape}."
        )
    nodes: list[Tree] = list(range(players))
    for left, right in linkage[:, :2].astype(int):
        if not 0 <= min(left, right) <= max(left, right) < len(nodes):
            raise MethodError("The linkage matrix joins a cluster before it is made.")
        nodes.append((nodes[left], nodes[right]))
    return nodes[-1]


def leaves(tree: Tree) -> list[int]:
    """The players of a tree from left to right."""
    return [tree] if isinstance(tree, int) else leaves(tree[0]) + leaves(tree[1])


def contexts(tree: Tree) -> int:
    """Over all players, the sets of players that may come before: Σ 2^depth."""

    def below(node: Tree, ways: int) -> int:
        if isinstance(node, int):
            return ways
        return below(node[0], 2 * ways) + below(node[1], 2 * ways)

    return below(tree, 1)


def steps(tree: Tree, players: int) -> Iterator[tuple[int, np.ndarray, float]]:
    """Each player with each set that may come before it, `(player, mask, share of all orders)`."""

    def below(node: Tree, before: np.ndarray, share: float) -> Iterator[Any]:
        if isinstance(node, int):
            yield node, before, share
            return
        for own, other in (node, node[::-1]):
            yield from below(own, before, share / 2)
            with_other = before.copy()
            with_other[leaves(other)] = True
            yield from below(own, with_other, share / 2)

    yield from below(tree, np.zeros(players, dtype=bool), 1.0)


def orders(tree: Tree, flip: Callable[[], bool]) -> list[int]:
    """One order in which every branch's players come together."""
    if isinstance(tree, int):
        return [tree]
    one, other = (tree[1], tree[0]) if flip() else tree
    return orders(one, flip) + orders(other, flip)
