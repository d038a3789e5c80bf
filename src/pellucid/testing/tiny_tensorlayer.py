"""The tiny models in TensorLayer 2: static, dynamic, and nested in one another."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tensorlayer as tl

from pellucid.errors import InputError
from pellucid.testing import tiny_tensorflow
from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON
from pellucid.testing.tiny_weights import INPUT_SHAPES

NESTED = ("dense", "dense_softmax", "cnn", "shared")
"""The models that come nested as well."""

L: Any = tl.layers
Layers = Mapping[str, Any]


def build(name: str, weights: Mapping[str, np.ndarray], style: str = "static") -> Any:
    """Build the model with these weights; two inputs are taken as one list.

    A nested model has part of its layers inside a model of their own: `encoder` of `shared`,
    which is called twice, all but the head (`base`) of the others.
    """
    if style not in STYLES:
        raise InputError(f"style is one of {', '.join(STYLES)}, not {style!r}.")
    if style == "nested" and name not in NESTED:
        raise InputError(f"{name!r} comes static or dynamic only; {', '.join(NESTED)} nested too.")
    if name in WRITTEN:
        return STYLES[style](name, WRITTEN[name](tiny_tensorflow.build(name, weights)))
    made = {layer.name: layer for layer in LAYERS[name.removesuffix("_softmax")]()}
    if name == "dense_softmax":
        made["head"].act = tf.nn.softmax
    model = STYLES[style](name, made)
    # Now, for putting a static model together is a training step of its batch norms.
    for key, value in weights.items():
        layer, part = key.split("/")
        _variable(made[layer], part).assign(value)
    return model


def _variable(layer: Any, part: str) -> tf.Variable:
    """Statistics by the list of weights: their attributes hold results of a training step."""
    if part in ("mean", "variance"):
        return layer.nontrainable_weights[part == "variance"]
    return getattr(layer, {"kernel": "W", "bias": "b"}.get(part, part))


def _static(name: str, made: Layers) -> Any:
    inputs = _placeholders(name)
    outputs = WIRING[name.removesuffix("_softmax")](made, *inputs)
    first, *others = inputs
    return tl.models.Model(inputs=list(inputs) if others else first, outputs=outputs)


def _nested(name: str, made: Layers) -> Any:
    return _static(name, _with_model_inside(name, made))


class Written(L.Layer):
    """A layer of the user's own, with weights and operations of TensorFlow's in it."""

    def __init__(self, name: str, function: Callable[[Any], Any], weights: Sequence[Any]) -> None:
        super().__init__(name)
        self.function = function
        self._trainable_weights = list(weights)
        self._built = True

    def build(self, inputs_shape: Any) -> None:
        """The weights are there."""

    def __repr__(self) -> str:
        """As TensorLayer asks of a layer."""
        return "Written()"

    def forward(self, x: Any) -> Any:
        """What the function does."""
        return self.function(x)


class Dynamic(tl.models.Model):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """A model whose order of layers is known only to its `forward`."""

    def __init__(self, name: str, made: Layers) -> None:
        super().__init__()
        self.names = tuple(made)
        self.wiring = WIRING[name.removesuffix("_softmax")]
        for layer_name, layer in made.items():
            setattr(self, layer_name, layer)

    def forward(self, x: Any) -> Any:
        """Two inputs come as one list."""
        made = {name: getattr(self, name) for name in self.names}
        return self.wiring(made, *(x if isinstance(x, list) else [x]))


STYLES: Mapping[str, Callable[[str, Layers], Any]] = {
    "static": _static,
    "dynamic": Dynamic,
    "nested": _nested,
}


def _placeholders(name: str) -> list[Any]:
    shapes = INPUT_SHAPES[name.removesuffix("_softmax")]
    return [L.Input([None, *shape]) for shape in shapes]


def _with_model_inside(name: str, made: Layers) -> Layers:
    if name == "shared":
        outer, inside, x = "encoder", ("encoder1", "encoder2"), L.Input([None, 6])
    else:
        outer, inside, x = "base", tuple(made)[:-1], _placeholders(name)[0]
    below = _base(made, x) if outer == "base" else _encoded(made, x)
    layer = L.ModelLayer(tl.models.Model(inputs=x, outputs=below), name=outer)
    return {outer: layer, **{k: v for k, v in made.items() if k not in inside}}


def _relu(name: str) -> Any:
    return L.Lambda(tf.nn.relu, name=name)


def _conv(channels: int, out: int, size: int, name: str, act: Any = None) -> Any:
    return L.Conv2d(out, (size, size), act=act, in_channels=channels, name=name)


def _norm(name: str) -> Any:
    return L.BatchNorm2d(epsilon=BATCH_NORM_EPSILON, num_features=6, name=name)


def _dense(channels: int, out: int, name: str, act: Any = None) -> Any:
    return L.Dense(out, act=act, in_channels=channels, name=name)


def _whole(module: Any) -> Layers:
    return {"written": Written("written", module, module.variables)}


def _transformer(module: Any) -> Layers:
    """A layer for each part of the vision transformer; sums are TensorLayer's own."""

    def part(name: str, function: Callable[[Any], Any], *weights: str) -> Any:
        own = [v for v in module.variables if v.name.split("/")[0] in (weights or (name,))]
        return Written(name, function, own)

    def norm(name: str) -> Any:
        return part(name, partial(module.layer_norm, layer=name))

    layers = [
        part("patch", module.patch),
        part("embed", module.embed, "class_token", "position"),
    ]
    for block in ("block1", "block2"):
        attention = [f"{block}_{which}" for which in ("query", "key", "value", "output")]
        layers += [
            norm(f"{block}_norm1"),
            part(f"{block}_attention", partial(module.attention, block=block), *attention),
            L.Elementwise(tf.add, name=f"{block}_add1"),
            norm(f"{block}_norm2"),
            part(
                f"{block}_perceptron",
                partial(module.perceptron, block=block),
                f"{block}_mlp1",
                f"{block}_mlp2",
            ),
            L.Elementwise(tf.add, name=f"{block}_add2"),
        ]
    layers += [norm("norm"), part("head", module.classify)]
    return {layer.name: layer for layer in layers}


