"""The standard gives the same numbers in every framework, for the same weights and masks."""

import numpy as np
import pytest

from pellucid import evaluate
from pellucid.testing import build

METHODS = ["integrated_gradients", "gradcam", "smoothgrad"]
ASKED = ["I1", "I2", "I3", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "deletion", "insertion"]


def judged(name: str, framework: str, methods: list[str]):
    model, x = build(name, framework)
    return evaluate(model, x, methods, standard=ASKED, batch_size=16)


def flat(card, name: str) -> dict[str, np.ndarray]:
    """Scores of one explanation by metric and way."""
    found = card.scores[name]
    return {f"{m} {w}": v for m, ways in found.items() for w, v in ways.items()}


@pytest.mark.parametrize("framework", ["tensorflow", "keras", "jax", "tensorlayer"])
@pytest.mark.parametrize(("name", "methods"), [("cnn", METHODS[:2]), ("dense", METHODS[::2])])
def test_frameworks_agree(name, methods, framework):
    if framework == "tensorflow":  # a plain function has no layers to cut at
        methods = [m for m in methods if m != "gradcam"]
    ours, torch = judged(name, framework, methods), judged(name, "torch", methods)
    assert ours.imputers == torch.imputers
    for method in [*methods, "random", "edges", "constant"]:
        own, other = flat(ours, method), flat(torch, method)
        assert set(own) >= {"srg dataset", "subset_correlation dataset", "class_contrast "}
        for score in set(own) & set(other) - {s for s in own if s.startswith("parameter")}:
            np.testing.assert_allclose(
                own[score], other[score], rtol=2e-3, atol=2e-4, err_msg=f"{method}: {score}"
            )


@pytest.mark.parametrize("framework", ["torch", "keras", "jax", "tensorlayer"])
def test_a_map_of_the_model_depends_on_its_weights_and_edges_do_not(framework):
    card = judged("cnn", framework, ["integrated_gradients"])
    own = card.summary("integrated_gradients", "parameter_dependence").median
    edges = card.scores["edges"]["parameter_dependence"][""]
    assert own < 0.3
    assert (edges > 0.2).all()  # the gate fails what does not look at the weights


@pytest.mark.parametrize("framework", ["torch", "keras", "jax"])
def test_two_inputs_are_judged_together(framework):
    model, x = build("two_inputs", framework)
    if framework == "keras":
        x = tuple(x)
    card = evaluate(model, x, ["saliency"], standard=["I1", "C1", "C3", "C5"], batch_size=16)
    for ways in card.scores["saliency"].values():
        for values in ways.values():
            assert values.shape == (5,)
            assert np.isfinite(values).all()
