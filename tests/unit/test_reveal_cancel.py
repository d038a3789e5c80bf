"""RevealCancel where the paper, or a closed form, says what it finds."""

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import InputError

FRAMEWORKS = ("torch", "tensorflow", "jax")
PAIRS = np.array([[1, 1], [3, 1], [1, 3], [2, 5]], dtype=np.float32)
DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(3, 4)).astype(np.float32) for _ in range(2))
WEIGHT = DRAWS.normal(size=(4, 5)).astype(np.float32)


def functions(framework: str):
    """ReLU, the logistic function, and what joins columns."""
    if framework == "torch":
        import torch

        return torch.relu, torch.sigmoid, lambda parts: torch.cat(parts, dim=1), torch.from_numpy
    if framework == "jax":
        import jax
        import jax.numpy as jnp

        return jax.nn.relu, jax.nn.sigmoid, lambda parts: jnp.concatenate(parts, 1), jnp.asarray
    import tensorflow as tf

    return tf.nn.relu, tf.sigmoid, lambda parts: tf.concat(parts, axis=1), tf.constant


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_least_of_two_is_shared_by_both(framework):
    """Section 3.4: min(a, b) = a − ReLU(a − b), where other rules give all to one input."""
    relu, _, _, native = functions(framework)
    weight = native(np.array([[1.0], [-1.0]], dtype=np.float32))
    model = wrap(lambda x: x[:, :1] - relu(x @ weight), framework=framework)
    e = explain(model, PAIRS, "deeplift", rule="reveal_cancel", target=0)
    wanted = np.repeat(0.5 * PAIRS.min(axis=1, keepdims=True), 2, axis=1)
    np.testing.assert_allclose(e.values, wanted, rtol=1e-6)
    assert e.gap.max() < 1e-6
    rescaled = explain(model, PAIRS, "deeplift", target=0).values
    assert ((rescaled == 0).sum(axis=1) == 1).all(), "all to one input by the rescale rule"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("table", [(0, 0, 0, 1), (0, 1, 1, 1), (0, 1, 1, 0)])
def test_binary_gates_share_what_both_inputs_do(framework, table):
    """AND is ReLU(a + b − 1), OR is a + b less it, XOR a + b less twice it: by symmetry, halves."""
    relu, _, _, native = functions(framework)
    ones = native(np.ones((2, 1), dtype=np.float32))
    alone, both = table[1], table[3]

    def gate(x):
        return alone * (x @ ones) + (both - 2 * alone) * relu(x @ ones - 1.0)

    model = wrap(gate, framework=framework)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    np.testing.assert_allclose(model.predict(x)[:, 0], table, atol=1e-6)
    e = explain(model, x, "deeplift", rule="reveal_cancel", target=0)
    wanted = [[0, 0], [0, alone], [alone, 0], [both / 2, both / 2]]
    np.testing.assert_allclose(e.values, wanted, atol=1e-6)


def by_hand(function, x: np.ndarray, baseline: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Of Σ_j f(x · w_j): the formula of section 3.5.2, once for each unit."""
    change = (x - baseline)[:, :, None] * weight
    up, down = (np.where(change * sign > 0, change, 0) for sign in (1, -1))
    start, rise, fall = baseline @ weight, up.sum(axis=1), down.sum(axis=1)
    both = start + rise + fall
    risen = 0.5 * (
        function(start + rise) - function(start) + function(both) - function(start + fall)
    )
    fallen = 0.5 * (
        function(start + fall) - function(start) + function(both) - function(start + rise)
    )
    rising, falling = (d / np.where(s == 0, 1, s) for d, s in ((risen, rise), (fallen, fall)))
    return (up * rising[:, None] + down * falling[:, None]).sum(axis=2)


def silu(v: np.ndarray) -> np.ndarray:
    return v / (1 + np.exp(-v))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("spelling", ["at once", "behind a scale and a bias", "joined", "added"])
def test_an_activation_that_is_written_out_is_one(framework, spelling):
    _, sigmoid, joined, native = functions(framework)
    weight = native(WEIGHT)

    def model(x):
        z = x @ weight
        if spelling == "joined":
            z = joined([z[:, :2], z[:, 2:]])
        if spelling == "added":
            z = 0.25 * z + 0.75 * z
        if spelling == "behind a scale and a bias":
            z = -2.0 * z + 1.0
        y = z * sigmoid(z)
        return joined([y @ native(np.ones((5, 1), np.float32)), x[:, :1]])

    e = explain(
        wrap(model, framework=framework), X, "deeplift", rule="reveal_cancel", baseline=B, target=0
    )
    function = (lambda v: silu(-2 * v + 1)) if spelling.startswith("behind") else silu
    wanted = by_hand(function, X.astype(float), B.astype(float), WEIGHT.astype(float))
    np.testing.assert_allclose(e.values, wanted, rtol=1e-4, atol=1e-5)
    assert e.gap.max() < 1e-4


def test_coverage_names_the_rule_and_a_wrong_name_is_refused():
    from pellucid.testing import build

    model, x = build("cnn", "torch")
    named = {op.rule for op in wrap(model).coverage("deeplift", x, rule="reveal_cancel")}
    assert named == {"linear", "reveal_cancel", "maximum"}
    with pytest.raises(InputError, match=r"rescale.*reveal_cancel.*got 'cancel'"):
        explain(model, x, "deeplift", rule="cancel")
