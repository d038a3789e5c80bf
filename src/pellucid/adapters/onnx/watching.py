"""One run of an ONNX graph with its values shown: they are asked for as further outputs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from pellucid.adapters.onnx.operations import STEPPING
from pellucid.adapters.onnx.reading import GraphNode, OnnxGraph
from pellucid.adapters.protocol import Intercept, Operation
from pellucid.errors import CapabilityError
from pellucid.types import Array


class ShownOperation(Operation):
    """An operation that has run. It can be looked at and not be run again otherwise."""

    def __init__(
        self, node: GraphNode, kind: str, values: Mapping[str, np.ndarray], graph: OnnxGraph
    ) -> None:
        self.kind, self.name, self.path, self.call = kind, node.name, node.path, 1
        self.form = node.form if kind != "layer" else ""
        self.index, self.live, self.sources = node.index, node.live, node.sources
        self.inputs = tuple(
            values[name] if name in values else graph.array(name) if kind != "layer" else None
            for name in node.inputs
        )
        self.weights = {n: graph.array(n) for n in node.held} if kind != "layer" else {}
        self.arguments = dict(node.arguments)
        if isinstance(self.arguments.get("equation"), bytes):
            self.arguments["equation"] = self.arguments["equation"].decode()
        if node.name in STEPPING and self.inputs[0] is not None:
            self.arguments["steps"] = self.inputs[0].shape[int(self.arguments.get("layout", 0))]
        self._value = values[node.outputs[0]]

    def __call__(
        self,
        *,
        inputs: tuple[Any, ...] | None = None,
        weights: Mapping[str, Array] | None = None,
        bias: bool = True,
    ) -> Array:
        if inputs is not None or weights is not None or not bias:
            raise _unchangeable("with other inputs or weights")
        return self._value


def _unchangeable(how: str) -> CapabilityError:
    return CapabilityError(
        f"An operation of an ONNX model cannot be run {how}: ONNX Runtime only runs whole graphs.\n"
        "  What it returns can be looked at; for more load the model it was exported from."
    )


@dataclass(frozen=True)
class Watch:
    """Which nodes are shown to `intercept`, as operations and as layers."""

    graph: OnnxGraph
    intercept: Intercept
    layers: Collection[str]
    kinds: frozenset[str] | None

    def _as_operation(self, node: GraphNode) -> bool:
        return self.kinds is None or node.kind in self.kinds

    @property
    def values(self) -> tuple[str, ...]:
        """The values that have to be asked for."""
        wanted: dict[str, None] = {}
        for node in self.graph.nodes:
            if self._as_operation(node):
                given = (n for n in node.inputs if n and not self._is_known(n))
                wanted |= dict.fromkeys((*given, node.outputs[0]))
            elif node.path in self.layers:
                wanted[node.outputs[0]] = None
        return tuple(wanted)

    def _is_known(self, name: str) -> bool:
        return name in self.graph.entering or name in self.graph.stored

    def show(self, values: Mapping[str, np.ndarray], axes: Mapping[str, int | None]) -> None:
        """Hand every shown node to `intercept`, a layer after the operation that makes it.

        `axes` are those of the samples, by layer: they come first in what a layer returns. Of one
        that does not keep samples apart nothing is to be had but an empty list of numbers.
        """
        for node in self.graph.nodes:
            if self._as_operation(node):
                self._hand(ShownOperation(node, node.kind, values, self.graph))
            if node.path in self.layers:
                axis = axes.get(node.path, 0)
                value = values[node.outputs[0]]
                value = value.ravel()[:0] if axis is None else np.moveaxis(value, axis, 0)
                own = {**values, node.outputs[0]: value}
                self._hand(ShownOperation(node, "layer", own, self.graph))

    def _hand(self, op: ShownOperation) -> None:
        if self.intercept(op) is not op():
            raise _unchangeable("on from another value than it returned")


def showing(model: Any, names: Sequence[str]) -> Any:
    """A copy of the model that returns these values too."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    present = {output.name for output in changed.graph.output}
    changed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    return changed


def sample_axes(
    graph: OnnxGraph, shapes: Callable[[int], Mapping[str, tuple[int, ...]]], free: bool
) -> dict[str, int | None]:
    """Which axis of what each node returns are the samples: the one that grows with their number.

    `shapes(rows)` are those of a run of so many. A graph for one batch size (not `free`) is taken
    by its word that they come first.
    """
    one, three = shapes(1), shapes(3) if free else {}
    found: dict[str, int | None] = {}
    for node in graph.nodes:
        shape = one[node.outputs[0]]
        if not free:
            found[node.path] = 0 if shape else None
            continue
        more = three[node.outputs[0]]
        grown = [i for i, (a, b) in enumerate(zip(shape, more, strict=False)) if a != b]
        same = len(grown) == 1 and len(more) == len(shape) and shape[grown[0]] == 1
        found[node.path] = grown[0] if same else None
    return found
