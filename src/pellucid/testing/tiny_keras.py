"""The tiny models in Keras 3, in the several ways people build a model."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from pellucid.errors import InputError
from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON, HEADS, LAYER_NORM_EPSILON
from pellucid.testing.tiny_weights import INPUT_SHAPES

STYLED = ("dense", "dense_softmax", "cnn")
"""The models that come in every style; the others are functional."""


def build(name: str, weights: Mapping[str, np.ndarray], style: str = "functional") -> keras.Model:
    """Build the model with these weights; two inputs are taken as one tuple."""
    if style not in STYLES:
        raise InputError(f"style is one of {', '.join(STYLES)}, not {style!r}.")
    if style not in ("functional", "reloaded") and name not in STYLED:
        raise InputError(f"{name!r} comes functional or reloaded only; {', '.join(STYLED)} in all.")
    model = STYLES[style](name)
    given: dict[str, list[np.ndarray]] = {}
    for key, value in weights.items():
        given.setdefault(_KERAS_LAYERS.get(key.split("/")[0], key.split("/")[0]), []).append(value)
    for layer in _leaves(model):
        # Keras lists a layer's weights in the order in which ours are stored; heads have an axis.
        pairs = zip(given.get(layer.name, []), layer.weights, strict=True)
        layer.set_weights([value.reshape(wanted.shape) for value, wanted in pairs])
    return _saved_and_loaded(model) if style == "reloaded" else model


def _functional(name: str) -> keras.Model:
    inputs = tuple(keras.Input(shape) for shape in INPUT_SHAPES[name.removesuffix("_softmax")])
    if name in FUNCTIONAL:
        outputs = FUNCTIONAL[name](*inputs)
    else:
        outputs = _in_a_row(_stack(name, reuse_relu=True), inputs[0])
    first, *others = inputs
    return keras.Model((first, *others) if others else first, outputs, name=name)


def _sequential(name: str) -> keras.Model:
    stack = _stack(name, reuse_relu=False)
    return keras.Sequential([keras.Input(INPUT_SHAPES[_architecture(name)][0]), *stack], name=name)


def _nested(name: str) -> keras.Model:
    """All but the head inside a model called `base`, as with a pretrained backbone."""
    stack = _stack(name, reuse_relu=True)
    depth = 5 if name == "cnn" else 4
    shape = INPUT_SHAPES[_architecture(name)][0]
    inner = keras.Input(shape)
    base = keras.Model(inner, _in_a_row(stack[:depth], inner), name="base")
    outer = keras.Input(shape)
    return keras.Model(outer, _in_a_row(stack[depth:], base(outer)), name=name)


class Subclassed(keras.Model):
    """A model whose order of layers is known only to its `call`."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.stack = _stack(name, reuse_relu=True)

    def call(self, x: Any) -> Any:
        return _in_a_row(self.stack, x)


def _subclassed(name: str) -> keras.Model:
    model = Subclassed(name)
    model(np.zeros((1, *INPUT_SHAPES[_architecture(name)][0]), "float32"))  # creates the weights
    return model


STYLES: Mapping[str, Callable[[str], keras.Model]] = {
    "functional": _functional,
    "sequential": _sequential,
    "nested": _nested,
    "subclassed": _subclassed,
    "reloaded": _functional,
}


def _stack(name: str, *, reuse_relu: bool) -> list[layers.Layer]:
    """List the layers of a chain in order of call, with one ReLU called twice, or two."""
    relu1 = layers.ReLU(name="relu" if reuse_relu else "relu1")
    relu2 = relu1 if reuse_relu else layers.ReLU(name="relu2")
    if name == "cnn":
        return [
            layers.Conv2D(6, 3, padding="same", name="conv1"),
            relu1,
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(8, 3, padding="same", name="conv2"),
            relu2,
            layers.GlobalAveragePooling2D(name="average"),
            layers.Dense(3, name="head"),
        ]
    return [
        layers.Dense(8, name="hidden1"),
        relu1,
        layers.Dense(7, name="hidden2"),
        relu2,
        layers.Dense(3, activation="softmax" if name == "dense_softmax" else None, name="head"),
    ]


def _sigmoid(x: Any) -> Any:
    x = layers.Dense(8, activation="relu", name="hidden1")(x)
    return layers.Dense(1, activation="sigmoid", name="head")(x)


def _residual(x: Any) -> Any:
    x = layers.Conv2D(6, 3, padding="same", name="conv1")(x)
    x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name="norm1")(x)
    x = layers.ReLU(name="relu1")(x)
    branch = layers.Conv2D(6, 3, padding="same", name="conv2")(x)
    branch = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name="norm2")(branch)
    x = layers.ReLU(name="relu2")(layers.Add(name="add")([x, branch]))
    return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="average")(x))


