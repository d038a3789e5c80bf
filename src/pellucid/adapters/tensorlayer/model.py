"""TensorLayer 2 models: where their layers are, and the rules they are called by."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorlayer as tl

from pellucid.adapters.keras.description import unique
from pellucid.adapters.keras.layers import LayerTree, unique_names
from pellucid.adapters.keras.state import State, plain_attributes
from pellucid.adapters.protocol import InputSpec
from pellucid.adapters.tensorflow.library import LibraryModel
from pellucid.adapters.tensorflow.state import function_state
from pellucid.adapters.tensorlayer.inference import attributes_before, held_in_inference
from pellucid.errors import CapabilityError

_Layer: Any = tl.layers.Layer
_Model: Any = tl.models.Model


class TensorLayerModel(LibraryModel):
    """A `tensorlayer.models.Model` (or a layer by itself), held in inference mode when it runs.

    `is_train` is set to False on the model and everything inside it for a call and put back after
    it, so neither statistics nor modes change. A TensorLayer model converts a list of inputs in
    place and takes one argument; several inputs reach it as a fresh list.
    """

    framework = "tensorlayer"
    bookkeeping = frozenset(
        "name _NameNone is_train _all_weights _trainable_weights _nontrainable_weights _config"
        " _inputs _outputs _model_layer _nodes_fixed _all_layers _node_by_depth _built _nodes"
        " _layers layer_args axes channel_axis _input_tensors forward".split()
    )

    def __init__(self, model: Any) -> None:
        self.model = model
        declared = getattr(model, "inputs", None)
        if isinstance(declared, list):
            self.nest, tensors = [0] * len(declared), declared
        else:
            self.nest, tensors = (None, None) if declared is None else (0, [declared])
        self.specs = None if tensors is None else tuple(map(_spec, tensors))

    def tree(self) -> LayerTree:
        paths: dict[str, Any] = {}
        seen = {id(self.model)}

        def visit(parent: Any, prefix: str) -> None:
            inside = [part for part in children(parent) if id(part) not in seen]
            inside = [part for part in inside if not isinstance(part, tl.layers.inputs._InputLayer)]
            seen.update(map(id, inside))
            for part, name in zip(inside, unique_names(parent, inside), strict=True):
                path = f"{prefix}{name}"
                visit(part, f"{path}/")
                paths[path] = part

        visit(self.model, "")
        return LayerTree(paths, weights_of, "forward")

    def parts(self) -> list[Any]:
        """The model and everything inside it that has modes and attributes, each once."""
        found: dict[int, Any] = {}
        waiting = [self.model]
        while waiting:
            part = waiting.pop()
            if id(part) not in found:
                found[id(part)] = part
                waiting += reversed(children(part))
                waiting += [part.model] if isinstance(part, tl.layers.ModelLayer) else []
        return list(found.values())

    def variables(self) -> dict[str, tf.Variable]:
        weights = (v for part in self.parts() for v in _own_weights(part))
        return unique((v.name.partition(":")[0], v) for v in weights)

    def structure_key(self) -> tuple[Any, ...]:
        return tuple(
            (
                id(part),
                id(getattr(part, "_node_by_depth", None)),
                *(id(v) for v in _own_weights(part)),
            )
            for part in self.parts()
        )

    def state(self) -> State:
        found: State = {}
        for number, part in enumerate(self.parts()):
            attributes = attributes_before(self.model, part)
            mine = {k: v for k, v in attributes.items() if k not in self.bookkeeping}
            found.update(plain_attributes(mine, f"layer {number}"))
            for name, held in mine.items():
                if inspect.isfunction(held):
                    found.update(function_state(held, f"layer {number}.{name}()"))
            forward = type(part).forward
            if not str(forward.__module__).startswith("tensorlayer."):
                found.update(function_state(forward, f"layer {number}.forward()"))
        return found

    def run(self, nest: Any, leaves: Sequence[Any]) -> Any:
        with held_in_inference(self.model, self._held, _inference):
            return self._call(tf.nest.pack_sequence_as(nest, list(leaves)))

    def _held(self) -> list[Any]:
        """The parts, and the nodes of static models, which remember the tensors of a call."""
        parts = self.parts()
        return [*parts, *(node for part in parts for node in getattr(part, "_nodes", ()))]

    def _call(self, packed: Any) -> Any:
        model = self.model
        if not isinstance(model, _Model):
            return model.forward(list(packed) if isinstance(packed, tuple) else packed)
        if self.nest is not None or not isinstance(packed, tuple | dict):
            return model(packed)
        names = _parameters(model)
        if isinstance(packed, Mapping):
            if not set(packed) <= set(names) or names[0] not in packed:
                raise CapabilityError(
                    f"A TensorLayer model takes a tensor, or a list of them, not a dict, unless its"
                    f" keys name the arguments of forward: {names}, got {sorted(packed)}."
                )
            named = dict(packed)
            return model(named.pop(names[0]), **named)
        if len(names) >= len(packed) > 1:
            first, *others = packed
            return model(first, **dict(zip(names[1:], others, strict=False)))
        return model(list(packed))


def weights_of(layer: Any) -> Sequence[tf.Variable]:
    """A layer's weights, those of the layers inside it included."""
    return layer.all_weights or ()


