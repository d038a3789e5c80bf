"""A block with a global response norm (ConvNeXt V2) in torch, Keras and JAX, against NumPy.

Over positions, g = ‖a‖ for each channel; n = g / (mean of g + ε); out = γ a n + β + a. DeepLIFT
opens the root of a sum of squares into these; under LRP each input has its share a² / Σ a².
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from torch.nn import functional

from pellucid import explain, wrap

DRAWS = np.random.default_rng(11)
KERNEL, BIAS, GAMMA, BETA, HEAD, LAST = (
    DRAWS.normal(size=shape).astype(np.float32)
    for shape in ((4, 8), (8,), (8,), (8,), (8, 3), (3,))
)
X, REFERENCE = (DRAWS.normal(size=(2, 5, 4)).astype(np.float32) for _ in range(2))
EPSILON = 1e-3
TARGET = 1


class Torch(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        w = [torch.from_numpy(v) for v in (KERNEL, BIAS, GAMMA, BETA, HEAD, LAST)]
        a = torch.relu(functional.linear(x, w[0].T, w[1]))
        g = self.norm(a)
        n = g / (g.mean(dim=-1, keepdim=True) + EPSILON)
        return functional.linear((w[2] * (a * n) + w[3] + a).mean(dim=1), w[4].T, w[5])


NORMS = {
    "Tensor.norm": lambda a: a.norm(p=2, dim=1, keepdim=True),
    "torch.norm": lambda a: torch.norm(a, dim=1, keepdim=True),
    "vector_norm": lambda a: torch.linalg.vector_norm(a, dim=1, keepdim=True),
    "linalg.norm": lambda a: torch.linalg.norm(a, 2, dim=1, keepdim=True),
}


def in_jax(x):
    a = jax.nn.relu(x @ KERNEL + BIAS)
    g = jnp.linalg.norm(a, axis=1, keepdims=True)
    n = g / (g.mean(axis=-1, keepdims=True) + EPSILON)
    return (GAMMA * (a * n) + BETA + a).mean(axis=1) @ HEAD + LAST


class Response(keras.layers.Layer):
    def call(self, a):
        g = keras.ops.norm(a, axis=1, keepdims=True)
        n = g / (keras.ops.mean(g, axis=-1, keepdims=True) + EPSILON)
        return GAMMA * (a * n) + BETA + a


def in_keras():
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            layers.Dense(8, "relu"),
            Response(),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )
    network.set_weights([KERNEL, BIAS, HEAD, LAST])
    return network


def models():
    return {
        **{name: Torch(norm) for name, norm in NORMS.items()},
        "jax": wrap(in_jax, framework="jax"),
        "keras": in_keras(),
    }


def forward(x):
    h = x.astype(float) @ KERNEL + BIAS
    a = np.maximum(h, 0)
    g = np.sqrt((a**2).sum(axis=1, keepdims=True))
    m = g.mean(axis=-1, keepdims=True) + EPSILON
    return h, a, g, m, g / m


def deeplift(x, reference):
    (h, a, g, m, n), (h0, a0, g0, m0, n0) = forward(x), forward(reference)
    to_out = HEAD[:, TARGET] / x.shape[1]
    to_a = to_out + GAMMA * to_out * (n + n0) / 2
    to_n = (GAMMA * to_out * (a + a0) / 2).sum(axis=1, keepdims=True)
    to_inverse = (to_n * (g + g0) / 2).sum(axis=-1, keepdims=True)
    to_m = to_inverse * (1 / m - 1 / m0) / (m - m0)
    to_g = to_n * (1 / m + 1 / m0) / 2 + to_m / a.shape[-1]
    change = (a**2).sum(axis=1, keepdims=True) - (a0**2).sum(axis=1, keepdims=True)
    to_squares = to_g * np.divide(g - g0, change, out=np.zeros_like(change), where=change != 0)
    to_a = to_a + to_squares * (a + a0)
    return (to_a * (a - a0) / (h - h0)) @ KERNEL.T * (x - reference)


def relevance(x):
    """By ε-LRP with an ε of nothing, as input times what stands for the derivative."""
    h, a, g, m, n = forward(x)
    to_out = HEAD[:, TARGET] / x.shape[1]
    to_n = (GAMMA * to_out * a / 2).sum(axis=1, keepdims=True)
    share = np.divide(a, g, out=np.zeros_like(a), where=g != 0)
    to_a = to_out + GAMMA * to_out * n / 2 + to_n / m * share
    return (to_a * (h > 0)) @ KERNEL.T * x


@pytest.mark.parametrize("name", [*NORMS, "jax", "keras"])
def test_deeplift_and_lrp_of_a_response_norm_are_those_of_the_paper(name):
    model = models()[name]
    e = explain(model, X, "deeplift", baseline=REFERENCE, target=TARGET)
    wanted = deeplift(X, REFERENCE)
    assert np.abs(e.values - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.all(e.gap < 1e-4)
    e = explain(model, X, "lrp", composite="epsilon", epsilon=1e-9, target=TARGET)
    wanted = relevance(X)
    assert np.abs(e.values - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_norm_of_two_zeros_has_no_contributions(framework):
    norms = {"torch": NORMS["Tensor.norm"], "jax": lambda x: jnp.linalg.norm(x, axis=1)[:, None]}
    model = wrap(norms[framework], framework=framework)
    e = explain(model, np.zeros((1, 3), np.float32), "deeplift", target=0)
    assert not e.values.any()


def test_normalize_is_opened_and_other_orders_are_refused():
    x, reference = X[:, 0], REFERENCE[:, 0]
    model = wrap(functional.normalize, framework="torch")
    e = explain(model, x, "deeplift", baseline=reference, target=0)
    assert np.all(e.gap < 1e-4)
    cubes = wrap(lambda x: x.norm(p=3, dim=1, keepdim=True), framework="torch")
    assert not cubes.coverage("deeplift", x).complete
    assert not cubes.coverage("lrp", x).complete
