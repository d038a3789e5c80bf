"""Networks that have learned an answer whose place is known: methods find it, controls do not."""

import numpy as np
import pytest
from scipy.stats import wilcoxon
from trained_scenes import COLOURS, Scene, questions, stacked_digits, tetrominoes, two_labelings

from pellucid import evaluate, explain

METHODS = {
    "saliency": {}, "gradient_x_input": {}, "integrated_gradients": {"steps": 16}, "lrp": {},
    "occlusion": {"window": 3, "stride": 1},
}  # fmt: skip
CONTROLS = ("random", "edges", "constant")


def better(one: np.ndarray, other: np.ndarray) -> float:
    """p of Wilcoxon's test that `one` is larger, paired."""
    return float(wilcoxon(one - other, alternative="greater").pvalue)


@pytest.mark.parametrize("colour", range(COLOURS))
def test_the_object_asked_about_is_found_and_a_question_moves_the_map(colour):
    scene = questions()[colour]
    assert scene.accuracy > 0.95
    card = evaluate(scene.model, scene.x, list(METHODS.items()), masks=scene.masks,
                    standard=["I4", "relevance_mass_accuracy"], batch_size=128)  # fmt: skip
    lifts = {name: card.scores[name]["localisation_lift"] for name in card.scores}
    lift = {name: own[next(iter(own))] for name, own in lifts.items()}
    for method in METHODS:
        assert np.median(lift[method]) > 0.3, method
        for control in CONTROLS:
            assert better(lift[method], lift[control]) < 1e-3, (method, control)
    assert np.median(lift["edges"]) < 0.1  # there are three objects, and edges are of all
    # As Arras et al. 2022 find: what multiplies by the input is ahead of the plain gradient.
    for method in ("integrated_gradients", "lrp", "gradient_x_input"):
        assert better(lift[method], lift["saliency"]) < 0.05, method
    other = questions()[(colour + 1) % COLOURS]
    moved = evaluate(other.model, scene.x, [("lrp", {})], masks=scene.masks,
                     standard=["relevance_mass_accuracy"])  # fmt: skip
    mass = [c.scores["lrp"]["relevance_mass_accuracy"][""] for c in (card, moved)]
    assert better(*mass) < 1e-3


def share(scene: Scene, method: str, **options) -> np.ndarray:
    """Of each picture's Σ |a|, what lies in the mask."""
    size = np.abs(explain(scene.model, scene.x, method, **options).values)
    size = size.reshape(len(size), -1)
    return (size * scene.masks.reshape(size.shape)).sum(axis=1) / size.sum(axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_picture_is_explained_otherwise_by_what_was_learned_of_it(method):
    """BAM's model contrast: the object counts more where it is what was learned."""
    both = two_labelings()
    assert min(scene.accuracy for scene in both.values()) > 0.95
    own = [share(both[name], method, **METHODS[method]) for name in ("object", "scene")]
    assert better(*own) < 1e-6
    assert np.median(own[0] - own[1]) > 0.1


@pytest.mark.parametrize("control", ["edges", "random"])
def test_what_does_not_look_at_the_model_has_no_model_contrast(control):
    own = [share(scene, control) for scene in two_labelings().values()]
    np.testing.assert_array_equal(*own)


def test_gradients_of_a_usual_network_leak_into_a_block_that_says_nothing():
    """Shah et al. 2021, section 4: those of a network trained against attacks do so less."""
    usual, robust = stacked_digits(), stacked_digits(radius=1.0)
    assert min(usual.accuracy, robust.accuracy) > 0.75
    leaks = [1 - share(scene, "saliency") for scene in (usual, robust)]
    assert np.median(leaks[0]) > 0.4
    assert np.median(leaks[1]) < 0.25
    assert better(*leaks) < 1e-6


@pytest.mark.parametrize("name", ["linear", "linear_correlated", "multiplicative", "xor",
                                  "xor_correlated"])  # fmt: skip
def test_tetrominoes_that_were_learned_are_found_better_than_by_edges(name):
    """Clark et al. 2023: their networks, and the comparison with edge detection they ask for."""
    scene = tetrominoes(f"tetromino_{name}")
    assert scene.accuracy > 0.95
    maps = {m: np.abs(explain(scene.model, scene.x, m, **METHODS[m]).values)
            for m in ("saliency", "integrated_gradients", "lrp")}  # fmt: skip
    card = evaluate(scene.model, scene.x, maps, masks=scene.masks,
                    standard=["relevance_rank_accuracy"])  # fmt: skip
    found = {n: ways[""] for n, own in card.scores.items() for ways in own.values()}
    for method in maps:
        assert np.median(found[method]) > 0.3, method
        for control in ("random", "edges"):
            assert better(found[method], found[control]) < 1e-3, (method, control)
