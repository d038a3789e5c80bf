"""MobileNetV2 with its ImageNet weights in Keras, torch and JAX: other backward passes run, agree.

The photos lie off the pixel grid, as test_mobilenet.py says why. What a ReLU6 unit on its kink does
to a gate is said there as well; rules whose shares have no jumps agree number by number. What is
printed stands as a table in docs/methods.md.
"""

import functools
import sys

import numpy as np
import pytest
from test_mobilenet import channels_last, off_the_grid, pair, photos

from pellucid import Explanation, Model, explain, wrap
from pellucid.testing import mobilenet_jax

FRAMEWORKS = [
    pytest.param("keras"),
    pytest.param("torch"),
    pytest.param("jax", marks=pytest.mark.slow),
]
METHODS = {
    "deeplift": ("deeplift", {}),
    "deep_shap": ("deep_shap", {"background": (2, 5)}),
    "guided_backprop": ("guided_backprop", {}),
    "deconvnet": ("deconvnet", {}),
    "guided_gradcam": ("guided_gradcam", {}),
    "lrp": ("lrp", {}),
    "lrp, epsilon": ("lrp", {"composite": "epsilon"}),
    "lrp, alpha 2, beta 1": ("lrp", {"composite": "epsilon_alpha2_beta1"}),
    "excitation_backprop": ("excitation_backprop", {}),
}
ADDS_UP = {"deeplift": 1e-4, "deep_shap": 1e-4}
"""The gap that is an error; LRP's is what biases keep, and the same in every framework."""
APART = {"lrp, epsilon": 5e-3}
"""Of the maximum, where it is not 1e-3: ε divides by sums near zero, 53 layers in a row."""
GATED = ("guided_backprop", "deconvnet", "guided_gradcam")


@functools.cache
def model(framework: str) -> Model:
    if framework == "jax":
        return wrap(mobilenet_jax.build_mobilenet("float32"),
                    preprocess=lambda x: off_the_grid(x, "float32"))  # fmt: skip
    return pair("float32")[framework == "torch"]


@functools.cache
def found(framework: str, row: str) -> Explanation:
    method, given = METHODS[row]
    options = {k: photos(*v) if k == "background" else v for k, v in given.items()}
    if framework == "jax" and method == "guided_gradcam":
        options["layer"] = "top"
    return explain(model(framework), photos(0), method, **options)


def say(text: str) -> None:
    sys.stderr.write(f"MobileNetV2, {text}\n")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("row", METHODS)
def test_every_method_runs(row, framework):
    e = found(framework, row)
    assert not e.warnings, "every operation has a rule, and every ReLU6 was met"
    assert np.isfinite(e.values).all()
    assert e.values.any()
    if e.gap is not None:
        size = np.abs(e.values).sum() / np.abs(e.score - (e.baseline_score or 0))
        say(f"{framework}, {row}: gap {e.gap.max():.1e}, parts in all {size.item():.0f} times it")
    if row in ADDS_UP:
        assert e.gap.max() < ADDS_UP[row]


@pytest.mark.parametrize("framework", FRAMEWORKS[1:])
@pytest.mark.parametrize("row", METHODS)
def test_frameworks_agree_with_keras(row, framework):
    one, other = (channels_last(found(f, row)) for f in ("keras", framework))
    most = float(np.abs(one - other).max() / np.abs(one).max())
    share = float(np.linalg.norm(one - other) / np.linalg.norm(one))
    say(f"{framework} against Keras, {row}: {most:.1e} of the maximum, {share:.1e} of the norm")
    if row in GATED:
        assert share < 0.03
    else:
        assert most < APART.get(row, 1e-3)
        if found("keras", row).gap is not None and row not in ADDS_UP:
            gaps = [float(found(f, row).gap.max()) for f in ("keras", framework)]
            assert gaps[0] == pytest.approx(gaps[1], rel=1e-3)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gates_change_what_they_should(framework):
    plain = channels_last(explain(model(framework), photos(0), "saliency"))
    for method in ("guided_backprop", "deconvnet"):
        assert (
            np.abs(channels_last(found(framework, method)) - plain).max()
            > 0.1 * np.abs(plain).max()
        )
