"""Compiled, vmapped and jitted models under rules: seen into, or refused; never silently plain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

from pellucid import explain, wrap
from pellucid.errors import CapabilityError, CoverageError

DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(4, 5)).astype(np.float32) for _ in range(2))
W, V = (DRAWS.normal(size=s).astype(np.float32) for s in ((5, 6), (6, 2)))
STRAIGHT = {"deeplift": {"baseline": B}, "guided_backprop": {}, "deconvnet": {}}
"""Methods that pass straight lines as they are, so that a detour of them changes nothing."""
METHODS = {
    **STRAIGHT,
    "deep_shap": {"background": B},
    "lrp": {"composite": {"linear": "z_plus"}},
    "excitation_backprop": {},
}


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(5, 6), torch.nn.Linear(6, 2)
        self.first.weight.data, self.last.weight.data = (
            torch.from_numpy(a.T.copy()) for a in (W, V)
        )
        self.first.bias.data.zero_()
        self.last.bias.data.zero_()

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def plainly(method: str) -> np.ndarray:
    return explain(Net().eval(), X, method, target=1, **METHODS[method]).values


def same(model, method: str) -> None:
    e = explain(model, X, method, target=1, **METHODS[method])
    np.testing.assert_allclose(e.values, plainly(method), rtol=1e-5, atol=1e-6)
    assert not e.warnings
    for plain in ("saliency", "gradient_x_input"):
        assert not np.allclose(e.values, explain(model, X, plain, target=1).values, atol=1e-3)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_compiled_torch_model_is_read_as_it_was_written(method):
    calls = []

    def compiler(graph, inputs):
        calls.append(graph)
        return graph.forward

    same(torch.compile(Net().eval(), backend=compiler), method)
    assert not calls


@pytest.mark.parametrize("method", list(METHODS))
def test_a_scripted_torch_model_is_refused(method):
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.trace(Net().eval(), torch.from_numpy(X))
    with pytest.raises(CapabilityError):
        explain(scripted, X, method, target=1, **METHODS[method])


@pytest.mark.parametrize("method", list(METHODS))
def test_a_vmapped_torch_function_is_composed_or_refused(method):
    net = Net().eval()
    model = wrap(lambda x: torch.func.vmap(net)(x), framework="torch")
    try:
        same(model, method)
    except (CoverageError, CapabilityError):
        return
    assert model.coverage(method, X).complete


@pytest.mark.parametrize("method", list(METHODS))
def test_a_functional_call_of_a_torch_model(method):
    net = Net().eval()
    weights = dict(net.named_parameters())
    same(wrap(lambda x: torch.func.functional_call(net, weights, (x,)), framework="torch"), method)


def in_jax(x):
    return jax.nn.relu(x @ W) @ V


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize(
    "function",
    [
        jax.jit(in_jax),
        jax.vmap(in_jax),
        jax.jit(jax.vmap(in_jax)),
        jax.checkpoint(in_jax),
    ],
    ids=["jit", "vmap", "jit of vmap", "checkpoint"],
)
def test_transformed_jax_functions_are_opened(function, method):
    same(wrap(function, framework="jax"), method)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_mapped_jax_function_is_opened(method):
    """LRP's plan is made on one sample, with one turn, so each sample is then explained alone."""
    same(wrap(lambda x: jax.lax.map(in_jax, x), framework="jax"), method)


@pytest.mark.parametrize("method", list(STRAIGHT))
def test_a_jax_loop_is_opened(method):
    def function(x):
        looped = jax.lax.fori_loop(0, 1, lambda _, h: h @ jnp.eye(5), x)
        return looped @ W @ V + in_jax(x) - x @ W @ V

    same(wrap(function, framework="jax"), method)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tensorflow_functions_are_opened(jit_compile, method):
    function = tf.function(lambda x: tf.nn.relu(x @ W) @ V, jit_compile=jit_compile)
    same(wrap(function, framework="tensorflow"), method)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_mapped_tensorflow_function_is_opened(method):
    def mapped(x):
        return tf.map_fn(lambda row: (tf.nn.relu(row[None] @ W) @ V)[0], x)

    same(wrap(mapped, framework="tensorflow"), method)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_derivative_of_one_s_own_is_refused(method):
    @jax.custom_vjp
    def straight(x):
        return jnp.round(x)

    straight.defvjp(lambda x: (jnp.round(x), None), lambda _, c: (c,))
    with pytest.raises(CoverageError, match="custom"):
        explain(wrap(lambda x: straight(x @ W) @ V, framework="jax"), X, method, **METHODS[method])

    @tf.custom_gradient
    def rounded(x):
        return tf.round(x), lambda c: c

    model = wrap(lambda x: rounded(x @ W) @ V, framework="tensorflow")
    with pytest.raises(CoverageError, match="custom"):
        explain(model, X, method, **METHODS[method])
