"""The tiny models as JAX functions of their weights, their layers named by scopes."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON, HEADS, LAYER_NORM_EPSILON

Weights = Mapping[str, Mapping[str, jax.Array]]
"""Layer name -> part -> array."""

_IMAGES = ("NHWC", "HWIO", "NHWC")


def dense(weights: Weights, x: jax.Array, layer: str) -> jax.Array:
    """`(n, i) -> (n, o)`."""
    with jax.named_scope(layer):
        return x @ weights[layer]["kernel"] + weights[layer]["bias"]


def conv(weights: Weights, x: jax.Array, layer: str) -> jax.Array:
    """`(n, h, w, i) -> (n, h, w, o)`."""
    with jax.named_scope(layer):
        kernel = weights[layer]["kernel"]
        out = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_IMAGES)
        return out + weights[layer]["bias"]


def depthwise(weights: Weights, x: jax.Array, layer: str) -> jax.Array:
    """`(n, h, w, i) -> (n, h, w, i·m)`; the m of a channel adjoin."""
    with jax.named_scope(layer):
        kernel = weights[layer]["kernel"]
        rows, columns, channels, multiplier = kernel.shape
        out = lax.conv_general_dilated(
            x,
            jnp.reshape(kernel, (rows, columns, 1, channels * multiplier)),
            (1, 1),
            "SAME",
            dimension_numbers=_IMAGES,
            feature_group_count=channels,
        )
        return out + weights[layer]["bias"]


def batch_norm(weights: Weights, x: jax.Array, layer: str) -> jax.Array:
    """Normalise by the stored statistics."""
    with jax.named_scope(layer):
        part = weights[layer]
        scale = part["gamma"] * lax.rsqrt(part["variance"] + BATCH_NORM_EPSILON)
        return x * scale + (part["beta"] - part["mean"] * scale)


def layer_norm(weights: Weights, x: jax.Array, layer: str) -> jax.Array:
    """Normalise each token over its channels."""
    with jax.named_scope(layer):
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        normal = centred * lax.rsqrt(variance + LAYER_NORM_EPSILON)
        return normal * weights[layer]["gamma"] + weights[layer]["beta"]


def attention(weights: Weights, x: jax.Array, block: str) -> jax.Array:
    """`(n, t, 8) -> (n, t, 8)`."""
    with jax.named_scope(f"{block}_attention"):
        query, key, value = (
            dense(weights, x, f"{block}_{part}").reshape(*x.shape[:2], HEADS, -1)
            for part in ("query", "key", "value")
        )
        scale = query.shape[-1] ** -0.5
        share = jax.nn.softmax(jnp.einsum("nqhc,nkhc->nhqk", query, key) * scale)
        joined = jnp.einsum("nhqk,nkhc->nqhc", share, value).reshape(x.shape)
        return dense(weights, joined, f"{block}_output")


def relu(x: jax.Array) -> jax.Array:
    """One layer wherever it is called, as a module would be."""
    with jax.named_scope("relu"):
        return jax.nn.relu(x)


def max_pool(x: jax.Array) -> jax.Array:
    """The maximum of each 2 by 2 window."""
    with jax.named_scope("pool"):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _dense(w: Weights, x: jax.Array) -> jax.Array:
    x = relu(dense(w, x, "hidden1"))
    return dense(w, relu(dense(w, x, "hidden2")), "head")


def _dense_softmax(w: Weights, x: jax.Array) -> jax.Array:
    return jax.nn.softmax(_dense(w, x))


def _sigmoid(w: Weights, x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(dense(w, jax.nn.relu(dense(w, x, "hidden1")), "head"))


def _cnn(w: Weights, x: jax.Array) -> jax.Array:
    x = max_pool(relu(conv(w, x, "conv1")))
    x = relu(conv(w, x, "conv2"))
    return dense(w, x.mean(axis=(1, 2)), "head")


def _cnn_functional(w: Weights, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(conv(w, x, "conv1"))
    x = x.reshape(x.shape[0], 4, 2, 5, 2, x.shape[3]).mean(axis=(2, 4))
    x = jax.nn.relu(conv(w, x, "conv2"))
    x = jax.nn.relu(conv(w, x, "conv2"))
    return dense(w, x.mean(axis=(1, 2)), "head")


def _residual(w: Weights, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(batch_norm(w, conv(w, x, "conv1"), "norm1"))
    x = jax.nn.relu(x + batch_norm(w, conv(w, x, "conv2"), "norm2"))
    return dense(w, x.mean(axis=(1, 2)), "head")


def _depthwise(w: Weights, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(depthwise(w, x, "depthwise"))
    x = jax.nn.relu(conv(w, x, "pointwise"))
    return dense(w, x.mean(axis=(1, 2)), "head")


def _encoder(w: Weights, x: jax.Array) -> jax.Array:
    with jax.named_scope("encoder"):
        x = jax.nn.relu(dense(w, x, "encoder1"))
        return jax.nn.relu(dense(w, x, "encoder2"))


def _shared(w: Weights, left: jax.Array, right: jax.Array) -> jax.Array:
    joined = jnp.concatenate([_encoder(w, left), _encoder(w, right)], axis=1)
    return dense(w, jax.nn.relu(dense(w, joined, "hidden")), "head")


def _two_inputs(w: Weights, image: jax.Array, table: jax.Array) -> jax.Array:
    seen = jax.nn.relu(conv(w, image, "conv")).mean(axis=(1, 2))
    joined = jnp.concatenate([seen, jax.nn.relu(dense(w, table, "table"))], axis=1)
    return dense(w, jax.nn.relu(dense(w, joined, "hidden")), "head")


def _vit(w: Weights, x: jax.Array) -> jax.Array:
    with jax.named_scope("patch"):
        kernel = w["patch"]["kernel"]
        patches = lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=_IMAGES)
        tokens = (patches + w["patch"]["bias"]).reshape(x.shape[0], 12, 8)
    first = jnp.broadcast_to(w["class_token"]["value"], (x.shape[0], 1, 8))
    tokens = jnp.concatenate([first, tokens], axis=1) + w["position"]["value"]
    for block in ("block1", "block2"):
        tokens += attention(w, layer_norm(w, tokens, f"{block}_norm1"), block)
        hidden = dense(w, layer_norm(w, tokens, f"{block}_norm2"), f"{block}_mlp1")
        tokens += dense(w, jax.nn.gelu(hidden, approximate=False), f"{block}_mlp2")
    return dense(w, layer_norm(w, tokens, "norm")[:, 0], "head")


FORWARDS: Mapping[str, Callable[..., jax.Array]] = {
    "dense": _dense,
    "dense_softmax": _dense_softmax,
    "sigmoid": _sigmoid,
    "cnn": _cnn,
    "cnn_functional": _cnn_functional,
    "residual": _residual,
    "depthwise": _depthwise,
    "shared": _shared,
    "two_inputs": _two_inputs,
    "vit": _vit,
}


def build(name: str, weights: Mapping[str, np.ndarray]) -> tuple[Callable[..., jax.Array], Any]:
    """The function and its weights, nested by layer; two inputs are two further arguments."""
    nested: dict[str, dict[str, jax.Array]] = {}
    for key, value in weights.items():
        layer, part = key.split("/")
        nested.setdefault(layer, {})[part] = jnp.asarray(value)
    return FORWARDS[name], nested
