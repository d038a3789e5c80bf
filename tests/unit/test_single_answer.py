"""I2, I3 and I4 where a model has one output that says yes or no, and where there are masks."""

import numpy as np
import pytest

from pellucid import evaluate, wrap

WEIGHTS = np.array([2.0, 1.0, -1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def sigmoid(rows):
    return 1 / (1 + np.exp(-np.asarray(rows) @ WEIGHTS))


def rows_of_both_answers():
    """Five rows that the model calls yes, and five that it calls no."""
    x = np.full((10, 10), 0.1)
    x[:5, :2], x[:5, 2:4] = 2.0, 0.2
    x[5:, :2], x[5:, 2:4] = 0.2, 2.0
    return x


@pytest.mark.parametrize("names", [None, ["no", "yes"]])
def test_what_says_no_has_a_smallest_part_that_says_no(names):
    x = rows_of_both_answers()
    model = wrap(sigmoid, class_names=names)
    maps, target = x * WEIGHTS, None
    if names:  # each answer is explained as its own
        maps[5:] *= -1
        target = [1] * 5 + [0] * 5
    card = evaluate(model, x, {"exact": maps}, target=target, standard=["I2"], imputers=["zeros"])
    found = card.scores["exact"]["minimal_sufficient_fraction"]["zeros"]
    assert (sigmoid(x) > 0.5).sum() == 5
    np.testing.assert_allclose(found, found[0])
    assert found[0] <= 0.2  # two columns of ten


@pytest.mark.parametrize("names", [None, ["no", "yes"]])
def test_the_other_answer_of_a_single_output_is_its_runner_up(names):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(10, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(WEIGHTS[None]))
        layer.bias.zero_()
    model = wrap(torch.nn.Sequential(layer, torch.nn.Sigmoid()).eval(), class_names=names)
    x = rows_of_both_answers().astype(np.float32)
    card = evaluate(model, x, ["gradient_x_input", "saliency"], standard=["I3"])
    signed = card.scores["gradient_x_input"]["class_contrast"][""]
    np.testing.assert_allclose(signed, 1)
    plain = card.scores["saliency"]["class_contrast"][""]
    np.testing.assert_allclose(plain, 1)  # gradients have signs


def test_a_regression_has_no_other_answer():
    card = evaluate(lambda a: np.asarray(a) @ WEIGHTS, rows_of_both_answers(), ["occlusion"],
                    standard=["I3"])  # fmt: skip
    assert np.isnan(card.scores["occlusion"]["class_contrast"][""]).all()


def test_localisation_has_three_readings_and_counts_once():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(6, 8, 8, 1))
    masks = np.zeros((6, 8, 8), bool)
    masks[:, 2:5, 2:5] = True
    maps = {"inside": np.where(masks, x[..., 0] + 1, 0.1 * x[..., 0]),
            "corner": np.where(masks, 0.05, x[..., 0])}  # fmt: skip
    card = evaluate(
        lambda a: np.asarray(a).sum(axis=(1, 2, 3)), x, maps, masks=masks,
        standard=["I1", "I4", "relevance_rank_accuracy", "pointing_game"],
    )  # fmt: skip
    ways = card.scores["inside"]["localisation_lift"]
    assert list(ways) == ["", "rank_accuracy", "pointing_game"]
    own = card.scores["inside"]
    np.testing.assert_array_equal(ways["rank_accuracy"], own["relevance_rank_accuracy"][""])
    np.testing.assert_array_equal(ways["pointing_game"], own["pointing_game"][""])
    assert (ways["pointing_game"] == 1).all()
    assert "localisation_lift (rank_accuracy) ↑" in str(card)
    alone = evaluate(
        lambda a: np.asarray(a).sum(axis=(1, 2, 3)), x, maps, masks=masks, standard=["I4"]
    )
    lift = np.median(alone.scores["inside"]["localisation_lift"][""])
    floor = np.median(alone.scores["random"]["localisation_lift"][""])
    expected = (lift - floor) / (1 - floor)
    assert alone.utilities()["inside"]["interpretability"] == pytest.approx(expected)