def _depthwise(x: Any) -> Any:
    x = layers.DepthwiseConv2D(
        3, padding="same", depth_multiplier=2, activation="relu", name="depthwise"
    )(x)
    x = layers.Conv2D(8, 1, activation="relu", name="pointwise")(x)
    return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="average")(x))


def _cnn_functional(x: Any) -> Any:
    """ReLUs that are functions, and a convolution called twice."""
    conv2 = layers.Conv2D(6, 3, padding="same", name="conv2")
    x = keras.ops.relu(layers.Conv2D(6, 3, padding="same", name="conv1")(x))
    x = keras.activations.relu(conv2(layers.AveragePooling2D(2, name="pool")(x)))
    x = keras.ops.relu(conv2(x))
    return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="average")(x))


@keras.saving.register_keras_serializable("pellucid")
class ClassToken(layers.Layer):
    """Puts a learned token before the others, `(n, t, c) -> (n, t + 1, c)`."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.token = self.add_weight(shape=(1, input_shape[-1]), name="token")

    def call(self, x: Any) -> Any:
        rows: Any = keras.ops.shape(x)
        first = keras.ops.broadcast_to(self.token, (rows[0], 1, x.shape[2]))
        return keras.ops.concatenate([first, x], axis=1)


@keras.saving.register_keras_serializable("pellucid")
class Position(layers.Layer):
    """Adds a learned vector to each token, `(n, t, c) -> (n, t, c)`."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.value = self.add_weight(shape=tuple(input_shape[1:]), name="value")

    def call(self, x: Any) -> Any:
        return x + self.value


def _vit(x: Any) -> Any:
    def norm(tokens: Any, name: str) -> Any:
        return layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=name)(tokens)

    x = layers.Conv2D(8, 2, strides=2, name="patch")(x)
    x = layers.Reshape((12, 8), name="tokens")(x)
    x = Position(name="position")(ClassToken(name="class_token")(x))
    for block in ("block1", "block2"):
        given = norm(x, f"{block}_norm1")
        attention = layers.MultiHeadAttention(HEADS, 8 // HEADS, name=f"{block}_attention")
        x = layers.Add(name=f"{block}_add")([x, attention(given, given)])
        hidden = layers.Dense(16, name=f"{block}_mlp1")(norm(x, f"{block}_norm2"))
        hidden = layers.Activation("gelu", name=f"{block}_gelu")(hidden)
        x = layers.Add(name=block)([x, layers.Dense(8, name=f"{block}_mlp2")(hidden)])
    return layers.Dense(3, name="head")(norm(x, "norm")[:, 0])


def _shared(left: Any, right: Any) -> Any:
    inner = keras.Input((6,))
    code = layers.Dense(8, activation="relu", name="encoder1")(inner)
    code = layers.Dense(5, activation="relu", name="encoder2")(code)
    encoder = keras.Model(inner, code, name="encoder")
    joined = layers.Concatenate(name="joined")([encoder(left), encoder(right)])
    return layers.Dense(3, name="head")(layers.Dense(8, activation="relu", name="hidden")(joined))


def _two_inputs(image: Any, table: Any) -> Any:
    seen = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(image)
    seen = layers.GlobalAveragePooling2D(name="average")(seen)
    read = layers.Dense(6, activation="relu", name="table")(table)
    joined = layers.Concatenate(name="joined")([seen, read])
    return layers.Dense(3, name="head")(layers.Dense(8, activation="relu", name="hidden")(joined))


FUNCTIONAL: Mapping[str, Callable[..., Any]] = {
    "sigmoid": _sigmoid,
    "cnn_functional": _cnn_functional,
    "residual": _residual,
    "depthwise": _depthwise,
    "shared": _shared,
    "two_inputs": _two_inputs,
    "vit": _vit,
}

_KERAS_LAYERS = {
    f"{block}_{part}": f"{block}_attention"
    for block in ("block1", "block2")
    for part in ("query", "key", "value", "output")
}
"""Layers of ours that are parts of one layer in Keras."""


def _architecture(name: str) -> str:
    return name.removesuffix("_softmax")


def _in_a_row(stack: list[layers.Layer], x: Any) -> Any:
    for layer in stack:
        x = layer(x)
    return x


def _leaves(model: keras.Model) -> Iterator[layers.Layer]:
    """Yield every layer that is not itself a model."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _saved_and_loaded(model: keras.Model) -> keras.Model:
    with tempfile.TemporaryDirectory(prefix="pellucid-") as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded: Any = keras.saving.load_model(path)
        return loaded
