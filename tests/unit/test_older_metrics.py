"""The scores by the names that papers know: closed forms, floors and what they are blind to."""

import numpy as np
import pytest
import torch

from pellucid import evaluate
from pellucid.standard.older import by_layer
from pellucid.testing import build

COUNT, SIZE = 6, 48
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, 1)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(COUNT, SIZE)).astype(np.float32)
MAPS = {
    "exact": X * WEIGHTS[:, 0],
    "gradient": np.broadcast_to(WEIGHTS[:, 0], X.shape),
    "noise": np.random.default_rng(2).normal(size=X.shape),
    "zeros": np.zeros(X.shape),
    "flat": np.ones(X.shape),
}


def linear(x):
    return np.asarray(x) @ WEIGHTS


@pytest.fixture(scope="module")
def card():
    asked = ["pixel_flipping", "faithfulness_correlation", "infidelity", "sparseness", "complexity"]
    return evaluate(linear, X, MAPS, standard=asked, imputers=["zeros"], batch_size=64)


def test_faithfulness_correlation_of_a_linear_model(card):
    own = {name: card.scores[name]["faithfulness_correlation"]["zeros"] for name in MAPS}
    np.testing.assert_allclose(own["exact"], 1, atol=1e-5)
    assert (np.abs(own["noise"]) < 0.35).all()  # 3.5 standard deviations of 1/√100
    assert np.isnan(own["zeros"]).all()
    assert card.summary("zeros", "faithfulness_correlation").missing == COUNT


def test_pixel_flipping_of_a_linear_model_is_a_sum_by_hand(card):
    terms = np.sort(MAPS["exact"], axis=1)[:, ::-1]
    left = terms.sum(axis=1, keepdims=True) - np.cumsum(terms, axis=1)
    found = card.scores["exact"]["pixel_flipping"]["zeros"]
    np.testing.assert_allclose(found, left[:, 2::3].mean(axis=1), rtol=1e-4)  # 16 steps of 3
    assert (found < card.scores["noise"]["pixel_flipping"]["zeros"]).all()


def test_infidelity_of_the_gradient_is_zero_and_grows_with_its_scale(card):
    found = card.scores["gradient"]["infidelity"][""]
    np.testing.assert_allclose(found, 0, atol=1e-8)
    twice = evaluate(linear, X, {"twice": 2 * MAPS["gradient"], "zeros": MAPS["zeros"]},
                     standard=["infidelity"], imputers=["zeros"], batch_size=64)  # fmt: skip
    np.testing.assert_allclose(  # (2 − 1)² and (0 − 1)² of E[Δf²]
        twice.scores["twice"]["infidelity"][""], twice.scores["zeros"]["infidelity"][""], rtol=1e-3
    )


def test_sparseness_and_complexity_at_their_floors(card):
    np.testing.assert_allclose(card.scores["flat"]["sparseness"][""], 0, atol=1e-9)
    np.testing.assert_allclose(card.scores["flat"]["complexity"][""], np.log(SIZE))
    one_hot = np.eye(SIZE)[:COUNT]
    own = evaluate(linear, X, {"one": one_hot}, standard=["sparseness", "complexity"]).scores["one"]
    np.testing.assert_allclose(own["sparseness"][""], 1 - 1 / SIZE)
    np.testing.assert_allclose(own["complexity"][""], 0, atol=1e-12)
    assert np.isnan(card.scores["zeros"]["sparseness"][""]).all()


def test_max_sensitivity_is_zero_for_the_gradient_of_a_linear_model():
    torch.manual_seed(0)
    net = torch.nn.Linear(SIZE, 1)
    found = evaluate(net, X, ["saliency", "gradient_x_input"],
                     standard=["max_sensitivity"])  # fmt: skip
    np.testing.assert_allclose(found.scores["saliency"]["max_sensitivity"][""], 0, atol=1e-6)
    assert (found.scores["gradient_x_input"]["max_sensitivity"][""] > 0.05).all()


def test_random_logit_tells_maps_of_a_class_from_maps_of_none():
    torch.manual_seed(0)
    net = torch.nn.Linear(SIZE, 5)
    found = evaluate(net, X, ["gradient_x_input", "edges"], standard=["random_logit"])
    np.testing.assert_allclose(found.scores["edges"]["random_logit"][""], 1)
    assert (np.abs(found.scores["gradient_x_input"]["random_logit"][""]) < 0.6).all()
    alone = evaluate(linear, X, ["occlusion"], standard=["random_logit"])
    assert alone.summary("occlusion", "random_logit").missing == COUNT


@pytest.mark.parametrize("framework", ["torch", "keras", "jax", "tensorlayer"])
def test_a_cascade_changes_gradients_and_class_activation_maps_and_leaves_edges(framework):
    model, x = build("cnn", framework)
    found = evaluate(
        model, x, ["saliency", "gradcam", "edges"],
        standard=["randomisation_cascade", "parameter_dependence"], batch_size=16,
    )  # fmt: skip
    edges = found.scores["edges"]["randomisation_cascade"]
    for way in ("signed", "absolute", "top"):
        np.testing.assert_allclose(edges[way], 1)
    assert (found.scores["saliency"]["randomisation_cascade"]["signed"] < 0.9).all()
    assert np.isfinite(found.scores["saliency"]["parameter_dependence"][""]).all()
    assert "parameter_dependence" not in found.skipped.get("gradcam", {})


def test_weights_are_grouped_by_the_layer_that_has_them():
    weights = ["stem.weight", "body.0.conv.weight", "body.0.conv.bias", "head.weight", "token"]
    layers = ["stem", "body.0.conv", "body.0", "body", "head", "stem#2"]
    assert by_layer(weights, layers) == [
        ["stem.weight"], ["body.0.conv.weight", "body.0.conv.bias"], ["head.weight", "token"],
    ]  # fmt: skip
    assert by_layer(["b", "a"], []) == [["b", "a"]]


def test_what_the_model_learned_is_still_there_afterwards():
    model, x = build("cnn", "torch")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    evaluate(model, x, ["gradcam"], standard=["randomisation_cascade"])
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
