"""Rows that are looked up, gathered or moved, below a layer that every rule is for.

Torch, Keras on TensorFlow and Flax against the papers' formulas in NumPy: relevance of a table's
rows arrives at the words that they were looked up for, that of what is moved where it came from.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import linen
from test_rule_table import RULES, by_the_paper
from torch import nn

from pellucid import explain, wrap
from pellucid.errors import CapabilityError, InputError

DRAWS = np.random.default_rng(5)
TABLE, KERNEL, HEAD = (DRAWS.normal(size=s).astype(np.float32) for s in ((7, 4), (4, 4), (4, 3)))
SHIFT = DRAWS.normal(size=4).astype(np.float32)
WORDS, OTHERS = DRAWS.integers(0, 7, (2, 3, 5))
X = DRAWS.normal(size=(3, 5, 4)).astype(np.float32)
PLACES = np.array([4, 0, 2, 2, 1])
TARGET = 1


class TorchBody(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.table, self.hidden, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        with torch.no_grad():
            self.table.weight.copy_(torch.from_numpy(TABLE))
            self.hidden.weight.copy_(torch.from_numpy(KERNEL.T))
            self.hidden.bias.copy_(torch.from_numpy(SHIFT))
            self.head.weight.copy_(torch.from_numpy(HEAD.T))
            self.head.bias.zero_()

    def forward(self, x):
        if self.kind == "lookup":
            x = self.table(x)
        elif self.kind == "gather":
            x = x[:, torch.from_numpy(PLACES)]
        else:
            x = x.reshape(-1, 4, 5).transpose(1, 2)
        return self.head(torch.relu(self.hidden(x)).mean(dim=1))


class FlaxBody(linen.Module):
    kind: str

    @linen.compact
    def __call__(self, x):
        if self.kind == "lookup":
            x = linen.Embed(7, 4, name="table")(x)
        elif self.kind == "gather":
            x = jnp.take(x, PLACES, axis=1)
        else:
            x = x.reshape(-1, 4, 5).transpose(0, 2, 1)
        h = jax.nn.relu(linen.Dense(4, name="hidden")(x)).mean(axis=1)
        return linen.Dense(3, use_bias=False, name="head")(h)


class Gather(keras.layers.Layer):
    def call(self, x):
        return keras.ops.take(x, PLACES, axis=1)


def in_torch(kind):
    return wrap(TorchBody(kind).eval())


def in_keras(kind):
    layers = keras.layers
    first = {
        "lookup": [keras.Input((5,), dtype="int32"), layers.Embedding(7, 4, name="table")],
        "gather": [keras.Input((5, 4)), Gather()],
        "reshape": [keras.Input((5, 4)), layers.Reshape((4, 5)), layers.Permute((2, 1))],
    }[kind]
    hidden = layers.Dense(4, activation="relu", name="hidden")
    head = layers.Dense(3, use_bias=False, name="head")
    model = keras.Sequential([*first, hidden, layers.GlobalAveragePooling1D(), head])
    hidden.set_weights([KERNEL, SHIFT])
    head.set_weights([HEAD])
    if kind == "lookup":
        model.get_layer("table").set_weights([TABLE])
    return wrap(model)


def in_jax(kind):
    params = {"hidden": {"kernel": KERNEL, "bias": SHIFT}, "head": {"kernel": HEAD}}
    if kind == "lookup":
        params["table"] = {"embedding": TABLE}
    return wrap((FlaxBody(kind), {"params": jax.tree.map(jnp.asarray, params)}))


MAKERS = [in_torch, in_keras, in_jax]


def below(kind, x):
    """What the hidden layer is given: (5, 4), in double precision."""
    rows = {"lookup": lambda: TABLE[x], "gather": lambda: x[PLACES]}
    found = rows.get(kind, lambda: x.reshape(4, 5).T)()
    return found.astype(float)


def handed_back(kind, r):
    """Relevance of the hidden layer's input at the input, or at the words' rows."""
    if kind == "gather":
        found = np.zeros((5, 4))
        np.add.at(found, PLACES, r)
        return found
    return r.T.reshape(5, 4) if kind == "reshape" else r


def by_rule(rule, rows):
    """LRP of one sample: the head by ε, the ReLU passes on, the hidden layer by the rule."""
    z = rows @ KERNEL + SHIFT
    at_z = np.maximum(z, 0) * HEAD[:, TARGET] / 5
    if rule == "pass":
        return at_z
    found = np.zeros_like(rows)
    for t, k in np.argwhere(z > 0):
        share = by_the_paper(rule, rows[t], KERNEL[:, k].astype(float), float(SHIFT[k]), z[t, k])
        found[t] += share * at_z[t, k] / z[t, k]
    return found


def rescaled(rows, base):
    z, before = rows @ KERNEL + SHIFT, base @ KERNEL + SHIFT
    slope = (np.maximum(z, 0) - np.maximum(before, 0)) / (z - before + (z == before))
    return (rows - base) * ((slope * HEAD[:, TARGET] / 5) @ KERNEL.T)


def revealed(rows, base):
    """RevealCancel: what raises the hidden layer's sums and what lowers them."""
    parts = (rows - base)[:, :, None] * KERNEL
    up, down = np.maximum(parts, 0).sum(axis=1), np.minimum(parts, 0).sum(axis=1)
    before = base @ KERNEL + SHIFT

    def f(z):
        return np.maximum(z, 0)

    rising = 0.5 * (f(before + up) - f(before) + f(before + down + up) - f(before + down))
    falling = 0.5 * (f(before + down) - f(before) + f(before + down + up) - f(before + up))
    slopes = rising / (up + (up == 0)), falling / (down + (down == 0))
    each = np.where(parts > 0, parts * slopes[0][:, None], parts * slopes[1][:, None])
    return (each * HEAD[:, TARGET] / 5).sum(axis=2)


