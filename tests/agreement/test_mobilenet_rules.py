"""MobileNetV2 with its ImageNet weights in Keras, torch and JAX: other backward passes run, add up.

The photos lie off the pixel grid, as test_mobilenet.py says why.
"""

import sys

import numpy as np
import pytest
from test_mobilenet import channels_last, off_the_grid, pair, photos

from pellucid import explain, wrap
from pellucid.testing import mobilenet_jax

FRAMEWORKS = [
    pytest.param("keras"),
    pytest.param("torch"),
    pytest.param("jax", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def models():
    keras_model, torch_model = pair("float32")
    own = wrap(mobilenet_jax.build_mobilenet("float32"),
               preprocess=lambda x: off_the_grid(x, "float32"))  # fmt: skip
    return {"keras": keras_model, "torch": torch_model, "jax": own}


def say(text: str) -> None:
    sys.stderr.write(f"MobileNetV2, {text}\n")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_deeplift_and_deep_shap_add_up(framework, models):
    model, x, others = models[framework], photos(0), photos(2, 5)
    assert model.coverage("deeplift", x).complete
    for method, options in (("deeplift", {}), ("deep_shap", {"background": others})):
        e = explain(model, x, method, **options)
        size = np.abs(e.values).sum() / np.abs(e.score - e.baseline_score)
        say(f"{framework}, {method}: gap {e.gap.max():.1e}, parts in all {size[0]:.0f} times it")
        assert e.gap.max() < 1e-4


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gates_change_what_they_should(framework, models):
    model, x = models[framework], photos(0)
    layer = {"layer": "top"} if framework == "jax" else {}
    plain = channels_last(explain(model, x, "saliency"))
    for method in ("guided_backprop", "deconvnet"):
        e = explain(model, x, method)
        assert not e.warnings, "every ReLU6 was met"
        assert np.abs(channels_last(e) - plain).max() > 0.1 * np.abs(plain).max()
    e = explain(model, x, "guided_gradcam", **layer)
    assert np.isfinite(e.values).all()
    assert e.values.any()


def test_two_frameworks_draw_one_guided_picture(models):
    """ReLU6 units on their kink differ, as in test_mobilenet.py: compared as a whole."""
    one, other = (
        channels_last(explain(models[f], photos(0), "guided_backprop")) for f in ("keras", "torch")
    )
    share = float(np.linalg.norm(one - other) / np.linalg.norm(other))
    say(f"guided_backprop, Keras against torch: {share:.1e} of its norm")
    assert share < 0.03