def children(parent: Any) -> list[Any]:
    """The layers and models directly inside a model or layer, in the order they are printed."""
    if isinstance(parent, tl.layers.ModelLayer):
        return children(parent.model)
    if isinstance(parent, tl.layers.LayerList):
        return list(parent.layers)
    if isinstance(parent, _Model):
        static = parent._all_layers
        return list(static) if parent.outputs is not None else list(_attributes(parent))
    return list(parent._layers or ())


def _attributes(model: Any) -> Iterator[Any]:
    """What a dynamic model holds, as attributes and in lists, in the order it was set."""
    seen: set[int] = set()

    def visit(value: Any) -> Iterator[Any]:
        if isinstance(value, _Layer | _Model):
            if id(value) not in seen:
                seen.add(id(value))
                yield value
        elif isinstance(value, list | tuple):
            for part in value:
                yield from visit(part)
        elif isinstance(value, dict):
            for part in value.values():
                yield from visit(part)

    for name, value in list(vars(model).items()):
        if name not in TensorLayerModel.bookkeeping:
            yield from visit(value)


def _own_weights(part: Any) -> list[tf.Variable]:
    """The weights of a layer that are not those of a layer inside it."""
    if isinstance(part, _Model | tl.layers.ModelLayer | tl.layers.LayerList):
        return []
    return [*(part._trainable_weights or ()), *(part._nontrainable_weights or ())]


def _spec(placeholder: tf.Tensor) -> InputSpec:
    """What a static model's input says of itself; its tensor has 1 in the place of free sizes."""
    layer = placeholder._info[0].layer
    return InputSpec(layer.name, tuple(layer.shape)[1:], placeholder.dtype.name)


def _parameters(model: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [n for n, p in inspect.signature(model.forward).parameters.items() if p.kind in kinds]


def _inference(part: Any) -> dict[str, Any]:
    """The attributes a model, layer or node has while it runs for pellucid."""
    if not isinstance(part, _Model | _Layer):
        return {}
    changes: dict[str, Any] = {"is_train": False}
    if not isinstance(part, _Model):
        changes.update(_real_variables(part))
    activation = getattr(part, "act", None)
    if activation is not None and activation in _FINAL:
        changes["act"] = _remembering(activation)
    return changes


def _real_variables(layer: Any) -> dict[str, tf.Variable]:
    """The variables themselves, where a training step left the result of its assignment.

    A training step of BatchNorm replaces `moving_mean` by an `_UnreadVariable` that no
    tf.function can read: "Can not convert a NoneType into a Tensor or Operation".
    """
    known = _own_weights(layer)
    found = {}
    for name, value in layer.__dict__.items():
        if isinstance(value, tf.Variable) and not any(value is v for v in known):
            real = next((v for v in known if v.handle is value.handle), None)
            if real is not None:
                found[name] = real
    return found


_FINAL = (tf.nn.softmax, tf.nn.sigmoid, tf.sigmoid, tf.nn.log_softmax)


def _remembering(activation: Callable[..., Any]) -> Callable[..., Any]:
    """The activation, with its input left on its output as Keras does: read in eager runs."""

    @functools.wraps(activation)
    def remembering(x: Any, *args: Any, **kwargs: Any) -> Any:
        output = activation(x, *args, **kwargs)
        output._keras_logits = x
        return output

    return remembering