def gated(rows, kind):
    g = HEAD[:, TARGET] / 5 * np.ones((5, 1))
    g = np.maximum(g, 0)
    return (g if kind == "deconvnet" else g * (rows @ KERNEL + SHIFT > 0)) @ KERNEL.T


def excited(rows):
    """Shares of 1 by positive connections, biases apart, from a score that has one unit."""
    h = np.maximum(rows @ KERNEL + SHIFT, 0)
    pulls = h.mean(axis=0) * np.maximum(HEAD[:, TARGET], 0)
    at_h = h / 5 * np.maximum(HEAD[:, TARGET], 0) / pulls.sum()
    parts = np.maximum(rows[:, :, None] * KERNEL, 0)
    whole = parts.sum(axis=1, keepdims=True)
    return (parts / np.where(whole == 0, 1, whole) * at_h[:, None]).sum(axis=2)


def near(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("kind", ["lookup", "gather", "reshape"])
def test_every_rule(kind, make):
    model = make(kind)
    x, base = (WORDS, OTHERS) if kind == "lookup" else (X, X[::-1].copy())
    at = {"layer": "table"} if kind == "lookup" else {}

    def check(method, formula, **options):
        e = explain(model, x, method, target=TARGET, **at, **options)
        near(e.values, np.stack([handed_back(kind, formula(row)) for row in range(3)]))

    rows, others = ([below(kind, one) for one in each] for each in (x, base))
    for rule in ("pass", *(r for r in RULES if r != "box")):
        composite = {"hidden": rule, "linear": "epsilon"}
        own = {"composite": composite, "epsilon": 1e-9}
        if make is in_jax and kind != "lookup":
            own["composite"] = {"first": rule, "linear": "epsilon"}
        check("lrp", lambda i, rule=rule: by_rule(rule, rows[i]), **own)
    check("deeplift", lambda i: rescaled(rows[i], others[i]), baseline=base)
    options = {"baseline": base, "rule": "reveal_cancel"}
    check("deeplift", lambda i: revealed(rows[i], others[i]), **options)
    check(
        "deep_shap",
        lambda i: np.mean([rescaled(rows[i], other) for other in others], axis=0),
        background=base,
    )
    check("excitation_backprop", lambda i: excited(rows[i]), contrastive=False)
    if kind != "lookup":
        for method in ("guided_backprop", "deconvnet"):
            check(method, lambda i, m=method: gated(rows[i], m))


@pytest.mark.parametrize("make", MAKERS)
def test_words_themselves_have_no_relevance(make):
    model = make("lookup")
    for method in ("lrp", "deeplift", "deep_shap", "excitation_backprop", "guided_backprop"):
        options = {"background": OTHERS} if method == "deep_shap" else {}
        with pytest.raises(CapabilityError, match="occlusion works on them"):
            explain(model, WORDS, method, target=TARGET, **options)


@pytest.mark.parametrize("make", MAKERS)
def test_words_have_no_bounds(make):
    with pytest.raises(InputError, match="box"):
        explain(
            make("lookup"), WORDS, "lrp", target=TARGET, layer="table", low=0.0, high=6.0,
            composite={"hidden": "box", "linear": "epsilon"},
        )  # fmt: skip
