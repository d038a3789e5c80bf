"""Compiled, scripted, vmapped and jitted attention: read, or refused; never a silent nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch.nn.functional import scaled_dot_product_attention

from pellucid import explain, wrap
from pellucid.errors import CapabilityError, CoverageError

METHODS = ("attention", "attention_norm", "attention_rollout", "attention_gradient")
DRAWS = np.random.default_rng(0)
X = DRAWS.normal(size=(2, 5, 4)).astype(np.float32)
W, HEAD = (DRAWS.normal(size=s).astype(np.float32) for s in ((4, 12), (4, 3)))


class Attending(torch.nn.Module):
    """One head over five steps; the mean of the steps is read."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(4, 12, bias=False)
        self.head = torch.nn.Linear(4, 3, bias=False)
        self.project.weight.data = torch.from_numpy(W.T.copy())
        self.head.weight.data = torch.from_numpy(HEAD.T.copy())

    def forward(self, x):
        q, k, v = self.project(x)[:, None].chunk(3, dim=-1)
        return self.head(scaled_dot_product_attention(q, k, v)[:, 0].mean(dim=1))


def in_jax(x):
    q, k, v = (a[..., None, :] for a in jnp.split(x @ W, 3, axis=-1))
    return jax.nn.dot_product_attention(q, k, v)[..., 0, :].mean(axis=-2) @ HEAD


def in_tensorflow(x):
    q, k, v = tf.split(tf.tensordot(x, W, 1), 3, axis=-1)
    share = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / 2.0, axis=-1)
    return tf.reduce_mean(tf.matmul(share, v), axis=1) @ HEAD


def same(model, method: str, plainly=None) -> None:
    e = explain(model, X, method, target=1)
    plain = explain(plainly or Attending().eval(), X, method, target=1)
    np.testing.assert_allclose(e.values, plain.values, rtol=1e-4, atol=1e-6)
    assert e.values.any()


@pytest.mark.parametrize(
    ("function", "framework"), [(in_jax, "jax"), (in_tensorflow, "tensorflow")]
)
@pytest.mark.parametrize("method", METHODS)
def test_one_attention_has_one_set_of_numbers(method, function, framework):
    same(wrap(function, framework=framework), method)


@pytest.mark.parametrize("method", METHODS)
def test_a_compiled_torch_model_is_read_as_it_was_written(method):
    calls = []

    def compiler(graph, inputs):
        calls.append(graph)
        return graph.forward

    same(torch.compile(Attending().eval(), backend=compiler), method)
    assert not calls


@pytest.mark.parametrize("method", METHODS)
def test_a_scripted_torch_model_is_refused(method):
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.trace(Attending().eval(), torch.from_numpy(X))
    with pytest.raises(CapabilityError):
        explain(scripted, X, method, target=1)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's word on its vmap
@pytest.mark.parametrize("method", METHODS)
def test_a_vmapped_torch_function_is_composed_or_refused(method):
    net = Attending().eval()
    model = wrap(lambda x: torch.func.vmap(lambda row: net(row[None])[0])(x), framework="torch")
    try:
        same(model, method)
    except (CoverageError, CapabilityError):
        return


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "function",
    [jax.jit(in_jax), jax.vmap(in_jax), jax.jit(jax.vmap(in_jax)), jax.checkpoint(in_jax)],
    ids=["jit", "vmap", "jit of vmap", "checkpoint"],
)
def test_transformed_jax_functions_are_opened(function, method):
    same(wrap(function, framework="jax"), method, wrap(in_jax, framework="jax"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tensorflow_functions_are_opened(jit_compile, method):
    function = tf.function(in_tensorflow, jit_compile=jit_compile)
    same(wrap(function, framework="tensorflow"), method)
