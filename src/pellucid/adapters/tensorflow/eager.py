"""The fall-back reading: the model called as it is, layer by layer, when it cannot be traced.

A model that decides in Python what to do next (`while` on a tensor, `.numpy()` inside) has no one
graph. It still runs, its gradients are a tape's, and its layers can be watched as they return.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from pellucid.adapters.keras.calls import CallStack, watched_calls
from pellucid.adapters.keras.layers import LayerTree, numbered
from pellucid.adapters.protocol import Cut, Intercept, LayerInfo
from pellucid.adapters.tensorflow.cut import times
from pellucid.adapters.tensorflow.intercepting import LayerExit
from pellucid.adapters.tensorflow.layers import first_tensor, replace_first
from pellucid.adapters.tensorflow.peel import confirmed
from pellucid.errors import LayerError
from pellucid.types import Array, Leaves, Outputs

Call = Callable[[Sequence[Any]], Any]

# Keras leaves the logits on the tensor its own softmax and sigmoid return.
_LOGITS = "_keras_logits"


class EagerModel:
    """The user's model called eagerly, with the verbs that need no graph."""

    def __init__(self, call: Call, tree: LayerTree, reason: str) -> None:
        self._call, self._tree, self.reason = call, tree, reason
        self._found: tuple[str | None, ...] | None = None
        self._last: str | None = None
        self._calls: list[str] = []

    def run(self, leaves: Leaves, peel: bool) -> Outputs:
        outputs = self._call(leaves)
        self._found = tuple(map(_activation, tf.nest.flatten(outputs)))
        return self._peeled(outputs) if peel else outputs

    def _peeled(self, outputs: Any) -> Outputs:
        flat = tf.nest.flatten(outputs)
        logits = [
            getattr(t, _LOGITS) if activation is not None else t
            for t, activation in zip(flat, map(_activation, flat), strict=True)
        ]
        return tf.nest.pack_sequence_as(outputs, logits)

    def activations(self, leaves: Leaves) -> tuple[str | None, ...]:
        """The final activation of each output in the last run; runs one row before any."""
        if self._found is None:
            self.run(tuple(a[:1] for a in leaves), peel=False)
        return self._found or ()

    def calls(self, leaves: Leaves, names: Sequence[str]) -> Sequence[str]:
        """Paths of layer calls; those seen before where they hold `names`, else by one row."""
        if not self._calls or not set(names) <= set(self._calls):
            if set(names) <= set(self._tree.layers):
                return tuple(names)  # the run itself shows whether they are called
            self.infos(tuple(a[:1] for a in leaves))
        return self._calls

    def infos(self, leaves: Leaves) -> tuple[LayerInfo, ...]:
        infos: list[LayerInfo] = []

        def note(path: str, call: int, layer: Any, output: Any) -> Any:
            value = first_tensor(output)
            if value is not None:
                shape = (None, *value.shape[1:]) if value.shape.rank else None
                name, kind = numbered(path, call), type(layer).__name__
                infos.append(LayerInfo(name, kind, shape, self._tree.parameters(layer), len(infos)))
            return output

        with watched_calls(self._tree, note, CallStack()):
            self._call(leaves)
        self._calls = [info.path for info in infos]
        return tuple(infos)

    def intercepted(
        self, leaves: Leaves, peel: bool, intercept: Intercept, names: Sequence[str]
    ) -> Outputs:
        def at_exit(path: str, call: int, layer: Any, output: Any) -> Any:
            value, name = first_tensor(output), numbered(path, call)
            if name not in names or value is None:
                return output
            seen.add(name)
            if peel and getattr(value, _LOGITS, None) is not None and name == self._peeled_layer(x):
                value = getattr(value, _LOGITS)
                output = replace_first(output, value)
                peeled.append(name)
            changed = intercept(LayerExit(path, call, type(layer).__name__, tf.identity(value)))
            return replace_first(output, changed)

        x = tuple(a[:1] for a in leaves)
        seen, peeled = set[str](), list[str]()
        with watched_calls(self._tree, at_exit, CallStack()):
            found = self._call(leaves)
        if self._found is None and not peeled:
            self._found = tuple(map(_activation, tf.nest.flatten(found)))
        missing = [name for name in names if name not in seen]
        if missing:
            raise LayerError(
                f"The layer {missing[0]!r} was not called in this run of the model, or returned"
                " no array."
            )
        return self._peeled(found) if peel else found

    def _peeled_layer(self, leaves: Leaves) -> str | None:
        """The layer call whose softmax or sigmoid is the model's output; runs one row, once."""
        if self._last is not None:
            return self._last
        found: dict[int, str] = {}

        def note(path: str, call: int, layer: Any, output: Any) -> Any:
            value = first_tensor(output)
            if _activation(value) is not None:
                found.setdefault(id(value), numbered(path, call))
            return output

        with watched_calls(self._tree, note, CallStack()):
            outputs = tf.nest.flatten(self._call(leaves))
        self._last = next((found[id(t)] for t in outputs if id(t) in found), "")
        return self._last

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
