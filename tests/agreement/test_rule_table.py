"""Every rule of relevance on every layer with weights, against the layer's own matrix in NumPy.

An affine layer is z = W x + b; W and b are read off it by running it on unit inputs, and the rule
is written down as the paper has it.
"""

import jax
import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain

LOW, HIGH = -4.0, 4.0
RULES = ["epsilon", "norm", "z_plus", "gamma:0.5", "alpha_beta:2,1", "flat", "w_square", "box"]

TORCH = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "conv 1-D, stride": (lambda: nn.Conv1d(2, 3, 3, stride=2), (2, 8)),
    "conv 2-D, padding": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 4, 5)),
    "conv 2-D, dilation": (lambda: nn.Conv2d(2, 3, 2, dilation=2), (2, 5, 4)),
    "conv 2-D, groups": (lambda: nn.Conv2d(4, 4, 2, groups=2), (4, 4, 3)),
    "conv 2-D, depthwise": (lambda: nn.Conv2d(3, 6, 2, groups=3), (3, 4, 3)),
    "conv 3-D": (lambda: nn.Conv3d(2, 2, 2), (2, 3, 3, 3)),
    "transposed 1-D": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 4)),
    "transposed 2-D": (lambda: nn.ConvTranspose2d(2, 2, 2, stride=2), (2, 3, 3)),
    "transposed 3-D": (lambda: nn.ConvTranspose3d(2, 2, 2), (2, 2, 2, 2)),
}


def keras_layers():
    from keras import layers

    return {
        "linear": (lambda: layers.Dense(4), (6,)),
        "conv 1-D, stride": (lambda: layers.Conv1D(3, 3, strides=2), (8, 2)),
        "conv 2-D, padding": (lambda: layers.Conv2D(3, 3, padding="same"), (4, 5, 2)),
        "conv 2-D, dilation": (lambda: layers.Conv2D(3, 2, dilation_rate=2), (5, 4, 2)),
        "conv 2-D, depthwise": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), (4, 3, 3)),
        "conv 3-D": (lambda: layers.Conv3D(2, 2), (3, 3, 3, 2)),
        "transposed 1-D": (lambda: layers.Conv1DTranspose(3, 3, strides=2), (4, 2)),
        "transposed 2-D": (lambda: layers.Conv2DTranspose(2, 2, strides=2), (3, 3, 2)),
    }


def in_torch(case: str):
    torch.manual_seed(0)
    make, shape = TORCH[case]
    model = nn.Sequential(make(), nn.Flatten()).eval()
    return model, shape, lambda x: model(torch.from_numpy(x)).detach().numpy()


def in_keras(case: str):
    import keras

    keras.utils.set_random_seed(0)
    make, shape = keras_layers()[case]
    model = keras.Sequential([keras.Input(shape), make(), keras.layers.Flatten()])
    for variable in model.trainable_variables:
        if "bias" in variable.path:
            variable.assign(np.linspace(-0.5, 0.7, int(np.prod(variable.shape))))
    return model, shape, lambda x: np.asarray(model(x))


CONVOLUTIONS = {
    "conv 1-D, stride": ((2, 8), (3, 2, 3), {"window_strides": (2,), "padding": "VALID"}),
    "conv 2-D, padding": ((2, 4, 5), (3, 2, 3, 3), {"window_strides": (1, 1), "padding": "SAME"}),
    "conv 2-D, dilation": (
        (2, 5, 4), (3, 2, 2, 2),
        {"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 2)},
    ),
    "conv 2-D, groups": (
        (4, 4, 3), (4, 2, 2, 2),
        {"window_strides": (1, 1), "padding": "VALID", "feature_group_count": 2},
    ),
    "conv 3-D": ((2, 3, 3, 3), (2, 2, 2, 2, 2), {"window_strides": (1,) * 3, "padding": "VALID"}),
    "transposed 2-D": (
        (2, 3, 3), (2, 2, 2, 2),
        {"window_strides": (1, 1), "padding": [(1, 1), (1, 1)], "lhs_dilation": (2, 2)},
    ),
}  # fmt: skip


def in_jax(case: str):
    shape, kernel, options = CONVOLUTIONS[case]
    draws = np.random.default_rng(3)
    params = {
        "kernel": draws.normal(size=kernel).astype(np.float32),
        "bias": draws.normal(size=(kernel[0], *[1] * (len(shape) - 1))).astype(np.float32),
    }

    def apply(params, x):
        z = jax.lax.conv_general_dilated(x, params["kernel"], **options) + params["bias"]
        return z.reshape(len(x), -1)

    return (apply, params), shape, lambda x: np.asarray(apply(params, x))


def over(a: np.ndarray, total: float) -> np.ndarray:
    """The quotient; nothing where nothing speaks for (or against) the value."""
    return a / total if total else np.zeros_like(a)


def by_the_paper(rule: str, x: np.ndarray, w: np.ndarray, b: float, z: float) -> np.ndarray:
    """What each input gets of z = w x + b."""
    c = x * w
    up, down = np.maximum(c, 0), np.minimum(c, 0)
    p, n = up.sum() + max(b, 0.0), down.sum() + min(b, 0.0)
    if rule == "epsilon":
        return c
    if rule == "norm":
        return c * z / c.sum()
    if rule == "z_plus":
        return over(up * z, p)
    if rule.startswith("gamma"):
        favoured = up + down + 0.5 * (up if z >= 0 else down)
        return favoured * z / (p + n + 0.5 * (p if z >= 0 else n))
    if rule.startswith("alpha_beta"):
        return over(2 * up * z, p) - over(down * z, n)
    share = {
        "flat": (w != 0).astype(float),
        "w_square": w**2,
        "box": (x - LOW) * np.maximum(w, 0) + (x - HIGH) * np.minimum(w, 0),
    }[rule]
    return share * z / share.sum()


def check(made, rule: str) -> None:
    model, shape, run = made
    size = int(np.prod(shape))
    zero = run(np.zeros((1, *shape), np.float32)).astype(np.float64)[0]
    units = run(np.eye(size, dtype=np.float32).reshape(size, *shape)).astype(np.float64) - zero
    units[np.abs(units) < 1e-6] = 0
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    z = run(x).astype(np.float64)
    target = np.abs(z).argmax(axis=1)
    kinds = {"convolution": rule, "dense": rule}
    found = explain(
        model, x, "lrp", target=target.tolist(), composite=kinds, low=LOW, high=HIGH, epsilon=1e-9
    ).values.reshape(3, -1)
    for sample, j in enumerate(target):
        wanted = by_the_paper(
            rule, x[sample].ravel().astype(np.float64), units[:, j], zero[j], z[sample, j]
        )
        np.testing.assert_allclose(
            found[sample], wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0, err_msg=rule
        )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", TORCH)
def test_torch(case, rule):
    check(in_torch(case), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", sorted(set(TORCH) - {"conv 2-D, groups", "transposed 3-D"}))
def test_keras(case, rule):
    check(in_keras(case), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_jax(case, rule):
    check(in_jax(case), rule)


def test_pass_hands_each_its_own():
    torch.manual_seed(0)
    layer = nn.Linear(5, 5)
    x = np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32)
    e = explain(layer, x, "lrp", target=2, composite={"dense": "pass"})
    wanted = np.zeros((2, 5))
    wanted[:, 2] = layer(torch.from_numpy(x)).detach().numpy()[:, 2]
    np.testing.assert_allclose(e.values, wanted, atol=1e-5)
