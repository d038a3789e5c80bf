"""tf-keras-vis, Xplique and tf-explain as outside oracles on a small Keras 3 CNN.

Run by `make test-peers`, with TensorFlow 2.20, Keras 3.15, tf-keras-vis 0.8.7, Xplique 2.0.2 and
tf-explain 0.3.1. Where a definition differs, the test pins both.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from pellucid import explain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the peers' own imports; nothing of ours
    why = "not installed here; `make test-peers` has it"
    xplique = pytest.importorskip("xplique.attributions", reason=f"Xplique is {why}")
    vis_saliency = pytest.importorskip("tf_keras_vis.saliency", reason=f"tf-keras-vis is {why}")
    vis_gradcam = pytest.importorskip("tf_keras_vis.gradcam", reason=f"tf-keras-vis is {why}")
    tf_explain = pytest.importorskip(
        "tf_explain.core.integrated_gradients", reason=f"tf-explain is {why}"
    )

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
OF_MAXIMUM = 1e-4


@pytest.fixture(scope="module")
def case():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(6, 3, activation="relu", name="first"),
            layers.Conv2D(8, 3, activation="relu", name="last"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="head"),
        ]
    )
    functional = keras.Model(model.inputs, model.outputs)
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    target = functional.predict(x, verbose=0).argmax(axis=1)
    return functional, x, target, np.eye(4, dtype=np.float32)[target]


def close(found: np.ndarray, oracle) -> None:
    oracle = np.asarray(oracle)
    assert found.shape == oracle.shape
    assert np.abs(found - oracle).max() <= OF_MAXIMUM * np.abs(oracle).max()


def test_saliency(case):
    """Xplique and tf-keras-vis take the largest absolute value over channels; ours is signed."""
    model, x, target, one_hot = case
    ours = np.abs(explain(model, x, "saliency", target=target).values).max(axis=-1)
    close(ours, np.squeeze(np.asarray(xplique.Saliency(model)(x, one_hot)), axis=-1))
    theirs = vis_saliency.Saliency(model, clone=False)(
        lambda out: tf.gather(out, target, axis=1, batch_dims=1), x, normalize_map=False
    )
    close(ours, theirs)


def test_gradient_x_input(case):
    model, x, target, one_hot = case
    ours = explain(model, x, "gradient_x_input", target=target).values
    theirs = np.asarray(xplique.GradientInput(model, reducer=None)(x, one_hot))
    close(ours, theirs)


def test_integrated_gradients(case):
    """Xplique's trapezoid of 300 steps; tf-explain leaves the factor (x - x0) out."""
    model, x, target, one_hot = case
    ours = explain(model, x, "integrated_gradients", target=target, steps=300).values
    theirs = np.asarray(
        xplique.IntegratedGradients(model, steps=300, baseline_value=0.0, reducer=None)(x, one_hot)
    )
    assert np.abs(ours - theirs).max() <= 1e-2 * np.abs(theirs).max()
    one = int(target[0])
    averaged = np.asarray(
        tf_explain.IntegratedGradients.get_integrated_gradients(
            tf_explain.IntegratedGradients.generate_interpolations(x[:1], 300), model, one, 300
        )
    )
    assert np.abs(ours[:1] - averaged * x[:1]).max() <= 1e-2 * np.abs(ours[:1]).max()


def test_gradcam(case):
    """The grid before it is enlarged: the peers resize corner to corner or with a cubic spline."""
    model, x, target, _ = case
    ours = explain(model, x, "gradcam", target=target, layer="last").extras["grid"]
    theirs = vis_gradcam.Gradcam(model, clone=False)(
        lambda out: tf.gather(out, target, axis=1, batch_dims=1),
        x, penultimate_layer="last", expand_cam=False, normalize_cam=False,
    )  # fmt: skip
    close(ours, theirs)
