"""One run as a graph: calls of layers, and the operations between them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.inside.structure import LayerEntry, Node

_SILENT = frozenset({"move", "boolean"})
"""Operations that only hand numbers on: not worth a node of their own outside of a layer."""


def graph_of(
    steps: Sequence[Any],
    layers: Sequence[LayerEntry],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Sequence[tuple[int, ...]] | None,
) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
    """Nodes in the order of the run, inputs first and outputs last, and edges `(from, to)`.

    The operations in one call of a layer without layers in it are one node; other operations are
    nodes of their own, but a bias, which belongs to what it is added to.
    """
    if not steps:
        return (), ()
    kinds = {e.path: e.kind for e in layers}
    inner = {layers[e.parent].path for e in layers if e.parent is not None}
    groups: list[list[Any]] = []
    group_of: dict[Any, int] = {}
    made_by: dict[int, int] = {}
    edges: dict[tuple[int, int], None] = {}
    shift = len(inputs)
    for step in steps:
        came = _origins(step, made_by, list(inputs.values()))
        leaf = step.path in kinds and step.path not in inner
        if not leaf and (step.form in _SILENT or step.kind == "bias") and came:
            made_by[step.index] = came[0]
            if step.kind == "bias" and came[0] >= shift:
                groups[came[0] - shift].append(step)
            continue
        key = (step.path, step.call) if leaf else step.index
        if key not in group_of:
            group_of[key] = len(groups) + shift
            groups.append([])
        number = group_of[key]
        groups[number - shift].append(step)
        made_by[step.index] = number
        for source in came:
            if source != number:
                edges[source, number] = None
    nodes = [Node(name, "input", 1, frozenset(), tuple(s), False) for name, s in inputs.items()]
    nodes += [_node(group, kinds, inner) for group in groups]
    _add_outputs(nodes, edges, outputs or ())
    return tuple(nodes), tuple(edges)


def _origins(step: Any, made_by: dict[int, int], inputs: Sequence[tuple[int, ...]]) -> list[int]:
    """The nodes whose outputs this step takes, the model's inputs among them."""
    found = []
    sources = [*step.sources, *[-1] * len(step.live)]
    for alive, source, shape, origin in zip(
        step.live, sources, step.given, step.origins, strict=False
    ):
        if not alive:
            continue
        if source in made_by:
            found.append(made_by[source])
        elif origin >= 0:
            found.append(origin)
        else:
            fits = [i for i, s in enumerate(inputs) if tuple(s) == tuple(shape[1:])]
            found += fits[:1] if len(fits) == 1 else range(len(inputs))
    return list(dict.fromkeys(found))


def _node(group: list[Any], kinds: dict[str, str], inner: set[str]) -> Node:
    first, last = group[0], group[-1]
    layer = first.path in kinds and first.path not in inner
    made = {s.kind for s in group}
    made |= {"convolution"} if any(s.form == "convolution" for s in group) else set()
    made |= {"attention"} if _attends(first, kinds) else set()
    if layer and kinds[first.path].lower().startswith(("lstm", "gru", "rnn", "simplernn")):
        made |= {"rnn"}
    return Node(
        name=first.path if layer else first.name,
        kind=kinds[first.path] if layer else first.form or first.kind,
        call=first.call if layer else 1,
        kinds=frozenset(made),
        shape=tuple(last.shape[1:]),
        layer=layer,
        multiply_adds=sum(s.work for s in group),
    )


def _attends(step: Any, kinds: dict[str, str]) -> bool:
    """Whether it happens in a layer whose name says that it attends."""
    return any(
        "attention" in kind.lower() and (step.path + "/").startswith((path + "/", path + "."))
        for path, kind in kinds.items()
    )


def _add_outputs(
    nodes: list[Node], edges: dict[tuple[int, int], None], outputs: Sequence[tuple[int, ...]]
) -> None:
    """Outputs hang on the nodes that nothing else takes from, paired by shape where they can be."""
    taken = {a for a, _ in edges}
    ends = [i for i, n in enumerate(nodes) if i not in taken and n.kind != "input"]
    for number, shape in enumerate(outputs):
        fits = [i for i in ends if nodes[i].shape == tuple(shape)] or ends
        name = "output" if len(outputs) == 1 else f"output {number}"
        nodes.append(Node(name, "output", 1, frozenset(), tuple(shape), False))
        # The last of several: what a model returns is what it computes last.
        edges.update({(i, len(nodes) - 1): None for i in fits[-1:]})
        ends = [i for i in ends if i not in fits[-1:]] or ends
