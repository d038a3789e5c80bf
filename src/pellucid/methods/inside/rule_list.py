"""Rules in an order: the first one that holds decides."""

from dataclasses import replace

import numpy as np

from pellucid.methods.inside.imitation import Examples, grown
from pellucid.methods.inside.questions import (
    Node,
    Nodes,
    Question,
    leaves_of,
    statements,
)
from pellucid.methods.inside.sizes import Size


def listed(examples: Examples, size: Size, seed: int, *, most: int) -> Nodes:
    """A list of at most `most` rules of at most `size.depth` conditions, and what holds otherwise.

    Each rule is the best leaf of a small tree of the rows that no earlier rule took (as PART takes
    them, Frank & Witten 1998): of classes the one with the largest lower end of the share it gets
    right, (k + 1) / (n + 2) less one standard error; of a score the one that takes away the most
    squared error. As nodes a yes is a leaf, a no the rest of the list.
    """
    rules: list[tuple[tuple[Question, ...], Examples]] = []
    rest = examples
    while len(rules) < most and len(rest) > 2 * size.rows and np.ptp(rest.said) > 0:
        tree = grown(rest, replace(size, leaves=None), seed)
        leaves = leaves_of(tree, rest.table)
        numbers = np.unique(leaves)
        if len(numbers) < 2:
            break
        worth = [_worth(rest, rest.rows(np.flatnonzero(leaves == n))) for n in numbers]
        best = int(numbers[int(np.argmax(worth))])
        taken = leaves == best
        rules.append((statements(tree, best), rest.rows(np.flatnonzero(taken))))
        rest = rest.rows(np.flatnonzero(~taken))
    return _as_nodes(examples, rules, rest)


def _worth(everyone: Examples, taken: Examples) -> float:
    count = len(taken)
    if not everyone.classes:
        return count * float((taken.said.mean() - everyone.said.mean()) ** 2)
    share = (float(taken.values().max()) + 1) / (count + 2)
    return share - float(np.sqrt(share * (1 - share) / (count + 3)))


def _as_nodes(
    examples: Examples, rules: list[tuple[tuple[Question, ...], Examples]], rest: Examples
) -> Nodes:
    nodes: list[Node] = []
    left = examples.values()
    remaining = len(examples)
    for place, (questions, taken) in enumerate(rules):
        number = 2 * place
        nodes.append(
            Node(number, place, remaining, left, questions, number + 1, number + 2, listed=True)
        )
        nodes.append(Node(number + 1, place + 1, len(taken), taken.values()))
        remaining -= len(taken)
        after = [later for _, later in rules[place + 1 :]]
        left = _joined([*after, rest]).values()
    nodes.append(Node(2 * len(rules), len(rules), len(rest), rest.values()))
    return tuple(nodes)


def _joined(parts: list[Examples]) -> Examples:
    return replace(
        parts[0],
        table=np.concatenate([p.table for p in parts]),
        said=np.concatenate([p.said for p in parts]),
    )
