"""Places for the nodes of a graph without loops: in rows, with few crossings, edges round nodes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Edge = tuple[int, int]

SWEEPS = 8


@dataclass(frozen=True)
class Placed:
    """Rows and columns (in units of one node) of nodes, and the places each edge runs through."""

    row: tuple[int, ...]
    column: tuple[float, ...]
    routes: dict[Edge, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    @property
    def width(self) -> float:
        """How many columns are taken."""
        return max(self.column, default=0.0) - min(self.column, default=0.0) + 1


def place(count: int, edges: Sequence[Edge], *, bend: float = 0.45) -> Placed:
    """Every node below those it takes from, edges over several rows led past the nodes between.

    After Sugiyama, Tagawa & Toda 1981: rows by the longest path; a place in each row that an
    edge passes; the order within a row by the mean of the neighbours, swept down and up; then
    columns as near to the neighbours as the order lets them. An edge's place takes `bend` columns.
    """
    rows = _rows(count, edges)
    layers: list[list[int]] = [[] for _ in range(max(rows, default=-1) + 1)]
    for node, row in enumerate(rows):
        layers[row].append(node)
    width = [1.0] * count
    links: list[Edge] = []
    chains: dict[Edge, list[int]] = {}
    for edge in dict.fromkeys(edges):
        a, b = edge
        chain = [a]
        for row in range(rows[a] + 1, rows[b]):
            chain.append(len(width))
            layers[row].append(len(width))
            width.append(bend)
        chain.append(b)
        chains[edge] = chain
        links += list(itertools.pairwise(chain))
    above: list[list[int]] = [[] for _ in width]
    below: list[list[int]] = [[] for _ in width]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    columns = np.zeros(len(width))
    for layer in layers:
        _spread(layer, columns, width, [0.0] * len(layer), count)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for layer in layers if down else reversed(layers):
            wanted = [
                float(np.average(columns[near[n]], weights=[_pull(k, count) for k in near[n]]))
                if near[n]
                else float(columns[n])
                for n in layer
            ]
            # Of equal wishes a node goes before a passing edge: the main path stays straight.
            order = sorted(range(len(layer)), key=lambda i: (wanted[i], layer[i] >= count))
            layer[:] = [layer[i] for i in order]
            _spread(layer, columns, width, [wanted[i] for i in order], count)
    left = float(columns.min()) if len(columns) else 0.0
    columns -= left
    row_of = {n: r for r, layer in enumerate(layers) for n in layer}
    routes = {
        edge: tuple((float(columns[n]), float(row_of[n])) for n in chain)
        for edge, chain in chains.items()
    }
    return Placed(tuple(rows), tuple(float(c) for c in columns[:count]), routes)


def _rows(count: int, edges: Sequence[Edge]) -> list[int]:
    """One more than the lowest of what a node takes from; edges run from lower numbers to higher.

    Inputs stand right above what takes them.
    """
    rows = [0] * count
    for a, b in sorted(edges, key=lambda e: e[1]):
        rows[b] = max(rows[b], rows[a] + 1)
    fed = {b for _, b in edges}
    for node in range(count):
        takers = [rows[b] for a, b in edges if a == node]
        if node not in fed and takers:
            rows[node] = min(takers) - 1
    return rows


def _pull(node: int, count: int) -> float:
    """How strongly a place draws others to itself: an edge that passes hardly does."""
    return 1.0 if node < count else 0.02


def _spread(
    layer: list[int], columns: np.ndarray, width: list[float], wanted: list[float], count: int
) -> None:
    """Columns nearest to the wanted ones in least squares, in this order, without overlaps.

    With the widths taken off, it is isotonic regression: neighbours that would overlap are
    pooled and share their mean.
    """
    offsets = np.cumsum([0.0, *[(width[a] + width[b]) / 2 for a, b in itertools.pairwise(layer)]])
    blocks: list[list[float]] = []
    for target, offset, node in zip(wanted, offsets, layer, strict=False):
        weight = _pull(node, count)
        blocks.append([(target - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, weight, size = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + weight, blocks[-1][2] + size]
    position = 0
    for total, weight, size in blocks:
        for _ in range(int(size)):
            columns[layer[position]] = total / weight + offsets[position]
            position += 1
