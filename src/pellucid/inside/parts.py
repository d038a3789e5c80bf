"""Parts that are read and not run, such as a pipeline's steps, as a tree and a graph."""

from collections.abc import Mapping, Sequence

from pellucid.adapters.facts import Part
from pellucid.inside.structure import LayerEntry, Node

COUNTED = (
    "Its parameters are coefficients, the limits and leaves of trees, and rows that are kept; what"
    " steps before have learned of the columns is not counted."
)


def entries_of(parts: Sequence[Part]) -> tuple[LayerEntry, ...]:
    """A part, then those in it, whose numbers it has too."""
    number = {part.path: i for i, part in enumerate(parts)}
    depth: dict[str | None, int] = {None: -1}
    entries = []
    for part in parts:
        depth[part.path] = depth[part.parent] + 1
        inside = [p for p in parts if p.path == part.path or p.path.startswith(part.path + "/")]
        leaves = [p for p in inside if not any(q.parent == p.path for q in parts)]
        work = [p.multiply_adds for p in leaves]
        known = [w for w in work if w is not None]
        prefix = 0 if part.parent is None else len(part.parent) + 1
        entries.append(
            LayerEntry(
                path=part.path,
                name=part.path[prefix:],
                kind=part.kind,
                depth=depth[part.path],
                parent=None if part.parent is None else number[part.parent],
                shape=part.shape,
                parameters=sum(p.parameters for p in leaves),
                calls=1,
                multiply_adds=sum(known) if len(known) == len(work) else None,
                detail=part.words,
            )
        )
    return tuple(entries)


def graph_of_parts(
    parts: Sequence[Part],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Sequence[tuple[int, ...]] | None,
) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
    """Inputs, the parts that hold no others in the order of the rows' way, and outputs."""
    holders = {part.parent for part in parts}
    leaves = [part for part in parts if part.path not in holders]
    nodes = [Node(name, "input", 1, frozenset(), tuple(s), False) for name, s in inputs.items()]
    at = {part.path: i + len(nodes) for i, part in enumerate(leaves)}
    several = len([p for p in leaves if p.kind_of_work not in {"", "linear"}]) > 1
    edges: dict[tuple[int, int], None] = {}
    for part in leaves:
        sources = [at[name] for name in part.sources] or range(len(inputs))
        edges |= {(source, at[part.path]): None for source in sources}
        kinds = {part.kind_of_work, "several"} if several else {part.kind_of_work}
        shape = None if part.shape is None else tuple(s or 0 for s in part.shape[1:])
        nodes.append(
            Node(
                part.path, part.kind, 1, frozenset(kinds - {""}), shape, True,
                part.multiply_adds or 0, part.words,
            )
        )  # fmt: skip
    ends = [i for i in range(len(nodes)) if all(i != a for a, _ in edges)]
    for number, shape in enumerate(outputs or ()):
        name = "output" if len(outputs or ()) == 1 else f"output {number}"
        edges |= {(i, len(nodes)): None for i in ends}
        nodes.append(Node(name, "output", 1, frozenset(), tuple(shape), False))
    return tuple(nodes), tuple(edges)
