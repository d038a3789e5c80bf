"""MobileNetV2 in plain JAX against Keras on TensorFlow; Keras on JAX is in test_keras_backends.py.

What ReLU6's kinks do to float32 gradients is told in test_mobilenet.py.
"""

import sys

import jax
import numpy as np
import pytest
from test_mobilenet import (
    BY_GRADIENT,
    METHODS,
    OF_MAXIMUM,
    channels_last,
    gating,
    off_the_grid,
    pair,
    photos,
    watching,
)

from pellucid import Model, explain, wrap
from pellucid.testing import mobilenet_jax

SMOOTH = ("gradcam", "occlusion")


def in_jax(dtype: str) -> Model:
    return wrap(mobilenet_jax.build_mobilenet(dtype), preprocess=lambda x: off_the_grid(x, dtype))


@pytest.fixture(scope="module")
def single() -> tuple[Model, Model]:
    return pair("float32")[0], in_jax("float32")


def layer_of(model: Model) -> str:
    """The last feature map: Keras's own choice, which costs a forward pass to make."""
    if model.framework == "jax":
        return "top"
    return explain(model, photos(0), "gradcam").parameters["layer"]


def found_by(model: Model, x: np.ndarray, method: str, **options):
    options |= {"layer": layer_of(model)} if method == "gradcam" else {}
    e = explain(model, x, method, **METHODS[method], **options)
    assert e.explained == "logit"
    return e


def assert_alike(one: np.ndarray, other: np.ndarray, method: str) -> None:
    scale = np.abs(other).max(axis=tuple(range(1, other.ndim)), keepdims=True)
    difference = np.abs(one - other) / scale
    sys.stderr.write(f"MobileNetV2, {method}: at most {difference.max():.1e} of the maximum\n")
    if method in SMOOTH:
        assert difference.max() < OF_MAXIMUM
    else:
        assert float((difference > OF_MAXIMUM).mean()) < 0.15
        assert np.linalg.norm(one - other) < 0.03 * np.linalg.norm(other)


@pytest.mark.parametrize("method", list(METHODS))
def test_plain_jax_agrees_with_keras_in_float32(method, single):
    x = photos(0, 5)
    one, other = (found_by(model, x, method) for model in single)
    assert one.evaluations == other.evaluations
    assert_alike(channels_last(other), channels_last(one), method)


@pytest.mark.parametrize("method", BY_GRADIENT)
@pytest.mark.parametrize("number", [0, 5])
def test_in_float32_the_same_open_units_give_the_same_map(number, method, single):
    """The cause of the float32 differences is shown: with Keras's open units, JAX agrees."""
    x = photos(number)
    watched, units = watching(single[0])
    gated = gating(single[1], units)
    # One row at a time: what JAX compiles for one method serves the others.
    one, other, same = (
        found_by(m, x, method, batch_size=1).values for m in (watched, single[1], gated)
    )
    before, after = (float(np.abs(one - m).max() / np.abs(one).max()) for m in (other, same))
    sys.stderr.write(
        f"MobileNetV2 in JAX, photo {number}, {method}: {before:.1e}, with the same units open"
        f" {after:.1e}\n"
    )
    assert not units, "a gradient for each that was watched"
    assert after < 1e-5


@pytest.fixture(scope="module")
def double() -> Model:
    return pair("float64")[0]


@pytest.mark.parametrize("method", [m for m in METHODS if m not in SMOOTH])
def test_in_float64_the_maps_are_the_same(method, double):
    x = photos(0)
    truth = channels_last(explain(double, x, method, **METHODS[method]))
    with jax.enable_x64(True):
        found = channels_last(explain(in_jax("float64"), x, method, **METHODS[method]))
    difference = float(np.abs(found - truth).max() / np.abs(truth).max())
    sys.stderr.write(f"MobileNetV2 in JAX, float64, {method}: {difference:.1e} of the maximum\n")
    assert difference < OF_MAXIMUM
