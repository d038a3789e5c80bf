"""Where the paths of a run meet again, and whether one of them goes past layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.inside.structure import Node

_WEIGHTED = frozenset({"linear", "convolution", "attention", "rnn"})


def sums(nodes: "Sequence[Node]", edges: Sequence[tuple[int, int]]) -> list[bool]:
    """For each sum of two paths, whether it is a residual connection.

    It is one where a path comes straight from where the other one parted and that has layers with
    weights on it, or more of them than the first has (a projected shortcut). Two layers side by
    side whose outputs are added are none. The sums in a recurrent layer are its own.
    """
    into: dict[int, list[int]] = {}
    for a, b in edges:
        into.setdefault(b, []).append(a)
    found = []
    for i, node in enumerate(nodes):
        sources = into.get(i, [])
        if "add" in node.kinds and "rnn" not in node.kinds and len(sources) == 2:
            first, second = (_deepest(s, into, nodes) for s in sources)
            shared = first.keys() & second.keys()
            # Where they part last: the latest step that both come from.
            parted = max(shared, default=None)
            found.append(parted is not None and first[parted] != second[parted])
    return found


def _deepest(end: int, into: dict[int, list[int]], nodes: "Sequence[Node]") -> dict[int, int]:
    """For `end` and all before it, the most layers with weights on a way from there to `end`."""
    passed = {end: 0}
    for i in range(end, -1, -1):
        if i in passed:
            weighs = bool(nodes[i].kinds & _WEIGHTED and nodes[i].multiply_adds)
            for source in into.get(i, []):
                passed[source] = max(passed.get(source, 0), passed[i] + weighs)
    return passed
