"""The tiny models in plain TensorFlow: variables of a `tf.Module` and raw `tf.nn` operations."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON

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


CLASSES: Mapping[str, type[TinyModule]] = {
    "dense": Dense,
    "dense_softmax": DenseSoftmax,
    "sigmoid": Sigmoid,
    "cnn": Cnn,
    "residual": Residual,
    "depthwise": Depthwise,
    "shared": Shared,
    "two_inputs": TwoInputs,
}


def build(name: str, weights: Mapping[str, np.ndarray]) -> TinyModule:
    """Build the module with these weights; two inputs are two arguments."""
    return CLASSES[name](weights)