WRITTEN: Mapping[str, Callable[[Any], Layers]] = {
    "cnn_functional": _whole,
    "vit": _transformer,
}
"""The models TensorLayer has no layers for (functional ReLUs, attention), made of TensorFlow's."""

LAYERS: Mapping[str, Callable[[], Sequence[Any]]] = {
    "dense": lambda: [
        _dense(6, 8, "hidden1"),
        _relu("relu"),
        _dense(8, 7, "hidden2"),
        _dense(7, 3, "head"),
    ],
    "sigmoid": lambda: [
        _dense(6, 8, "hidden1", "relu"),
        _dense(8, 1, "head", tf.nn.sigmoid),
    ],
    "cnn": lambda: [
        _conv(3, 6, 3, "conv1"),
        _relu("relu"),
        L.MaxPool2d((2, 2), (2, 2), name="pool"),
        _conv(6, 8, 3, "conv2"),
        L.GlobalMeanPool2d(name="average"),
        _dense(8, 3, "head"),
    ],
    "residual": lambda: [
        _conv(3, 6, 3, "conv1"),
        _norm("norm1"),
        _relu("relu1"),
        _conv(6, 6, 3, "conv2"),
        _norm("norm2"),
        L.Elementwise(tf.add, act="relu", name="add"),
        L.GlobalMeanPool2d(name="average"),
        _dense(6, 3, "head"),
    ],
    "depthwise": lambda: [
        L.DepthwiseConv2d(depth_multiplier=2, act="relu", in_channels=4, name="depthwise"),
        _conv(8, 8, 1, "pointwise", "relu"),
        L.GlobalMeanPool2d(name="average"),
        _dense(8, 3, "head"),
    ],
    "shared": lambda: [
        _dense(6, 8, "encoder1", "relu"),
        _dense(8, 5, "encoder2", "relu"),
        L.Concat(-1, name="joined"),
        _dense(10, 8, "hidden", "relu"),
        _dense(8, 3, "head"),
    ],
    "two_inputs": lambda: [
        _conv(3, 6, 3, "conv", "relu"),
        L.GlobalMeanPool2d(name="average"),
        _dense(5, 6, "table", "relu"),
        L.Concat(-1, name="joined"),
        _dense(12, 8, "hidden", "relu"),
        _dense(8, 3, "head"),
    ],
}
"""The layers of each architecture, in the order in which they are first called."""


def _base(made: Layers, x: Any) -> Any:
    """All of a chain but its head."""
    if "base" in made:
        return made["base"](x)
    if "conv1" not in made:
        return made["relu"](made["hidden2"](made["relu"](made["hidden1"](x))))
    x = made["pool"](made["relu"](made["conv1"](x)))
    return made["average"](made["relu"](made["conv2"](x)))


def _wire_chain(made: Layers, x: Any) -> Any:
    return made["head"](_base(made, x))


def _wire_sigmoid(made: Layers, x: Any) -> Any:
    return made["head"](made["hidden1"](x))


def _wire_residual(made: Layers, x: Any) -> Any:
    x = made["relu1"](made["norm1"](made["conv1"](x)))
    branch = made["norm2"](made["conv2"](x))
    return made["head"](made["average"](made["add"]([x, branch])))


def _wire_depthwise(made: Layers, x: Any) -> Any:
    return made["head"](made["average"](made["pointwise"](made["depthwise"](x))))


def _encoded(made: Layers, x: Any) -> Any:
    return made["encoder"](x) if "encoder" in made else made["encoder2"](made["encoder1"](x))


def _wire_shared(made: Layers, left: Any, right: Any) -> Any:
    joined = made["joined"]([_encoded(made, left), _encoded(made, right)])
    return made["head"](made["hidden"](joined))


def _wire_two_inputs(made: Layers, image: Any, table: Any) -> Any:
    seen = made["average"](made["conv"](image))
    joined = made["joined"]([seen, made["table"](table)])
    return made["head"](made["hidden"](joined))


def _wire_transformer(made: Layers, x: Any) -> Any:
    x = made["embed"](made["patch"](x))
    for block in ("block1", "block2"):
        seen = made[f"{block}_attention"](made[f"{block}_norm1"](x))
        x = made[f"{block}_add1"]([x, seen])
        x = made[f"{block}_add2"]([x, made[f"{block}_perceptron"](made[f"{block}_norm2"](x))])
    return made["head"](made["norm"](x))


WIRING: Mapping[str, Callable[..., Any]] = {
    "dense": _wire_chain,
    "sigmoid": _wire_sigmoid,
    "cnn": _wire_chain,
    "residual": _wire_residual,
    "depthwise": _wire_depthwise,
    "shared": _wire_shared,
    "two_inputs": _wire_two_inputs,
    "cnn_functional": lambda made, x: made["written"](x),
    "vit": _wire_transformer,
}
