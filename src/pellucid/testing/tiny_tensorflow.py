"""The tiny models in plain TensorFlow: variables of a `tf.Module` and raw `tf.nn` operations."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON, HEADS, LAYER_NORM_EPSILON

Tensor = Any
"""`tf.Tensor`, which TensorFlow's own stubs do not describe."""


class TinyModule(tf.Module):
    """Holds the weights as variables; a subclass writes the forward pass."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.parts = {
            key.replace("/", "_"): tf.Variable(tf.constant(value), name=key)
            for key, value in weights.items()
        }

    def dense(self, x: Tensor, layer: str) -> Tensor:
        """`(n, i) -> (n, o)`."""
        product = tf.linalg.matmul(x, self.parts[f"{layer}_kernel"])
        return tf.nn.bias_add(product, self.parts[f"{layer}_bias"])

    def conv(self, x: Tensor, layer: str) -> Tensor:
        """`(n, h, w, i) -> (n, h, w, o)`."""
        out = tf.nn.conv2d(x, self.parts[f"{layer}_kernel"], strides=1, padding="SAME")
        return tf.nn.bias_add(out, self.parts[f"{layer}_bias"])

    def batch_norm(self, x: Tensor, layer: str) -> Tensor:
        """Normalise by the stored statistics."""
        mean, variance, beta, gamma = (
            self.parts[f"{layer}_{part}"] for part in ("mean", "variance", "beta", "gamma")
        )
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, BATCH_NORM_EPSILON)

    def layer_norm(self, x: Tensor, layer: str) -> Tensor:
        """Normalise each token over its channels."""
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        gamma, beta = self.parts[f"{layer}_gamma"], self.parts[f"{layer}_beta"]
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, LAYER_NORM_EPSILON)

    def attention(self, x: Tensor, block: str) -> Tensor:
        """`(n, t, 8) -> (n, t, 8)`; the batch's size may be unknown while tracing."""
        tokens, channels = x.shape[1], x.shape[2]
        query, key, value = (
            tf.transpose(
                tf.reshape(
                    self.dense(x, f"{block}_{part}"), [-1, tokens, HEADS, channels // HEADS]
                ),
                [0, 2, 1, 3],
            )
            for part in ("query", "key", "value")
        )
        scale = (channels // HEADS) ** -0.5
        share = tf.nn.softmax(tf.linalg.matmul(query, key, transpose_b=True) * scale)
        joined = tf.transpose(tf.linalg.matmul(share, value), [0, 2, 1, 3])
        return self.dense(tf.reshape(joined, [-1, tokens, channels]), f"{block}_output")


class Dense(TinyModule):
    """`(n, 6) -> (n, 3)`."""

    def __call__(self, x: Tensor) -> Tensor:
        x = tf.nn.relu(self.dense(x, "hidden1"))
        x = tf.nn.relu(self.dense(x, "hidden2"))
        return self.dense(x, "head")


class DenseSoftmax(Dense):
    """`(n, 6) -> (n, 3)`, probabilities."""

    def __call__(self, x: Tensor) -> Tensor:
        return tf.nn.softmax(super().__call__(x))


class Sigmoid(TinyModule):
    """`(n, 6) -> (n, 1)`, a probability."""

    def __call__(self, x: Tensor) -> Tensor:
        return tf.sigmoid(self.dense(tf.nn.relu(self.dense(x, "hidden1")), "head"))


class Cnn(TinyModule):
    """`(n, 12, 10, 3) -> (n, 3)`."""

    def __call__(self, x: Tensor) -> Tensor:
        x = tf.nn.max_pool2d(tf.nn.relu(self.conv(x, "conv1")), 2, 2, "VALID")
        x = tf.nn.relu(self.conv(x, "conv2"))
        return self.dense(tf.reduce_mean(x, axis=[1, 2]), "head")


class CnnFunctional(TinyModule):
    """`(n, 8, 10, 3) -> (n, 3)`; the second convolution is called twice."""

    def __call__(self, x: Tensor) -> Tensor:
        x = tf.nn.avg_pool2d(tf.nn.relu(self.conv(x, "conv1")), ksize=2, strides=2, padding="VALID")
        x = tf.nn.relu(self.conv(x, "conv2"))
        x = tf.nn.relu(self.conv(x, "conv2"))
        return self.dense(tf.reduce_mean(x, axis=[1, 2]), "head")


class Residual(TinyModule):
    """`(n, 8, 6, 3) -> (n, 3)`."""

    def __call__(self, x: Tensor) -> Tensor:
        x = tf.nn.relu(self.batch_norm(self.conv(x, "conv1"), "norm1"))
        x = tf.nn.relu(x + self.batch_norm(self.conv(x, "conv2"), "norm2"))
        return self.dense(tf.reduce_mean(x, axis=[1, 2]), "head")


class Depthwise(TinyModule):
    """`(n, 8, 6, 4) -> (n, 3)`."""

    def __call__(self, x: Tensor) -> Tensor:
        kernel = self.parts["depthwise_kernel"]
        x = tf.nn.depthwise_conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME")
        x = tf.nn.relu(tf.nn.bias_add(x, self.parts["depthwise_bias"]))
        x = tf.nn.relu(self.conv(x, "pointwise"))
        return self.dense(tf.reduce_mean(x, axis=[1, 2]), "head")


class Shared(TinyModule):
    """`(n, 6), (n, 6) -> (n, 3)`."""

    def encoder(self, x: Tensor) -> Tensor:
        """`(n, 6) -> (n, 5)`."""
        return tf.nn.relu(self.dense(tf.nn.relu(self.dense(x, "encoder1")), "encoder2"))

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        joined = tf.concat([self.encoder(left), self.encoder(right)], axis=1)
        return self.dense(tf.nn.relu(self.dense(joined, "hidden")), "head")


class TwoInputs(TinyModule):
    """An image `(n, 8, 6, 3)` and a row of a table `(n, 5)` `-> (n, 3)`."""

    def __call__(self, image: Tensor, table: Tensor) -> Tensor:
        seen = tf.reduce_mean(tf.nn.relu(self.conv(image, "conv")), axis=[1, 2])
        read = tf.nn.relu(self.dense(table, "table"))
        joined = tf.concat([seen, read], axis=1)
        return self.dense(tf.nn.relu(self.dense(joined, "hidden")), "head")


class Vit(TinyModule):
    """`(n, 8, 6, 3) -> (n, 3)`, attention written out."""

    def __call__(self, x: Tensor) -> Tensor:
        tokens = self.embed(self.patch(x))
        for block in ("block1", "block2"):
            tokens += self.attention(self.layer_norm(tokens, f"{block}_norm1"), block)
            tokens += self.perceptron(self.layer_norm(tokens, f"{block}_norm2"), block)
        return self.classify(self.layer_norm(tokens, "norm"))

    def patch(self, x: Tensor) -> Tensor:
        """`(n, 8, 6, 3) -> (n, 4, 3, 8)`."""
        patches = tf.nn.conv2d(x, self.parts["patch_kernel"], strides=2, padding="VALID")
        return tf.nn.bias_add(patches, self.parts["patch_bias"])

    def embed(self, patches: Tensor) -> Tensor:
        """`(n, 4, 3, 8) -> (n, 13, 8)`, the class token first."""
        tokens = tf.reshape(patches, [-1, 12, 8])
        first = tf.repeat(self.parts["class_token_value"][None], tf.shape(tokens)[0], axis=0)
        return tf.concat([first, tokens], axis=1) + self.parts["position_value"]

    def perceptron(self, tokens: Tensor, block: str) -> Tensor:
        """`(n, 13, 8) -> (n, 13, 8)`."""
        hidden = tf.nn.gelu(self.dense(tokens, f"{block}_mlp1"))
        return self.dense(hidden, f"{block}_mlp2")

    def classify(self, tokens: Tensor) -> Tensor:
        """`(n, 13, 8) -> (n, 3)`, by the class token."""
        return self.dense(tokens[:, 0], "head")


CLASSES: Mapping[str, type[TinyModule]] = {
    "dense": Dense,
    "dense_softmax": DenseSoftmax,
    "sigmoid": Sigmoid,
    "cnn": Cnn,
    "cnn_functional": CnnFunctional,
    "residual": Residual,
    "depthwise": Depthwise,
    "shared": Shared,
    "two_inputs": TwoInputs,
    "vit": Vit,
}


def build(name: str, weights: Mapping[str, np.ndarray]) -> TinyModule:
    """Build the module with these weights; two inputs are two arguments."""
    return CLASSES[name](weights)
