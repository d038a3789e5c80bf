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


def _items_set_to_zero(x):
    y = x.clone()
    y[y < 0] = 0
    return y


def _put_to_zero(x):
    return (x * 1.0).index_put_((x <= 0,), torch.zeros(()))


def _masked_in_place(x):
    y = x.clone()
    y *= y > 0
    return y


def _slice_by_slice(x):
    y = x.clone()
    y[:, :3] = torch.relu(y[:, :3])
    y[:, 3:].clamp_(min=0)
    return y


def _forgetful(x):
    """What it is of is forgotten before it is whole."""
    x = x * 1.0
    x = x + x.abs()
    return x / 2


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
    "set items": _items_set_to_zero,
    "put": _put_to_zero,
    "mask in place": _masked_in_place,
    "mask of whole numbers": lambda x: x * (x > 0).long(),
    "mask of what is cut off": lambda x: x * (x.detach() > 0),
    "where, not": lambda x: torch.where(~(x < 0), x, 0.0),
    "chosen ones": lambda x: torch.where(x > 0, 1.0, 0.0) * x,
    "half of both": lambda x: (x + x.abs()) / 2,
    "half of both, forgetful": _forgetful,
    "root of the square": lambda x: 0.5 * (x + torch.sqrt(x * x)),
    "less what is below": lambda x: x - torch.clamp(x, max=0),
    "minimum, mirrored": lambda x: -torch.minimum(-x, torch.zeros(())),
    "prelu": lambda x: F.prelu(x, torch.zeros(1)),
    "elu": lambda x: F.elu(x, alpha=0.0),
}
TENSORFLOW = {
    "maximum": lambda x: tf.maximum(x, 0.0),
    "maximum of zeros": lambda x: tf.maximum(tf.zeros_like(x), x),
    "maximum of an array": lambda x: tf.maximum(x, np.zeros(6, np.float32)),
    "where": lambda x: tf.where(x > 0, x, 0.0),
    "where, below": lambda x: tf.where(x < 0, tf.zeros_like(x), x),
    "mask": lambda x: x * tf.cast(x > 0, x.dtype),
    "clip": lambda x: tf.clip_by_value(x, 0.0, np.inf),
    "half of both": lambda x: (x + tf.abs(x)) / 2,
    "where, not": lambda x: tf.where(tf.logical_not(x < 0), x, 0.0),
    "mask of what is cut off": lambda x: x * tf.cast(tf.stop_gradient(x) > 0, x.dtype),
    "chosen ones": lambda x: tf.where(x > 0, 1.0, 0.0) * x,
    "sign": lambda x: x * (tf.sign(x) + 1) / 2,
    "less what is below": lambda x: x - tf.minimum(x, 0.0),
    "elu": lambda x: tf.keras.activations.elu(x, alpha=0.0),
    "where of TensorFlow 1": lambda x: tf.compat.v1.where(x > 0, x, tf.zeros_like(x)),
    "shape ensured": lambda x: (tf.ensure_shape(x, (None, 6)) + tf.abs(x)) / 2,
}
JAX = {
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum of zeros": lambda x: jnp.maximum(jnp.zeros_like(x), x),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "where, below": lambda x: jnp.where(x < 0, 0.0, x),
    "mask": lambda x: x * (x > 0),
    "clip": lambda x: jnp.clip(x, 0),
    "half of both": lambda x: (x + jnp.abs(x)) / 2,
    "where, not": lambda x: jnp.where(~(x < 0), x, 0),
    "mask of what is cut off": lambda x: x * (jax.lax.stop_gradient(x) > 0),
    "chosen ones": lambda x: jnp.where(x > 0, 1.0, 0.0) * x,
    "sign": lambda x: x * (jnp.sign(x) + 1) / 2,
    "heaviside": lambda x: x * jnp.heaviside(x, 0.0),
    "less what is below": lambda x: x - jnp.minimum(x, 0),
    "leaky": lambda x: jax.nn.leaky_relu(x, 0.0),
    "elu": lambda x: jax.nn.elu(x, 0.0),
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


def _written_where_found(x):
    y = x.clone()
    y[torch.nonzero(y < 0, as_tuple=True)] = 0
    return y


def _written_over(x):
    y = torch.zeros_like(x)
    y[x > 0] = x[x > 0]
    return y


def _scattered(x):
    places = tf.where(x < 0)
    return tf.tensor_scatter_nd_update(x, places, tf.zeros(tf.shape(places)[:1]))


HIDDEN = {
    "torch, places": (Net(_written_where_found), "setitem"),
    "torch, over zeros": (Net(_written_over), "setitem"),
    "torch, sign": (Net(lambda x: x * (torch.sign(x) > 0)), "sign"),
    "tensorflow": (in_tensorflow(_scattered), "TensorScatterUpdate"),
    "jax": (
        in_jax(lambda x: jnp.piecewise(x, [x < 0], [0, lambda v: v])),
        "argmax|select_n|stop_gradient",
    ),
}


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "deeplift", "lrp"])
@pytest.mark.parametrize("name", HIDDEN)
def test_numbers_that_decide_where_to_write_may_hide_one_and_are_refused(name, method):
    model, operation = HIDDEN[name]
    with pytest.raises(CoverageError, match=operation) as error:
        explain(model, X, method, target=1)
    nearest = "saliency" if method in {"guided_backprop", "deconvnet"} else "integrated_gradients"
    assert nearest in str(error.value)
    if (name, method) != ("jax", "deeplift"):  # whose rule looks at what chooses
        assert not wrap(model).coverage(method, X).complete


def test_a_write_to_fixed_places_is_a_move():
    def front(x):
        y = torch.zeros(len(x), 6)
        y[:, :6] = torch.relu(x)
        return y

    for method in ("guided_backprop", "deeplift", "lrp"):
        wanted = explain(Net(torch.relu).eval(), X, method, target=1).values
        found = explain(Net(front).eval(), X, method, target=1).values
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_maximum_along_the_first_axis_is_no_relu():
    class Most(nn.Module):
        def forward(self, x):
            both = torch.stack([x @ torch.from_numpy(W), x @ torch.from_numpy(W + 1)])
            return both.max(0).values @ torch.from_numpy(V)

    e = explain(Most().eval(), X, "deconvnet", target=1)
    plain = explain(Most().eval(), X, "saliency", target=1)
    np.testing.assert_allclose(np.abs(e.values), np.abs(plain.values), rtol=1e-5, atol=1e-6)


def test_what_only_looks_like_a_relu_is_none():
    others = {
        "a threshold at 1": lambda x: F.threshold(x, 1, 0),
        "a clip at 1": lambda x: x.clamp(0, 1),
        "a clip below": lambda x: x.clamp(min=-1),
        "another sign": lambda x: torch.where(x.flip(0) > 0, x, 0.0),
        "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
        "a maximum with 1": lambda x: torch.maximum(x, torch.ones(6)),
        "a size": lambda x: (x + 2 * x.abs()) / 3,
        "another size": lambda x: (x + x.flip(0).abs()) / 2,
        "a sum of its own": lambda x: x * (x > x.mean()),
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
