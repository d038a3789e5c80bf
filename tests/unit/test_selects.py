"""Functions put together by a condition, and ReLUs under other names, under rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

from pellucid import explain, wrap
from pellucid.errors import CoverageError

DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(4, 5)).astype(np.float32) for _ in range(2))
W, V = (DRAWS.normal(size=s).astype(np.float32) for s in ((5, 6), (6, 2)))

SPELLINGS = {
    "torch": {
        "leaky": lambda h: torch.nn.functional.leaky_relu(h, 0.1),
        "leaky by where": lambda h: torch.where(h > 0, h, 0.1 * h),
        "relu": torch.relu,
        "relu by where": lambda h: torch.where(h > 0, h, torch.zeros(())),
        "relu by a bound": lambda h: h.clamp(min=0),
        "relu6 by bounds": lambda h: torch.clip(h, 0, 6),
        "relu6": torch.nn.functional.relu6,
    },
    "tensorflow": {
        "leaky": lambda h: tf.nn.leaky_relu(h, 0.1),
        "leaky by where": lambda h: tf.where(h > 0, h, 0.1 * h),
        "relu": tf.nn.relu,
        "relu by where": lambda h: tf.where(h > 0, h, 0.0),
        "relu by a bound": lambda h: tf.maximum(h, 0.0),
    },
    "jax": {
        "leaky": lambda h: jax.nn.leaky_relu(h, 0.1),
        "leaky by where": lambda h: jnp.where(h > 0, h, 0.1 * h),
        "relu": jax.nn.relu,
        "relu by where": lambda h: jnp.where(h > 0, h, 0.0),
        "relu by a bound": lambda h: jnp.maximum(h, 0.0),
    },
}


def model(framework: str, spelling: str):
    def function(x):
        return SPELLINGS[framework][spelling](x @ native(W)) @ native(V)

    native = {"torch": torch.from_numpy, "tensorflow": tf.constant, "jax": jnp.asarray}[framework]
    return wrap(function, framework=framework)


@pytest.mark.parametrize(
    ("framework", "spelling"), [(f, s) for f in SPELLINGS for s in SPELLINGS[f]]
)
def test_deeplift_does_not_depend_on_how_a_function_is_spelt(framework, spelling):
    own = explain(model(framework, spelling), X, "deeplift", baseline=B, target=1)
    assert own.gap.max() < 1e-4
    name = spelling.split()[0]
    wanted = explain(model(framework, name), X, "deeplift", baseline=B, target=1)
    np.testing.assert_allclose(own.values, wanted.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("framework", list(SPELLINGS))
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_a_bound_at_zero_is_a_relu(framework, method):
    wanted = explain(model(framework, "relu"), X, method, target=1)
    found = explain(model(framework, "relu by a bound"), X, method, target=1)
    np.testing.assert_array_equal(found.values, wanted.values)
    assert not found.warnings


def test_a_choice_among_values_of_several_shapes_is_refused_where_it_flips():
    def chosen(x):
        h = x @ torch.from_numpy(W)
        return torch.where(h > 0, h, h[:, :1]) @ torch.from_numpy(V)

    with pytest.raises(CoverageError, match="one shape"):
        explain(wrap(chosen, framework="torch"), X, "deeplift", baseline=B)


@pytest.mark.parametrize("framework", list(SPELLINGS))
def test_a_choice_that_the_input_does_not_decide_is_linear(framework):
    xp = {"torch": torch, "tensorflow": tf, "jax": jnp}[framework]
    mask = np.array([True, False, True, True, False, True])

    def masked(x):
        h = x @ xp.asarray(W) if framework != "tensorflow" else x @ tf.constant(W)
        chosen = tf.constant(mask) if framework == "tensorflow" else xp.asarray(mask)
        low = tf.constant(-2.0) if framework == "tensorflow" else xp.asarray(-2.0)
        return xp.where(chosen, h, low)

    e = explain(wrap(masked, framework=framework), X, "deeplift", baseline=B, target=0)
    np.testing.assert_allclose(e.values, (X - B) * W[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("framework", list(SPELLINGS))
def test_a_winner_that_stands_still_owes_nothing_to_an_output_that_fell(framework, sign):
    """max(u + v, e), or its mirror, where e falls below u + v, of which u and v change places."""
    xp = {"torch": torch, "tensorflow": tf, "jax": jnp}[framework]
    larger = xp.maximum if sign > 0 else xp.minimum
    x = sign * np.array([[0.25, 0.5, 0.125]], np.float32)
    before = sign * np.array([[0.5, 0.25, 2.0]], np.float32)
    net = wrap(lambda a: larger(a[:, 0] + a[:, 1], a[:, 2]), framework=framework)
    for e in (
        explain(net, x, "deeplift", baseline=before),
        explain(net, x, "deep_shap", background=before),
    ):
        np.testing.assert_allclose(e.values, sign * np.array([[0.0, 0.0, -1.25]]), atol=1e-7)
