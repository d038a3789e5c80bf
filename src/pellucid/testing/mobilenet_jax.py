"""MobileNetV2 in plain JAX, with the weights the demo has in Keras: a model of real size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pellucid.demo.weights import mobilenet_layers

# Expansion of the channels, number of blocks, stride of the first (Sandler et al. 2018, table 2).
STAGES = ((1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1))

Weights = list[dict[str, jax.Array]]
"""Kernel and bias of each layer, in order of execution."""


def mobilenet(weights: Weights, x: jax.Array) -> jax.Array:
    """`(n, 224, 224, 3)` in [-1, 1] to the probabilities of 1000 classes."""
    *folded, head = weights
    layers = iter(folded)
    with jax.named_scope("stem"):
        x = _relu6(_conv(next(layers), x, stride=2))
    number = 0
    for expansion, count, first_stride in STAGES:
        for index in range(count):
            with jax.named_scope(f"block{number}"):
                x = _block(layers, x, expansion, first_stride if index == 0 else 1)
            number += 1
    with jax.named_scope("top"):
        x = _relu6(_conv(next(layers), x))
    x = x.mean(axis=(1, 2))
    return jax.nn.softmax(x @ head["kernel"][0, 0] + head["bias"])


def _block(layers: Any, x: jax.Array, expansion: int, stride: int) -> jax.Array:
    """Expand, filter each channel, project; the input is added where shapes allow."""
    h = _relu6(_conv(next(layers), x)) if expansion > 1 else x
    h = _relu6(_conv(next(layers), h, stride=stride))
    h = _conv(next(layers), h)
    return x + h if h.shape == x.shape else h


def _conv(layer: dict[str, jax.Array], x: jax.Array, stride: int = 1) -> jax.Array:
    groups = x.shape[-1] if layer["kernel"].shape[2] == 1 else 1
    out = lax.conv_general_dilated(
        x,
        layer["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return out + layer["bias"]


def _relu6(x: jax.Array) -> jax.Array:
    return jax.nn.relu6(x)


def build_mobilenet(dtype: str = "float32") -> tuple[Any, Weights]:
    """The function, and the demo's ImageNet weights."""
    weights = []
    for layer in mobilenet_layers():
        kernel = np.swapaxes(layer.kernel, 2, 3) if layer.depthwise else layer.kernel
        parts = {"kernel": kernel, "bias": layer.bias}
        weights.append({name: jnp.asarray(a.astype(dtype)) for name, a in parts.items()})
    return mobilenet, weights
