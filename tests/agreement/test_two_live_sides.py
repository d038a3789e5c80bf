"""Operations given one value twice, or two that both depend on the input: products, not lines."""

from typing import Any

import numpy as np
import pytest

from pellucid import Explanation, explain, wrap
from pellucid.errors import CoverageError

DRAWS = np.random.default_rng(3)
X, B = (DRAWS.normal(size=(1, 4)).astype(np.float32) for _ in range(2))
TWICE = {
    "v * v": lambda xp, v: v * v,
    "matmul": lambda xp, v: xp.matmul(v[:, None, :], v[:, :, None])[:, 0],
    "einsum": lambda xp, v: xp.einsum("ni,ni->n", v, v)[:, None],
}


def gap_of(e: Explanation) -> float:
    assert e.gap is not None
    return float(e.gap.max())


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
@pytest.mark.parametrize("name", TWICE)
def test_one_value_twice_is_a_product(name, framework, rule):
    """x² − b² = (x − b)(x + b), whatever the square is written as."""
    module = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax.numpy"}[framework]
    xp = pytest.importorskip(module)
    model = wrap(lambda v: TWICE[name](xp, v), framework=framework)
    target = 1 if name == "v * v" else 0
    e = explain(model, X, "deeplift", rule=rule, baseline=B, target=target)
    squares = X**2 - B**2
    truth = squares * np.eye(4)[1] if name == "v * v" else squares
    assert np.abs(e.values - truth).max() < 1e-5


W = DRAWS.normal(size=(3, 4, 8)).astype(np.float32)


def torch_calls():
    """Name to a function of (1, 4) whose every number is quadratic in the input, or linear."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    first, second, third = map(torch.from_numpy, W)
    kernel = torch.from_numpy(DRAWS.normal(size=(2, 8, 8)).astype(np.float32))

    def bilinear(v):
        return functional.bilinear(v @ first, v @ second, kernel)

    return {
        "bilinear": bilinear,
        "linear": lambda v: functional.linear(
            v @ first, (v @ second).view(1, 8), (v @ third)[0, :1]
        ),
        "conv1d": lambda v: functional.conv1d((v @ first)[None], (v @ second).view(2, 1, 4))[:, 0],
        "addmm": lambda v: torch.addmm(v @ first, (v @ second).T[:1], v @ third, alpha=0.5, beta=2),
        "baddbmm": lambda v: torch.baddbmm(
            (v @ first)[None, :, :1], (v @ second).view(1, 1, 8), (v @ third).view(1, 8, 1)
        )[0],
        "linear of constants": lambda v: functional.linear(first[:1], (v @ second).view(1, 8)),
    }  # fmt: skip


CALLS = ("bilinear", "linear", "conv1d", "addmm", "baddbmm", "linear of constants")


@pytest.mark.parametrize("name", CALLS)
def test_weights_that_depend_on_the_input_are_a_factor(name):
    """The straight path's integral, of a quadratic function, gives each factor the same share."""
    function = torch_calls()[name]
    model = wrap(function, framework="torch")
    given: dict[str, Any] = {"baseline": B, "target": 0}
    e = explain(model, X, "deeplift", **given)
    truth = explain(model, X, "integrated_gradients", steps=8, batch_size=1, **given)
    assert np.abs(e.values - truth.values).max() < 1e-4 * np.abs(truth.values).max()
    assert not e.warnings


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "rms_norm"])
def test_a_norm_by_weights_that_depend_on_the_input_is_a_product(name):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    first, second, _ = map(torch.from_numpy, W)

    def called(v):
        weight, bias = (v @ first)[0], (v @ second)[0].tanh()
        if name == "layer_norm":
            return functional.layer_norm(v @ second, (8,), weight, bias)
        if name == "rms_norm":
            return functional.rms_norm(v @ second, (8,), weight)
        return functional.group_norm(v @ second, 2, weight, bias)

    e = explain(wrap(called, framework="torch"), X, "deeplift", baseline=B, target=0)
    assert gap_of(e) < 1e-4


def test_a_table_of_live_rows_is_refused_by_name():
    torch = pytest.importorskip("torch")
    first = torch.from_numpy(W[0])
    ids = torch.tensor([0])
    model = wrap(
        lambda v: torch.nn.functional.embedding(ids, (v @ first).view(2, 4)), framework="torch"
    )
    for method in ("deeplift", "lrp"):
        with pytest.raises(CoverageError, match=r"embedding[\s\S]*integrated_gradients"):
            explain(model, X, method, target=0)


def test_filters_that_depend_on_the_input_are_a_factor_in_tensorflow():
    tf = pytest.importorskip("tensorflow")
    first, second, _ = W

    def called(v):
        made = tf.nn.conv1d((v @ first)[..., None], tf.reshape(v @ second, (4, 1, 2)), 1, "VALID")
        return tf.nn.bias_add(made, (v @ first)[0, :2])[:, 0]

    model = wrap(called, framework="tensorflow")
    e = explain(model, X, "deeplift", baseline=B, target=0)
    truth = explain(model, X, "integrated_gradients", steps=8, batch_size=1, baseline=B, target=0)
    assert np.abs(e.values - truth.values).max() < 1e-4 * np.abs(truth.values).max()
