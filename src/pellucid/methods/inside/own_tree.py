"""The nodes of a model that is one tree of questions itself."""

from collections.abc import Callable

import numpy as np

from pellucid.adapters.own_tree import OwnTree
from pellucid.methods.inside.imitation import Examples
from pellucid.methods.inside.questions import Node, Nodes, Question
from pellucid.methods.inside.sizes import Size


def nodes_of(
    tree: OwnTree, learned: Examples, size: Size, said: Callable[[np.ndarray], np.ndarray]
) -> Nodes | None:
    """The model's own questions as nodes; None where they are more than `size` allows.

    `said` is what the model says of rows `(n, columns)`; it is asked of one for each leaf that no
    row of the table ends in. Branches that say the same of every row are one leaf.
    """
    answers = _answers(tree, learned, said)
    alike = _alike(tree, answers) if learned.classes else {}
    nodes: list[Node] = []
    order, numbers, depths = [0], {0: 0}, {0: 0}
    places = {0: np.arange(len(learned))}
    for at in order:  # grows while it is walked through
        own, node = places[at], numbers[at]
        if tree.yes[at] < 0 or at in alike:
            values = _values(learned, own, alike[at] if at in alike else answers[at])
            nodes.append(Node(node, depths[at], len(own), values))
            continue
        column = int(tree.columns[at])
        told = bool(np.isnan(learned.table[:, column]).any())
        question = Question(
            column, learned.names[column], float(tree.thresholds[at]),
            missing=bool(tree.missing[at]), told=told,
        )  # fmt: skip
        taken = question.yes(learned.table[own])
        for child, there in ((int(tree.yes[at]), taken), (int(tree.no[at]), ~taken)):
            places[child], depths[child], numbers[child] = own[there], depths[at] + 1, len(order)
            order.append(child)
        values = learned.rows(own).values() if len(own) else np.zeros_like(learned.values())
        yes, no = numbers[int(tree.yes[at])], numbers[int(tree.no[at])]
        nodes.append(Node(node, depths[at], len(own), values, (question,), yes, no))
    ends = [node for node in nodes if node.leaf]
    large = max(node.depth for node in ends) > size.depth
    large = large or (size.leaves is not None and len(ends) > size.leaves)
    small = size.rows > 1 and min(node.count for node in ends) < size.rows
    return None if large or small else tuple(nodes)


def _answers(
    tree: OwnTree, learned: Examples, said: Callable[[np.ndarray], np.ndarray]
) -> dict[int, float]:
    """What the model says in each leaf."""
    ends: dict[int, np.ndarray] = {}
    waiting = [(0, np.arange(len(learned)))]
    while waiting:
        at, own = waiting.pop()
        if tree.yes[at] < 0:
            ends[at] = own
            continue
        column = learned.table[own, int(tree.columns[at])]
        yes = column.astype(np.float32) <= np.float64(tree.thresholds[at])
        yes = np.where(np.isnan(column), tree.missing[at], yes)
        waiting += [(int(tree.yes[at]), own[yes]), (int(tree.no[at]), own[~yes])]
    answers = {at: float(learned.said[own[0]]) for at, own in ends.items() if len(own)}
    empty = [at for at, own in ends.items() if not len(own)]
    if empty:
        made = _reaching(tree, learned.table[0])
        told = said(np.stack([made[at] for at in empty]))
        answers |= {at: float(one) for at, one in zip(empty, told, strict=True)}
    return answers


def _values(learned: Examples, own: np.ndarray, answer: float) -> np.ndarray:
    """What stands at a leaf; without rows, what the model says there."""
    if len(own):
        return learned.rows(own).values()
    if learned.classes:
        return np.eye(learned.classes)[int(answer)]
    return np.array([float(answer), 0.0])


def _alike(tree: OwnTree, answers: dict[int, float]) -> dict[int, float]:
    """The nodes below which the model says one and the same, with that."""
    found: dict[int, float] = {}
    for at in range(len(tree.yes) - 1, -1, -1):  # children come after their parents
        if tree.yes[at] < 0:
            found[at] = answers[at]
            continue
        yes, no = found.get(int(tree.yes[at])), found.get(int(tree.no[at]))
        if yes is not None and yes == no:
            found[at] = yes
    return found


def _reaching(tree: OwnTree, start: np.ndarray) -> dict[int, np.ndarray]:
    """For each leaf a row `(columns,)` that ends there: `start`, moved over the thresholds."""
    found = {}
    waiting = [(0, np.nan_to_num(start.astype(np.float64)))]
    while waiting:
        at, row = waiting.pop()
        if tree.yes[at] < 0:
            found[at] = row
            continue
        column, threshold = int(tree.columns[at]), float(tree.thresholds[at])
        below, above = _beside(threshold)
        for child, value in (
            (tree.yes[at], min(row[column], below)),
            (tree.no[at], max(row[column], above)),
        ):
            moved = row.copy()
            moved[column] = value
            waiting.append((int(child), moved))
    return found


def _beside(threshold: float) -> tuple[float, float]:
    """The largest float32 that is at most a threshold, and the next one."""
    near = np.float32(threshold)
    if float(near) > threshold:
        near = np.nextafter(near, np.float32(-np.inf))
    return float(near), float(np.nextafter(near, np.float32(np.inf)))
