"""Maps that know nothing lose to integrated gradients on networks that have learned something."""

import numpy as np
import pytest
from trained import adult, digits

from pellucid import evaluate, wrap
from pellucid.demo import demo_model
from pellucid.standard import Scorecard

CONTROLS = {"random", "edges", "constant", "inverted"}


@pytest.fixture(scope="module")
def of_digits() -> Scorecard:
    own = digits()
    assert own.accuracy > 0.9
    return evaluate(own.model, own.x[:96], ["integrated_gradients"], standard=["C1", "C2"],
                    background=own.seen[:200], batch_size=256)  # fmt: skip


@pytest.fixture(scope="module")
def of_adult() -> Scorecard:
    own = adult()
    assert own.accuracy > 0.8
    return evaluate(own.model, own.x[:40], ["integrated_gradients"], standard=["C1", "C2"],
                    background=own.seen[:100], batch_size=256)  # fmt: skip


@pytest.mark.parametrize("name", ["of_digits", "of_adult"])
def test_controls_lose_to_integrated_gradients(name, request):
    card = request.getfixturevalue(name)
    held = [c for c in card.contests["integrated_gradients"] if c.control != "blurred"]
    assert {c.control for c in held} == CONTROLS
    assert len(held) == 4 * 2 * 2  # controls, C1 and C2, imputers
    for contest in held:
        assert contest.p < 0.05, contest
        assert contest.median_difference > 0, contest
    assert card.gates()["integrated_gradients"]["controls"] is True


def test_the_blurred_copy_of_a_map_that_says_something_is_worse(of_digits, of_adult):
    held = [c for c in of_digits.contests["integrated_gradients"] if c.control == "blurred"]
    assert len(held) == 4
    assert all(c.median_difference > 0 for c in held)
    assert of_digits.untrusted("integrated_gradients") == []
    text = str(of_digits)
    assert "a map less its blurred copy" in text
    assert "do not trust" not in text
    assert not any(c.control == "blurred" for c in of_adult.contests["integrated_gradients"])


def test_where_the_blur_of_a_trained_network_s_gradient_wins_its_score_is_not_trusted():
    own = digits()
    card = evaluate(own.model, own.x[:24], ["saliency"], standard=["C1", "C2"],
                    background=own.seen[:200], batch_size=256)  # fmt: skip
    lost = [
        c for c in card.contests["saliency"] if c.control == "blurred" and c.median_difference < 0
    ]
    assert lost
    for contest in lost:
        assert f"{contest.metric} ({contest.way})" in card.untrusted("saliency")
    assert "A blurred copy of saliency scores as well in" in str(card)
    assert card.gates()["saliency"]["controls"] is False


def test_where_blurring_takes_the_noise_off_a_map_it_wins_and_the_scorecard_says_so():
    """A smooth truth under noise: blurring adds nothing that is known, and scores higher."""
    rng = np.random.default_rng(0)
    place = np.exp(-(((np.arange(16) - 7.5) / 4) ** 2))
    weights = np.outer(place, place)
    x = (1 + 0.1 * rng.normal(size=(12, 16, 16, 1))).astype(np.float32)
    exact = x[..., 0] * weights
    maps = {"exact": exact, "noisy": exact + 1.5 * rng.normal(size=exact.shape)}

    def model(rows: np.ndarray) -> np.ndarray:
        return (np.asarray(rows)[..., 0] * weights).sum(axis=(1, 2))

    card = evaluate(model, x, maps, standard=["C1", "C2"], imputers=["zeros", "inpaint"])
    assert set(card.untrusted("noisy")) >= {"srg (zeros)", "subset_correlation (zeros)"}
    assert "subset_correlation (zeros)" not in card.untrusted("exact")
    text = str(card)
    assert "A blurred copy of noisy scores as well in srg (zeros)" in text
    assert "do not trust that score here" in text


@pytest.mark.slow
def test_on_mobilenet_all_but_edges_and_one_random_draw_lose(sixteen_photos):
    """The controls that integrated gradients do not beat here are those that the docs name."""
    network = demo_model()
    model = wrap(network.model, class_names=network.class_names, preprocess=network.preprocess)
    judged = [("integrated_gradients", {"steps": 32})]
    card = evaluate(model, sixteen_photos, judged, standard=["C1", "C2"], batch_size=32)
    held = [c for c in card.contests["integrated_gradients"] if c.control != "blurred"]
    print(card, *held, sep="\n")  # noqa: T201 - the figures are what the test is for
    assert len(held) == 4 * 2 * 2
    for contest in held:
        beaten = contest.control in {"constant", "inverted"} or (
            contest.control == "random" and contest.metric == "subset_correlation"
        )
        assert contest.won == beaten, contest
    assert card.gates()["integrated_gradients"]["controls"] is False
    assert len(card.untrusted("integrated_gradients")) == 4
