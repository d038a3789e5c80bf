"""ReLUs by other names are ReLUs: guided backprop and deconvnet are never silently plain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn
from torch.nn import functional as F

from pellucid import explain, wrap
from pellucid.errors import CoverageError

DRAWS = np.random.default_rng(6)
X = DRAWS.normal(size=(3, 5)).astype(np.float32)
W, U, V = (DRAWS.normal(size=s).astype(np.float32) for s in ((5, 6), (6, 6), (6, 2)))


def _set_to_zero(x):
    y = x.clone()
    return y.masked_fill_(y < 0, 0.0)


TORCH = {
    "Threshold": nn.Threshold(0, 0),
    "Threshold in place": lambda x: nn.Threshold(0, 0, inplace=True)(x * 1.0),
    "F.threshold": lambda x: F.threshold(x, 0, 0),
    "clamp": lambda x: torch.clamp(x, min=0),
    "clamp by position": lambda x: x.clamp(0),
    "clamp by a tensor": lambda x: torch.clamp(x, min=torch.zeros(())),
    "clamp_min": lambda x: x.clamp_min(0.0),
    "clip": lambda x: x.clip(0, None),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, float("inf")),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum of a number": lambda x: torch.maximum(torch.tensor(0.0), x),
    "max": lambda x: torch.max(x, torch.zeros(6)),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where, below": lambda x: torch.where(x < 0, torch.zeros_like(x), x),
    "where of a tensor": lambda x: x.where(x >= 0, torch.zeros(())),
    "masked_fill": lambda x: x.masked_fill(x <= 0, 0),
    "masked_fill in place": _set_to_zero,
    "mask": lambda x: x * (x > 0),
    "cast mask": lambda x: (x > 0).to(x.dtype) * x,
    "leaky": nn.LeakyReLU(0.0),
}
TENSORFLOW = {
    "maximum": lambda x: tf.maximum(x, 0.0),
    "maximum of zeros": lambda x: tf.maximum(tf.zeros_like(x), x),
    "maximum of an array": lambda x: tf.maximum(x, np.zeros(6, np.float32)),
    "where": lambda x: tf.where(x > 0, x, 0.0),
    "where, below": lambda x: tf.where(x < 0, tf.zeros_like(x), x),
    "mask": lambda x: x * tf.cast(x > 0, x.dtype),
    "clip": lambda x: tf.clip_by_value(x, 0.0, np.inf),
}
JAX = {
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum of zeros": lambda x: jnp.maximum(jnp.zeros_like(x), x),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "where, below": lambda x: jnp.where(x < 0, 0.0, x),
    "mask": lambda x: x * (x > 0),
    "clip": lambda x: jnp.clip(x, 0),
}


class Net(nn.Module):
    """A ReLU between layers, and one in a branch around which the value goes as well."""

    def __init__(self, bend) -> None:
        super().__init__()
        self.bend = bend

    def forward(self, x):
        h = self.bend(x @ torch.from_numpy(W)) @ torch.from_numpy(U)
        return (h + self.bend(h)) @ torch.from_numpy(V)


def in_tensorflow(bend):
    def model(x):
        h = bend(x @ W) @ U
        return (h + bend(h)) @ V

    return wrap(model, framework="tensorflow")


def in_jax(bend):
    def model(x):
        h = bend(x @ W) @ U
        return (h + bend(h)) @ V

    return wrap(model, framework="jax")


def by_the_paper(method: str) -> np.ndarray:
    """The gates of both ReLUs, going down from the second logit."""

    def through(g, h):
        up = np.maximum(g, 0)
        return up if method == "deconvnet" else up * (h > 0)

    first = X @ W
    second = np.maximum(first, 0) @ U
    g = np.tile(V[:, 1], (len(X), 1))
    g = (g + through(g, second)) @ U.T
    return through(g, first) @ W.T


def check(model, method: str) -> None:
    e = explain(model, X, method, target=1)
    wanted = by_the_paper(method)
    np.testing.assert_allclose(e.values, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    assert not e.warnings
    gates = [op for op in wrap(model).coverage(method, X) if op.rule == "gate"]
    assert len(gates) == 2


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", ["relu", *TORCH])
def test_torch(name, method):
    check(Net({"relu": torch.relu, **TORCH}[name]).eval(), method)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", ["relu", *TENSORFLOW])
def test_tensorflow(name, method):
    check(in_tensorflow({"relu": tf.nn.relu, **TENSORFLOW}[name]), method)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", ["relu", *JAX])
def test_jax(name, method):
    check(in_jax({"relu": jax.nn.relu, **JAX}[name]), method)


def test_what_only_looks_like_a_relu_is_none():
    others = {
        "a threshold at 1": lambda x: F.threshold(x, 1, 0),
        "a clip at 1": lambda x: x.clamp(0, 1),
        "a clip below": lambda x: x.clamp(min=-1),
        "another sign": lambda x: torch.where(x.flip(0) > 0, x, 0.0),
        "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
        "a maximum with 1": lambda x: torch.maximum(x, torch.ones(6)),
    }
    for bend in others.values():
        e = explain(Net(bend).eval(), X, "guided_backprop", target=1)
        plain = explain(Net(bend).eval(), X, "saliency", target=1)
        np.testing.assert_allclose(np.abs(e.values), np.abs(plain.values), rtol=1e-5, atol=1e-6)
        assert any("no ReLU" in w for w in e.warnings)


def test_relu6_by_other_names():
    wanted = explain(Net(F.relu6).eval(), X, "guided_backprop", target=1).values
    for bend in (lambda x: x.clamp(0, 6), lambda x: F.hardtanh(x, 0.0, 6.0)):
        found = explain(Net(bend).eval(), X, "guided_backprop", target=1).values
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    found = explain(in_jax(lambda x: jnp.clip(x, 0, 6)), X, "guided_backprop", target=1).values
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_unknown_may_hide_a_relu_and_is_refused():
    model = Net(torch.special.i0e).eval()
    with pytest.raises(CoverageError, match="i0e"):
        explain(model, X, "guided_backprop", target=1)
    e = explain(model, X, "guided_backprop", target=1, on_uncovered="gradient")
    assert any("i0e" in word for word in e.provenance["uncovered"])


@pytest.mark.parametrize(
    "options", [{"method": "lrp"}, {"method": "deeplift", "baseline": X[::-1]}]
)
def test_other_rules_know_them_too(options):
    wanted = explain(Net(torch.relu).eval(), X, target=1, **options)
    for bend in TORCH.values():
        found = explain(Net(bend).eval(), X, target=1, **options)
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-5)
    for bend in TENSORFLOW.values():
        found = explain(in_tensorflow(bend), X, target=1, **options)
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-5)
    for bend in JAX.values():
        found = explain(in_jax(bend), X, target=1, **options)
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-5)
