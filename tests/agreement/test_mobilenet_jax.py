"""MobileNetV2 in plain JAX, and in Keras on JAX, against Keras on TensorFlow.

What ReLU6's kinks do to float32 gradients is told in test_mobilenet.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from test_mobilenet import METHODS, OF_MAXIMUM, channels_last, off_the_grid, pair, photos

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


def found_by(model: Model, x: np.ndarray, method: str):
    options = {"layer": layer_of(model)} if method == "gradcam" else {}
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


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", *SMOOTH])
def test_plain_jax_agrees_with_keras_in_float32(method, single):
    x = photos(0, 5)
    one, other = (found_by(model, x, method) for model in single)
    assert one.evaluations == other.evaluations
    assert_alike(channels_last(other), channels_last(one), method)


def test_in_float64_the_gradients_are_the_same():
    x = photos(0)
    truth = channels_last(explain(pair("float64")[0], x, "saliency"))
    with jax.enable_x64(True):
        found = channels_last(explain(in_jax("float64"), x, "saliency"))
    difference = float(np.abs(found - truth).max() / np.abs(truth).max())
    sys.stderr.write(f"MobileNetV2 in JAX, float64, saliency: {difference:.1e} of the maximum\n")
    assert difference < OF_MAXIMUM


ON_JAX = """
import sys, keras, numpy as np
assert keras.config.backend() == "jax"
sys.path.insert(0, sys.argv[1])
from test_mobilenet import METHODS, channels_last, off_the_grid, photos
from pellucid import explain, wrap
from pellucid.demo import demo_model
model = wrap(demo_model()[0], preprocess=lambda x: off_the_grid(x, "float32"))
maps = {m: channels_last(explain(model, photos(0, 5), m, **METHODS[m])) for m in sys.argv[3:]}
np.savez(sys.argv[2], **maps)
"""


def test_keras_on_jax_agrees_with_keras_on_tensorflow(single, tmp_path):
    methods = ("saliency", *SMOOTH)
    file = tmp_path / "maps.npz"
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX, str(Path(__file__).parent), str(file), *methods],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(file) as maps:
        for method in methods:
            truth = channels_last(explain(single[0], photos(0, 5), method, **METHODS[method]))
            assert_alike(maps[method], truth, method)
