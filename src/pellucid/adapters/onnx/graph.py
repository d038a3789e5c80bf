"""What an ONNX graph shows: the softmax or sigmoid it ends in, and its channel axis."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

FINAL = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_SAME_NUMBERS = frozenset({"Identity", "Dropout"})
_CHANNELS_FIRST = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization"
    " InstanceNormalization GroupNormalization LRN".split()
)
"""Operations whose input has its channels at axis 1, by definition of the standard."""


@dataclass(frozen=True)
class Ending:
    """The activation an output ends in, over which axis, and the tensor that goes into it."""

    activation: str
    axis: int
    logits: str

    def confirmed(self, logits: np.ndarray, output: np.ndarray) -> bool:
        """Whether the activation of the logits is the output, on a batch."""
        if logits.shape != output.shape:
            return False
        z = logits.astype(np.float64)
        if self.activation == "sigmoid":
            found = 1 / (1 + np.exp(-z))
        else:
            z = z - z.max(axis=self.axis, keepdims=True)
            found = z - np.log(np.exp(z).sum(axis=self.axis, keepdims=True))
            found = np.exp(found) if self.activation == "softmax" else found
        tolerance = 2e-2 if output.dtype == np.float16 else 1e-5
        return np.allclose(found, output, rtol=tolerance, atol=tolerance)


def with_logits(model: Any) -> tuple[Any, tuple[Ending | None, ...]]:
    """A copy of the model that returns logits as further outputs, and each output's ending."""
    maker = {name: node for node in model.graph.node for name in node.output}
    endings = tuple(_ending(output.name, maker, _opset(model)) for output in model.graph.output)
    if not any(endings):
        return model, endings
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    present = {output.name for output in changed.graph.output}
    for ending, output in zip(endings, model.graph.output, strict=True):
        if ending is not None and ending.logits not in present:
            kind = output.type.tensor_type.elem_type
            changed.graph.output.append(
                onnx.helper.make_tensor_value_info(ending.logits, kind, None)
            )
            present.add(ending.logits)
    return changed, endings


def _ending(output: str, maker: dict[str, Any], opset: int) -> Ending | None:
    node = maker.get(output)
    while node is not None and node.op_type in _SAME_NUMBERS:
        node = maker.get(node.input[0])
    if node is None or node.op_type not in FINAL or node.domain not in ("", "ai.onnx"):
        return None
    axis = -1 if opset >= 13 else 1
    axis = next((a.i for a in node.attribute if a.name == "axis"), axis)
    return Ending(FINAL[node.op_type], axis, node.input[0])


def _opset(model: Any) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def channel_axis(model: Any) -> int:
    """1 where an input reaches an operation that wants channels first, as it came; else -1.

    A model that was converted from channels last moves its input's axes before the first of them.
    """
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    waiting = [value.name for value in model.graph.input]
    seen: set[str] = set(waiting)
    while waiting:
        for node in readers.get(waiting.pop(0), ()):
            if node.op_type == "Transpose":
                return -1
            if node.op_type in _CHANNELS_FIRST:
                return 1
            fresh = [name for name in node.output if name not in seen]
            seen.update(fresh)
            waiting += fresh
    return -1


def stored_elsewhere(model: Any) -> Iterator[str]:
    """The files that hold arrays in place of the model."""
    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield next((e.value for e in tensor.external_data if e.key == "location"), "unnamed")


def tensors(model: Any) -> Iterator[Any]:
    """Every stored array of a model, those in branches and functions included."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors_of_graph(graph)
