"""What an ONNX graph is made of, read without running it: nodes, what they hold, shapes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference

from pellucid.adapters.onnx.operations import SETTINGS, SHAPES, STATISTICS, kind_of
from pellucid.adapters.protocol import LayerInfo


@dataclass(frozen=True)
class GraphNode:
    """A node that depends on the model's inputs; `sources` number the nodes its inputs come from.

    `held` names the stored arrays among its inputs, those that constants are computed from
    included; `parameters` are those of them that were learned.
    """

    index: int
    path: str
    name: str
    kind: str
    form: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    live: tuple[bool, ...]
    sources: tuple[int, ...]
    held: tuple[str, ...]
    parameters: tuple[str, ...]
    arguments: Mapping[str, Any]


class OnnxGraph:
    """A model's graph, its functions opened."""

    def __init__(self, model: Any) -> None:
        self.model = onnx.inliner.inline_local_functions(model) if model.functions else model
        self.stored = {t.name: t for t in self.model.graph.initializer}
        entering = [v.name for v in self.model.graph.input if v.name not in self.stored]
        self.entering = frozenset(entering)

    @cached_property
    def nodes(self) -> tuple[GraphNode, ...]:
        live: set[str] = set(self.entering)
        made_by: dict[str, int] = {}
        below: dict[str, tuple[str, ...]] = {name: (name,) for name in self.stored}
        paths: dict[str, int] = {}
        found: list[GraphNode] = []
        for node in self.model.graph.node:
            captured = tuple(_captured(node))
            inputs = (*node.input, *captured)
            alive = tuple(name in live for name in inputs)
            held = tuple(below.get(name, ()) for name in inputs)
            if not any(alive) or node.op_type in SHAPES:
                everything = tuple(dict.fromkeys(name for names in held for name in names))
                below |= dict.fromkeys(node.output, everything)
                self._keep_constant(node, below)
                continue
            kind, form = kind_of(node.op_type, alive)
            settings = SETTINGS.get(node.op_type, frozenset())
            measured = settings | STATISTICS.get(node.op_type, frozenset())
            given = [(n, a, made_by.get(n, -1)) for n, a in zip(inputs, alive, strict=True) if n]
            names, lives, sources = zip(*given, strict=True)
            found.append(
                GraphNode(
                    len(found), _path(node, paths), node.op_type, kind, form, names,
                    tuple(filter(None, node.output)), lives, sources,
                    self._learned(kind, held, settings), self._learned(kind, held, measured),
                    {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
                )
            )  # fmt: skip
            live.update(filter(None, node.output))  # one that is not asked for has no name
            made_by |= dict.fromkeys(filter(None, node.output), len(found) - 1)
        return tuple(found)

    def _keep_constant(self, node: Any, below: dict[str, tuple[str, ...]]) -> None:
        """An array that stands in a node is stored as others are; a single number is a setting."""
        if node.op_type != "Constant":
            return
        for attribute in node.attribute:
            if attribute.name == "value" and math.prod(attribute.t.dims) > 1:
                self.stored[node.output[0]] = attribute.t
                below[node.output[0]] = (node.output[0],)

    def _learned(
        self, kind: str, held: tuple[tuple[str, ...], ...], but: frozenset[int]
    ) -> tuple[str, ...]:
        names = (name for i, names in enumerate(held) if i not in but for name in names)
        return tuple(n for n in dict.fromkeys(names) if self._is_weight(n, kind))

    def _is_weight(self, name: str, kind: str) -> bool:
        """Whether a stored array holds real numbers, or whole ones that stand for them."""
        of = self.stored[name].data_type
        return of in _REAL or (kind in _WITH_WHOLE and of in _SMALL)

    @cached_property
    def owners(self) -> dict[str, tuple[str, ...]]:
        """The layers of every stored array; none for those that are no parameters."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for name in node.held:
                found.setdefault(name, [])
            for name in node.parameters:
                found[name].append(node.path)
        return {name: tuple(paths) for name, paths in found.items()}

    def array(self, name: str) -> np.ndarray:
        """A stored array."""
        return np.asarray(onnx.numpy_helper.to_array(self.stored[name]))

    def numbers_in(self, node: GraphNode) -> int:
        """How many parameters a node holds; those of a tree ensemble are among its arguments."""
        listed = (v for v in node.arguments.values() if isinstance(v, list) and v)
        own = 0
        if self.domain_of(node) == "ai.onnx.ml":
            own = sum(len(values) for values in listed if isinstance(values[0], float))
        return own + sum(math.prod(self.stored[name].dims) for name in node.parameters)

    def domain_of(self, node: GraphNode) -> str:
        return self._domains.get(node.outputs[0], "")

    @cached_property
    def _domains(self) -> dict[str, str]:
        return {name: node.domain for node in self.model.graph.node for name in node.output}

    @cached_property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Shapes that the standard's rules give without a run; None for a free size."""
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model)
        except (onnx.shape_inference.InferenceError, ValueError):  # too large, or not of a piece
            inferred = self.model
        graph = inferred.graph
        return {
            value.name: tuple(
                d.dim_value if d.HasField("dim_value") else None
                for d in value.type.tensor_type.shape.dim
            )
            for value in (*graph.value_info, *graph.output)
            if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
        }

    def layers(self) -> tuple[LayerInfo, ...]:
        return tuple(
            LayerInfo(n.path, n.name, self.shapes.get(n.outputs[0]), self.numbers_in(n), n.index)
            for n in self.nodes
        )

    def outputs_first(self, name: str) -> bool:
        """Whether a stored matrix or kernel is (outputs, inputs, ...)."""
        users = [n for n in self.nodes if name in n.held]
        if any(n.form == "convolution" for n in users):
            return True
        return any(n.arguments.get("transB") == 1 and n.inputs[1] == name for n in users)


_T = onnx.TensorProto
_REAL = frozenset({_T.FLOAT, _T.DOUBLE, _T.FLOAT16, _T.BFLOAT16})
_SMALL = frozenset({_T.INT8, _T.UINT8, _T.INT4, _T.UINT4})
_WITH_WHOLE = frozenset({"linear", "lookup"})


def _path(node: Any, seen: dict[str, int]) -> str:
    """A node's name, which files may leave out or give twice; "#" numbers calls here."""
    name = (node.name or node.op_type).replace("#", "_")
    seen[name] = seen.get(name, -1) + 1
    return f"{name}_{seen[name]}" if seen[name] or not node.name else name


def _captured(node: Any) -> Iterator[str]:
    """The values from outside that the graphs in a node (its branches, its loop) use."""
    for attribute in node.attribute:
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            own |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                yield from (n for n in (*inner.input, *_captured(inner)) if n and n not in own)
            yield from (v.name for v in graph.output if v.name not in own)
