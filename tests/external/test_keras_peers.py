"""tf-keras-vis, Xplique and tf-explain as outside oracles on a small Keras 3 CNN.

Run by `make test-peers`, with TensorFlow 2.20, Keras 3.15, tf-keras-vis 0.8.7, Xplique 2.0.2 and
tf-explain 0.3.1. Where a definition differs, the test pins both.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from pellucid import explain, wrap
from pellucid.demo import demo_model, demo_photos, load_photo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the peers' own imports; nothing of ours
    why = "not installed here; `make test-peers` has it"
    xplique = pytest.importorskip("xplique.attributions", reason=f"Xplique is {why}")
    vis_saliency = pytest.importorskip("tf_keras_vis.saliency", reason=f"tf-keras-vis is {why}")
    vis_gradcam = pytest.importorskip("tf_keras_vis.gradcam", reason=f"tf-keras-vis is {why}")
    vis_plus = pytest.importorskip(
        "tf_keras_vis.gradcam_plus_plus", reason=f"tf-keras-vis is {why}"
    )
    vis_scorecam = pytest.importorskip("tf_keras_vis.scorecam", reason=f"tf-keras-vis is {why}")
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


def picked(target):
    """The score as tf-keras-vis wants it."""
    return lambda out: tf.gather(out, target, axis=1, batch_dims=1)


def at_layer(model, x, target, layer: str):
    """The layer's output and ∂(logit)/∂(it) by a sub-model and a tape, float64."""
    part = keras.Model(model.inputs, [model.get_layer(layer).output, model.outputs[0]])
    with tf.GradientTape() as tape:
        activation, logits = part(x)
        score = tf.gather(logits, target, axis=1, batch_dims=1)
    gradient = tape.gradient(score, activation)
    return tuple(np.asarray(a, dtype=np.float64) for a in (activation, gradient, score))


def draws(samples: int, shape: tuple[int, ...]) -> np.ndarray:
    """The standard normal numbers of our smoothgrad with seed 7, `(samples, *shape)`."""
    made = (np.random.default_rng([7, 2, 0, j]) for j in range(samples))
    return np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in made])


def test_gradcam_plus_plus_of_tf_keras_vis(case):
    """It scales α_k to sum to one over positions, and by exp(f); the paper, and ours, do not."""
    model, x, target, _ = case
    e = explain(model, x, "gradcam_plus_plus", target=target, layer="last")
    theirs = vis_plus.GradcamPlusPlus(model, clone=False)(
        picked(target), x, penultimate_layer="last", expand_cam=False, normalize_cam=False
    )
    a, g, score = at_layer(model, x, target, "last")
    below = 2 * g**2 + g**3 * a.sum(axis=(1, 2), keepdims=True)
    alpha = np.where(g != 0, g**2 / np.where(g != 0, below, 1), 0)

    def grid(alpha: np.ndarray) -> np.ndarray:
        weights = (alpha * np.maximum(g, 0)).sum(axis=(1, 2), keepdims=True)
        return np.maximum((weights * a).sum(axis=-1), 0)

    close(e.extras["grid"], grid(alpha).astype(np.float32))
    total = alpha.sum(axis=(1, 2), keepdims=True)
    as_theirs = grid(alpha / np.where(total == 0, 1, total)) * np.exp(score)[:, None, None]
    close(as_theirs, theirs)


def test_gradcam_plus_plus_of_xplique(case):
    """It has means over positions where eq. 19 has sums, and enlarges with a cubic spline."""
    model, x, target, one_hot = case
    shown = np.squeeze(np.asarray(xplique.GradCAMPP(model, conv_layer="last")(x, one_hot)))
    a, g, _ = at_layer(model, x, target, "last")
    below = 2 * g**2 + g**3 * a.mean(axis=(1, 2), keepdims=True)
    alpha = np.where(g != 0, g**2 / np.where(g != 0, below, 1), 0)
    weights = (alpha * np.maximum(g, 0)).mean(axis=(1, 2), keepdims=True)
    grid = np.maximum((weights * a).sum(axis=-1), 0)
    enlarged = tf.image.resize(grid[..., None], x.shape[1:3], method="bicubic")
    close(np.squeeze(np.asarray(enlarged)), shown)


def test_gradcam_of_xplique(case):
    """The same grid, enlarged with a cubic spline."""
    model, x, target, one_hot = case
    grid = explain(model, x, "gradcam", target=target, layer="last").extras["grid"]
    shown = np.squeeze(np.asarray(xplique.GradCAM(model, conv_layer="last")(x, one_hot)))
    enlarged = tf.image.resize(grid[..., None], x.shape[1:3], method="bicubic")
    close(np.squeeze(np.asarray(enlarged)), shown)


