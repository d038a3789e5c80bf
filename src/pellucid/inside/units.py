"""Which layers are one step to a reader, and what a run shows of the others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pellucid.adapters.facts import LayerInfo

if TYPE_CHECKING:
    from pellucid.inside.structure import LayerEntry

_RECURRENT = re.compile(
    r"(optimized|conv|simple|stacked|bi|dynamic)*(lstm|gru|mgu|rnn)(rnn)?(cell|layer|[123]d|base)*"
)


def is_recurrent(kind: str) -> bool:
    """Whether a layer's class, or the cell that it repeats, goes by the name of a recurrent one."""
    return _RECURRENT.fullmatch(kind.lower()) is not None


def units(layers: "Sequence[LayerEntry]") -> "dict[str, LayerEntry]":
    """For each layer that is in a unit, or is one, that unit.

    A unit is drawn as one step: a layer with none in it; a recurrent layer, whose cell runs once
    for every place of a sequence; one that a run calls and whose own layers it does not call,
    because they only hold weights for it (a projection of an attention, the cell of an LSTM).
    """
    found: dict[str, LayerEntry] = {}
    below = _below(layers)
    for i, entry in enumerate(layers):
        above = None if entry.parent is None else found.get(layers[entry.parent].path)
        one = is_recurrent(entry.kind) or not any(layers[j].calls for j in below[i])
        if above is not None:
            found[entry.path] = above
        elif not below[i] or (entry.calls and one):
            found[entry.path] = entry
    return found


def call_of(step: Any, unit: "LayerEntry", layers: "Mapping[str, LayerEntry]") -> int:
    """Which call of the unit a step belongs to, from the call of the layer that it stands in."""
    inner = layers[step.path]
    each = max(inner.calls // max(unit.calls, 1), 1)
    return 1 + (step.call - 1) // each


def call_shapes(calls: Sequence[LayerInfo]) -> dict[tuple[str, int], tuple[int, ...]]:
    """The shape of each call's output for one sample, where the run says all of it."""
    found = {}
    for info in calls:
        path, _, number = info.path.partition("#")
        rest = of_one(info.shape or ())
        if info.shape and None not in rest:
            found[path, int(number or 1)] = rest
    return found


def of_one(shape: Sequence[int | None]) -> tuple[Any, ...]:
    """A shape without its batch axis: the free one, else the first of size 1, where there is one.

    Not every step keeps the batch first: an attention may keep it behind the words.
    """
    axis = next((i for i, s in enumerate(shape) if s is None), None)
    if axis is None:
        axis = next((i for i, s in enumerate(shape) if s == 1), None)
    return tuple(s for i, s in enumerate(shape) if i != axis)


def with_idle(layers: "Sequence[LayerEntry]", steps: Sequence[Any]) -> "tuple[LayerEntry, ...]":
    """`layers`, those marked `idle` that a run neither calls nor can have taken weights from.

    What holds a layer may use its weights without calling it; where it computes with weights by
    itself, nobody can say from a run that it does not.
    """
    if not steps:
        return tuple(layers)
    takers = {s.path for s in steps if s.weighs}
    below = _below(layers)
    marked = []
    for i, entry in enumerate(layers):
        holders = {""}
        parent = entry.parent
        while parent is not None:
            holders.add(layers[parent].path)
            parent = layers[parent].parent
        called = any(layers[j].calls for j in (i, *below[i]))
        marked.append(replace(entry, idle=not called and not holders & takers))
    return tuple(marked)


def _below(layers: "Sequence[LayerEntry]") -> list[list[int]]:
    """For each layer, the numbers of all that are in it."""
    found: list[list[int]] = [[] for _ in layers]
    for i, entry in enumerate(layers):
        parent = entry.parent
        while parent is not None:
            found[parent].append(i)
            parent = layers[parent].parent
    return found


def own_parameters(layers: "Sequence[LayerEntry]") -> list[int]:
    """What each layer has beside the layers in it; a unit has all of its own."""
    whole = units(layers)
    found = []
    for i, entry in enumerate(layers):
        unit = whole.get(entry.path)
        inner = sum(e.parameters for e in layers if e.parent == i)
        own = entry.parameters if unit is entry else max(entry.parameters - inner, 0)
        found.append(0 if unit is not None and unit is not entry else own)
    return found
