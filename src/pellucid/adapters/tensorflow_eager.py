"""The fall-back reading: the model called as it is, layer by layer, when it cannot be traced.

A model that decides in Python what to do next (`while` on a tensor, `.numpy()` inside) has no one
graph. It still runs, its gradients are a tape's, and its layers can be watched as they return.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from pellucid.adapters.keras_layers import (
    CallStack,
    LayerTree,
    first_tensor,
    numbered,
    parameter_count,
    replace_first,
    watched_calls,
)
from pellucid.adapters.protocol import Cut, Intercept, LayerInfo
from pellucid.adapters.tensorflow_cut import times
from pellucid.adapters.tensorflow_operations import LayerExit
from pellucid.adapters.tensorflow_peel import confirmed
from pellucid.types import Array, Leaves, Outputs

Call = Callable[[Sequence[Any]], Any]

# Keras leaves the logits on the tensor its own softmax and sigmoid return.
_LOGITS = "_keras_logits"


class EagerModel:
    """The user's model called eagerly, with the verbs that need no graph."""

    def __init__(self, call: Call, tree: LayerTree, reason: str) -> None:
        self._call, self._tree, self.reason = call, tree, reason

    def run(self, leaves: Leaves, peel: bool) -> Outputs:
        return self._peeled(self._call(leaves)) if peel else self._call(leaves)

    def _peeled(self, outputs: Any) -> Outputs:
        flat = tf.nest.flatten(outputs)
        logits = [
            getattr(t, _LOGITS) if activation is not None else t
            for t, activation in zip(flat, map(_activation, flat), strict=True)
        ]
        return tf.nest.pack_sequence_as(outputs, logits)

    def activations(self, leaves: Leaves) -> tuple[str | None, ...]:
        return tuple(map(_activation, tf.nest.flatten(self._call(leaves))))

    def infos(self, leaves: Leaves) -> tuple[LayerInfo, ...]:
        infos: list[LayerInfo] = []

        def note(path: str, call: int, layer: keras.layers.Layer, output: Any) -> Any:
            value = first_tensor(output)
            if value is not None:
                shape = (None, *value.shape[1:]) if value.shape.rank else None
                name, kind = numbered(path, call), type(layer).__name__
                infos.append(LayerInfo(name, kind, shape, parameter_count(layer), len(infos)))
            return output

        with watched_calls(self._tree, note, CallStack()):
            self._call(leaves)
        return tuple(infos)

    def intercepted(
        self, leaves: Leaves, peel: bool, intercept: Intercept, names: Sequence[str]
    ) -> Outputs:
        last = self._peeled_layer(leaves) if peel else None

        def at_exit(path: str, call: int, layer: keras.layers.Layer, output: Any) -> Any:
            value, name = first_tensor(output), numbered(path, call)
            if value is not None and name == last:
                value = getattr(value, _LOGITS)
                output = replace_first(output, value)
            if name not in names or value is None:
                return output
            changed = intercept(LayerExit(path, call, type(layer).__name__, tf.identity(value)))
            return replace_first(output, changed)

        with watched_calls(self._tree, at_exit, CallStack()):
            return self.run(leaves, peel)

    def _peeled_layer(self, leaves: Leaves) -> str | None:
        """The layer call whose softmax or sigmoid is the model's output."""
        found: dict[int, str] = {}

        def note(path: str, call: int, layer: keras.layers.Layer, output: Any) -> Any:
            value = first_tensor(output)
            if _activation(value) is not None:
                found.setdefault(id(value), numbered(path, call))
            return output

        with watched_calls(self._tree, note, CallStack()):
            outputs = tf.nest.flatten(self._call(leaves))
        return next((found[id(t)] for t in outputs if id(t) in found), None)

    def cut(self, leaves: Leaves, name: str, peel: bool) -> "EagerCut":
        return EagerCut(self, leaves, name, peel)


class EagerCut(Cut):
    """A cut by whole runs in which the layer returns the value given."""

    def __init__(self, model: EagerModel, leaves: Leaves, name: str, peel: bool) -> None:
        self._model, self._leaves, self._name, self._peel = model, leaves, name, peel
        values: list[Any] = []

        def record(op: Any) -> Any:
            values.append(op())
            return values[-1]

        self.outputs = model.intercepted(leaves, peel, record, [name])
        self.value = values[0]

    def run(self, value: Array) -> Outputs:
        variants = times(value, self.value)
        leaves = self._leaves
        if variants > 1:
            leaves = tuple(tf.repeat(a, variants, axis=0) for a in leaves)
        value = tf.cast(value, self.value.dtype)
        return self._model.intercepted(leaves, self._peel, lambda op: value, [self._name])


def _activation(output: Any) -> str | None:
    logits = getattr(output, _LOGITS, None)
    if logits is None:
        return None
    for activation in ("softmax", "sigmoid", "log_softmax"):
        if confirmed(activation, logits, output):
            return activation
    return None
