"""What a map without numbers gets, what cannot be perturbed, what comes without a batch axis."""

import numpy as np
import pytest

from pellucid import evaluate
from pellucid.errors import InputError
from pellucid.standard.statistics import lead, paired_p

WEIGHTS = np.linspace(-1, 1, 12)


def linear(rows):
    return np.asarray(rows) @ WEIGHTS


@pytest.fixture(scope="module")
def card():
    """The exact map, its numbers lost in 25 of 30 samples, and a poor map that has all."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, size=(30, 12))
    exact = x * WEIGHTS
    lost = exact.copy()
    lost[5:] = np.nan
    poor = exact + 1.0 * rng.normal(size=exact.shape)
    return evaluate(
        linear, x, {"lost": lost, "poor": poor}, standard=["C1", "C2"], imputers=["zeros"]
    )


def test_a_map_that_mostly_has_no_number_is_not_the_best_for_the_rest(card):
    assert card.median("lost", "C2", "zeros") > card.median("poor", "C2", "zeros")
    first, second = card.compare("C2")
    assert (first["explanation"], first["missing"]) == ("poor", 0)
    assert (second["explanation"], second["missing"]) == ("lost", 25)
    assert second["p"] < 0.05
    assert card.ranks()["poor"]["rank"] < card.ranks()["lost"]["rank"]
    assert card.utilities()["lost"]["credibility"] == 0


def test_it_does_not_pass_the_gate_of_controls_on_the_samples_that_are_left(card):
    assert card.gates()["lost"]["controls"] is False
    assert card.gates()["poor"]["controls"] is True


def test_a_sample_that_only_the_better_one_lacks_counts_against_it():
    own, other = np.arange(8.0) + 1, np.zeros(8)
    assert paired_p(own, other) < 0.005
    own[:5] = np.nan
    assert paired_p(own, other) > 0.5
    assert paired_p(other, own) == 1.0  # where the worse one has none, nothing is told


def test_samples_that_two_explanations_lack_count_for_neither():
    lacking = np.array([np.nan, np.nan, 1.0, 2.0])
    assert paired_p(lacking, lacking - 1) == paired_p(lacking[2:], lacking[2:] - 1)
    behind = np.array([-np.inf, 1.0, 2.0])
    assert np.isnan(lead(behind, behind)[0])


def test_noise_that_changes_nothing_shows_no_stability():
    """Words by number stay as they are, and one row alone has no spread."""
    words = np.arange(24).reshape(6, 4) % 5
    table = np.array([[-1.0, 1], [1, -1], [2, 0], [0, 2], [1, 1]])
    card = evaluate(lambda ids: table[np.asarray(ids)].sum(axis=1), words, ["occlusion"],
                    standard=["C5", "max_sensitivity"])  # fmt: skip
    ways = card.scores["occlusion"]["input_stability"]
    assert np.isnan(ways["mean"]).all()
    assert (ways["kept"] == 0).all()
    assert np.isnan(card.scores["occlusion"]["max_sensitivity"][""]).all()
    assert "input_stability has no number where no draw changes the input" in str(card)


def test_a_map_without_the_batch_axis_goes_with_an_input_without_it():
    row = np.linspace(0.5, 2, 12)
    card = evaluate(linear, row, {"mine": row * WEIGHTS}, standard=["I1"])
    assert card.scores["mine"]["effective_fraction"][""].shape == (1,)
    with pytest.raises(InputError, match="to be of shape"):
        evaluate(linear, row[None], {"mine": row * WEIGHTS}, standard=["I1"])


def test_one_row_of_a_table_alone_is_judged_and_the_scorecard_says_by_what():
    row = np.linspace(0.5, 2, 12)[None]
    card = evaluate(linear, row, {"exact": row * WEIGHTS}, standard=["C1", "C2", "C3"])
    assert card.imputers == ("zeros",)
    assert card.scores["exact"]["subset_correlation"]["zeros"] == pytest.approx(1)
    text = str(card)
    assert "No background= was given" in text
    assert "One row alone has no spread" in text
    more = evaluate(linear, row, {"exact": row * WEIGHTS}, standard=["C1", "C2", "C3"],
                    background=np.random.default_rng(0).normal(size=(20, 12)))  # fmt: skip
    assert more.imputers == ("dataset", "mean")
    assert "No background=" not in str(more)
    assert not np.isnan(more.scores["exact"]["local_infidelity"][""]).any()
