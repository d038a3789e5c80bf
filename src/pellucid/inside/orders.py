"""The order of a graph's nodes, and the circles in it."""

import heapq
from collections.abc import Sequence

Edge = tuple[int, int]


def in_order(count: int, edges: Sequence[Edge]) -> list[int]:
    """The nodes so that every edge leads on, otherwise by number; nodes on a circle come last."""
    into, out = [0] * count, _lists(count, edges)
    for _, b in edges:
        into[b] += 1
    ready = [i for i in range(count) if not into[i]]
    found = []
    while ready:
        i = heapq.heappop(ready)
        found.append(i)
        for b in out[i]:
            into[b] -= 1
            if not into[b]:
                heapq.heappush(ready, b)
    return found + sorted(set(range(count)) - set(found))


def circles(count: int, edges: Sequence[Edge]) -> list[set[int]]:
    """The sets of nodes of which each leads to each, those of more than one node.

    They are the strongly connected components (Kosaraju and Sharir: searches one way and back).
    """
    out, into = _lists(count, edges), _lists(count, [(b, a) for a, b in edges])
    seen: set[int] = set()
    ended: list[int] = []
    for start in range(count):
        _search(start, out, seen, ended)
    seen, found = set(), []
    for start in reversed(ended):
        circle: list[int] = []
        _search(start, into, seen, circle)
        if len(circle) > 1:
            found.append(set(circle))
    return found


def _lists(count: int, edges: Sequence[Edge]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        found[a].append(b)
    return found


def _search(start: int, out: list[list[int]], seen: set[int], ended: list[int]) -> None:
    """Depth first from `start` through what was not seen yet; nodes are added as they end."""
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(out[start]))]
    while stack:
        node, further = stack[-1]
        follower = next((b for b in further if b not in seen), None)
        if follower is None:
            ended.append(node)
            stack.pop()
        else:
            seen.add(follower)
            stack.append((follower, iter(out[follower])))