def test_scorecam():
    """tf-keras-vis weighs by the class's probability, ours by a softmax of logits over channels.

    The layer's map is as large as the input, for the peer enlarges corner to corner.
    """
    keras.utils.set_random_seed(3)
    layers = keras.layers
    given = keras.Input((9, 8, 3))
    h = layers.Conv2D(5, 3, padding="same", activation="relu", name="last")(given)
    model = keras.Model(given, layers.Dense(4)(layers.GlobalAveragePooling2D()(h)))
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)
    target = np.array([1, 3])
    e = explain(model, x, "scorecam", target=target, layer="last")
    theirs = vis_scorecam.Scorecam(model, clone=False)(
        picked(target), x, penultimate_layer="last", expand_cam=False, normalize_cam=False
    )
    a = at_layer(model, x, target, "last")[0]
    low = a.min(axis=(1, 2), keepdims=True)
    masks = (a - low) / (a.max(axis=(1, 2), keepdims=True) - low)
    logits = np.stack([model(x * masks[..., k : k + 1]) for k in range(5)], axis=1)

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)

    def weighed(weights: np.ndarray) -> np.ndarray:
        return np.maximum(np.einsum("nhwk,nk->nhw", a, weights), 0)

    rows = np.arange(2)
    close(e.values, weighed(softmax(logits[rows, :, target])).astype(np.float32))
    close(weighed(softmax(logits)[rows, :, target]), theirs)


def test_smoothgrad_of_tf_keras_vis(case, monkeypatch):
    """The same noise, a part of each sample's range; its default averages absolute values."""
    model, x, target, _ = case
    normal = draws(6, x.shape[1:])

    def ours_drawn(mean, deviation, shape):
        assert shape == (6, *x.shape)
        return np.asarray(deviation) * normal[:, None]

    monkeypatch.setattr(np.random, "normal", ours_drawn)
    theirs = vis_saliency.Saliency(model, clone=False)(
        picked(target), x, smooth_samples=6, smooth_noise=0.1, keepdims=True,
        gradient_modifier=None, normalize_map=False,
    )  # fmt: skip
    options = {"samples": 6, "noise": 0.1, "seed": 7}
    ours = explain(model, x, "smoothgrad", target=target, **options)
    close(ours.values, theirs)
    shown = vis_saliency.Saliency(model, clone=False)(
        picked(target), x, smooth_samples=6, smooth_noise=0.1, normalize_map=False
    )
    assert np.abs(np.abs(ours.values).max(axis=-1) - shown).max() > 0.01 * shown.max()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("smoothgrad", "SmoothGrad"), ("squaregrad", "SquareGrad"), ("vargrad", "VarGrad")],
)
def test_the_noise_family_of_xplique(case, monkeypatch, ours, theirs):
    """Its noise is absolute; given ours, the mean and the mean square are the same."""
    model, x, target, one_hot = case
    normal = draws(6, x.shape[1:])
    span = np.ptp(x, axis=(1, 2, 3))[:, None, None, None, None]

    def ours_drawn(inputs, count, noise):
        moved = x[:, None] + 0.1 * span * normal[None]
        return tf.constant(moved.reshape(-1, *x.shape[1:]).astype(np.float32))

    kind = getattr(xplique, theirs)
    monkeypatch.setattr(kind.__mro__[1], "_perturb_samples", staticmethod(ours_drawn))
    shown = np.asarray(kind(model, nb_samples=6, batch_size=None, reducer=None)(x, one_hot))
    found = explain(model, x, ours, target=target, samples=6, noise=0.1, seed=7).values
    close(found, shown)


@pytest.fixture(scope="module")
def photographed():
    """MobileNetV2 with its weights, its logits for the peers, and a photo off the pixel grid."""
    network = demo_model()[0]
    head = network.layers[-1]
    logits = keras.models.clone_model(network)
    logits.set_weights(network.get_weights())
    logits.layers[-1].activation = keras.activations.linear
    assert head.activation is keras.activations.softmax
    photo = load_photo(demo_photos()[2].path)[None]
    x = ((photo.astype(np.float32) + 0.37) / 127.5 - 1).astype(np.float32)
    target = network.predict(x, verbose=0).argmax(axis=1)
    return wrap(network), keras.Model(logits.inputs, logits.outputs), x, target


def test_mobilenet(photographed):
    """Saliency, Grad-CAM and Grad-CAM++ of a network that ends in a softmax, at its last map."""
    model, logits, x, target = photographed
    layer = explain(model, x, "gradcam").parameters["layer"]
    ours = explain(model, x, "gradcam", layer=layer, target=target)
    assert ours.explained == "logit"
    theirs = vis_gradcam.Gradcam(logits, clone=False)(
        picked(target), x, penultimate_layer=layer, seek_penultimate_conv_layer=False,
        expand_cam=False, normalize_cam=False,
    )  # fmt: skip
    close(ours.extras["grid"], theirs)
    saliency = np.abs(explain(model, x, "saliency", target=target).values).max(axis=-1)
    close(
        saliency,
        vis_saliency.Saliency(logits, clone=False)(picked(target), x, normalize_map=False),
    )
    one_hot = np.eye(logits.output_shape[1], dtype=np.float32)[target]
    close(saliency, np.asarray(xplique.Saliency(logits)(x, one_hot))[..., 0])
    plus = explain(model, x, "gradcam_plus_plus", layer=layer, target=target)
    a, g, _ = at_layer(logits, x, target, layer)
    alpha = np.where(g != 0, 1 / (2 + g * a.sum(axis=(1, 2), keepdims=True)), 0)
    weights = (alpha * np.maximum(g, 0)).sum(axis=(1, 2), keepdims=True)
    close(plus.extras["grid"], np.maximum((weights * a).sum(axis=-1), 0).astype(np.float32))
