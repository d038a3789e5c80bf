"""What has no weights, under every rule of relevance, in torch, Keras and JAX, against NumPy.

Each cell is the operation and a dense head by the ε-rule, or an operation behind one that `rule`
is for: a batch normalisation belongs to its layer, σ is a constant, products share by halves, and
a table that is looked up takes its rows' relevance.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from test_rule_table import HIGH, LOW, RULES, by_the_paper
from torch import nn
from torch.nn import functional

from pellucid import explain, wrap

DRAWS = np.random.default_rng(5)
X = DRAWS.normal(size=(2, 6)).astype(np.float32)
KERNEL, HEAD = (DRAWS.normal(size=s).astype(np.float32) for s in ((6, 6), (6,)))
SCALE, SHIFT, MEAN = (DRAWS.normal(size=6).astype(np.float32) for _ in range(3))
VARIANCE = np.exp(DRAWS.normal(size=6)).astype(np.float32)
PLACES = np.array([4, 0, 2, 2, 5, 1])
CELLS = ("batch norm", "layer norm", "group norm", "product", "gather")
GROUPS = {"layer norm": 1, "group norm": 2}


def in_torch(cell):
    kernel, head, scale, shift = map(torch.from_numpy, (KERNEL, HEAD, SCALE, SHIFT))

    def model(x):
        z = functional.linear(x, kernel.T)
        if cell == "batch norm":
            mean, variance = torch.from_numpy(MEAN), torch.from_numpy(VARIANCE)
            out = functional.batch_norm(z, mean, variance, scale, shift, eps=0.0)
        elif cell == "layer norm":
            out = functional.layer_norm(z, (6,), scale, eps=0.0)
        elif cell == "group norm":
            out = functional.group_norm(z, 2, scale, eps=0.0)
        elif cell == "product":
            out = z * x
        else:
            out = z[:, torch.from_numpy(PLACES)]
        return functional.linear(out, head[None])

    return wrap(model, framework="torch")


def normal(z, groups, xp):
    """Written once for JAX and Keras: the operations that a library's own layer is made of."""
    z = xp.reshape(z, (-1, groups, 6 // groups))
    centred = z - xp.mean(z, axis=-1, keepdims=True)
    spread = xp.mean(xp.square(centred), axis=-1, keepdims=True)
    rsqrt = jax.lax.rsqrt if xp is jnp else xp.rsqrt
    return xp.reshape(centred * rsqrt(spread), (-1, 6))


def body(cell, x, z, xp):
    if cell == "batch norm":
        return (z - MEAN) * (SCALE / np.sqrt(VARIANCE)) + SHIFT
    if cell in GROUPS:
        return normal(z, GROUPS[cell], xp) * SCALE
    return z * x if cell == "product" else xp.take(z, PLACES, axis=1)


def in_jax(cell):
    def model(x):
        return body(cell, x, x @ KERNEL, jnp) @ HEAD[:, None]

    return wrap(model, framework="jax")


class Cell(keras.layers.Layer):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def call(self, x):
        ops = keras.ops
        out = body(self.cell, x, ops.matmul(x, KERNEL), ops)
        return ops.matmul(out, HEAD[:, None])


def in_keras(cell):
    return wrap(keras.Sequential([keras.Input((6,)), Cell(cell)]))


def relevance(cell, rule, x):
    """R of one sample; the head shares by the ε-rule, whatever the first layer does."""
    x = x.astype(float)
    kernel = KERNEL.astype(float)
    z = x @ kernel
    direct, biases = np.zeros(6), np.zeros(6)
    if cell == "batch norm":
        factor = SCALE / np.sqrt(VARIANCE)
        kernel, biases = kernel * factor, SHIFT - MEAN * factor
        z = out = x @ kernel + biases
        to_z = out * HEAD
    elif cell in GROUPS:
        groups = z.reshape(GROUPS[cell], -1)
        centred = groups - groups.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True))
        slope = (HEAD * SCALE).reshape(groups.shape) / spread
        to_z = (groups * (slope - slope.mean(axis=1, keepdims=True))).ravel()
    elif cell == "product":
        to_z = direct = z * x * HEAD / 2
    else:
        to_z = np.zeros(6)
        np.add.at(to_z, PLACES, z[PLACES] * HEAD)
    shares = [
        by_the_paper(rule, x, kernel[:, j], biases[j], z[j]) * to_z[j] / z[j] for j in range(6)
    ]
    return direct + np.sum(shares, axis=0)


@pytest.mark.parametrize("make", [in_torch, in_keras, in_jax])
@pytest.mark.parametrize("cell", CELLS)
def test_every_rule_before_what_has_no_weights(cell, make):
    model = make(cell)
    for rule in RULES:
        e = explain(
            model, X, "lrp", target=0, low=LOW, high=HIGH, epsilon=1e-9,
            composite={"first": rule, "linear": "epsilon"},
        )  # fmt: skip
        wanted = np.stack([relevance(cell, rule, row) for row in X])
        np.testing.assert_allclose(
            e.values, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0, err_msg=rule
        )


def test_a_table_hands_relevance_to_its_rows():
    table, head = nn.Embedding(7, 4), nn.Linear(4, 3)

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = table, head

        def forward(self, words):
            return self.head(self.table(words).mean(dim=1))

    words = DRAWS.integers(0, 7, (2, 5))
    e = explain(Words(), words, "lrp", layer="table", target=1, composite="epsilon", epsilon=1e-9)
    rows = table.weight.detach().numpy()[words]
    np.testing.assert_allclose(e.values, rows * head.weight.detach().numpy()[1] / 5, atol=1e-5)
