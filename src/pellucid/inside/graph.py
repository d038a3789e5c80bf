"""One run as a graph: calls of layers, and the operations between them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.inside.orders import circles, in_order
from pellucid.inside.structure import LayerEntry, Node
from pellucid.inside.units import call_of, is_recurrent, of_one, units

_SILENT = frozenset({"move", "boolean"})
"""Operations that only hand numbers on: not worth a node of their own outside of a layer."""


def graph_of(
    steps: Sequence[Any],
    layers: Sequence[LayerEntry],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Sequence[tuple[int, ...]] | None,
    shapes: Mapping[tuple[str, int], tuple[int, ...]],
) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
    """Nodes in the order of the run, inputs first and outputs last, and edges `(from, to)`.

    The operations in one call of a unit are one node, see `units`; other operations are nodes of
    their own, but a bias, which belongs to what it is added to. `shapes` are those of the layers'
    outputs, by path and call, for one sample.
    """
    if not steps:
        return (), ()
    whole = units(layers)
    entries = {e.path: e for e in layers}
    grouped = _Grouped(whole, entries, inputs)
    grouped.take(steps)
    joined = grouped.round_units()
    if joined:  # a unit is done before what follows it: what goes on in a circle with it is in it
        grouped = _Grouped(whole, entries, inputs, joined)
        grouped.take(steps)
    nodes = [Node(name, "input", 1, frozenset(), tuple(s), False) for name, s in inputs.items()]
    for key, number in grouped.number.items():
        group = grouped.groups[number - len(inputs)]
        unit = whole[key[0]] if isinstance(key, tuple) else None
        nodes.append(_node(group, unit, key, entries, shapes))
    edges = dict.fromkeys(grouped.all_edges())
    _add_outputs(nodes, edges, outputs or ())
    order = in_order(len(nodes), list(edges))
    place = {old: new for new, old in enumerate(order)}
    return tuple(nodes[i] for i in order), tuple(sorted((place[a], place[b]) for a, b in edges))


class _Grouped:
    """The steps of a run, put together as far as they are one node."""

    def __init__(
        self,
        whole: Mapping[str, LayerEntry],
        entries: Mapping[str, LayerEntry],
        inputs: Mapping[str, tuple[int, ...]],
        joined: Mapping[int, tuple[str, int]] | None = None,
    ) -> None:
        self.whole, self.entries = whole, entries
        self.inputs = list(inputs.values())
        self.joined = joined or {}
        self.groups: list[list[Any]] = []
        self.number: dict[Any, int] = {}
        self.edges: dict[tuple[int, int], None] = {}
        self.adrift: dict[int, None] = {}

    def take(self, steps: Sequence[Any]) -> None:
        made_by: dict[int, int] = {}
        shift = len(self.inputs)
        for step in steps:
            came = _origins(step, made_by, self.inputs)
            key = self._key(step)
            unknown = not came and any(step.live)
            if unknown and not isinstance(key, tuple):
                came = list(range(shift))
            silent = step.form in _SILENT or step.kind == "bias"
            if not isinstance(key, tuple) and silent and came:
                made_by[step.index] = came[0]
                if step.kind == "bias" and came[0] >= shift:
                    self.groups[came[0] - shift].append(step)
                continue
            if key not in self.number:
                self.number[key] = len(self.groups) + shift
                self.groups.append([])
            number = self.number[key]
            self.groups[number - shift].append(step)
            made_by[step.index] = number
            if unknown:
                self.adrift[number] = None
            self.edges |= {(source, number): None for source in came if source != number}

    def _key(self, step: Any) -> Any:
        unit = self.whole.get(step.path)
        if step.index in self.joined:
            return self.joined[step.index]
        return step.index if unit is None else (unit.path, call_of(step, unit, self.entries))

    def all_edges(self) -> list[tuple[int, int]]:
        """With those from the inputs to what has no other source.

        What a loop hands to its next round has no known maker; its layer's other inputs have.
        """
        fed = {b for _, b in self.edges}
        ends = range(len(self.inputs))
        return [*self.edges, *((a, b) for b in self.adrift if b not in fed for a in ends)]

    def round_units(self) -> dict[int, tuple[str, int]]:
        """For each step that goes on in a circle with a call of a unit, that call."""
        shift = len(self.inputs)
        found: dict[int, tuple[str, int]] = {}
        for circle in circles(len(self.groups) + shift, list(self.edges)):
            key = next(
                (k for k, n in self.number.items() if n in circle and isinstance(k, tuple)), None
            )
            for number in circle if key is not None else ():
                found |= {step.index: key for step in self.groups[number - shift]}
        return found


def _origins(step: Any, made_by: dict[int, int], inputs: Sequence[tuple[int, ...]]) -> list[int]:
    """The nodes known to make what this step takes, the model's inputs among them."""
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
            fits = [i for i, s in enumerate(inputs) if tuple(s) == of_one(shape)]
            found += fits[:1] if len(fits) == 1 else ()
    return list(dict.fromkeys(found))


def _node(
    group: list[Any],
    unit: LayerEntry | None,
    key: Any,
    entries: Mapping[str, LayerEntry],
    shapes: Mapping[tuple[str, int], tuple[int, ...]],
) -> Node:
    first, last = group[0], group[-1]
    made = {s.kind for s in group}
    made |= {"convolution"} if any(s.form == "convolution" for s in group) else set()
    made |= {"attention"} if _attends(first, entries) else set()
    shape, work = of_one(last.shape), sum(s.work for s in group)
    if unit is None:
        kind = first.form or first.kind
        return Node(first.name, kind, 1, frozenset(made), shape, False, work)
    made |= {"rnn"} if is_recurrent(unit.kind) else set()
    shape = shapes.get(key, shape)
    return Node(unit.path, unit.kind, key[1], frozenset(made), shape, True, work)


def _attends(step: Any, entries: Mapping[str, LayerEntry]) -> bool:
    """Whether it happens in a layer whose name says that it attends."""
    return any(
        "attention" in e.kind.lower() and (step.path + "/").startswith((path + "/", path + "."))
        for path, e in entries.items()
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
