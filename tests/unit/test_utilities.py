"""Utilities: fixed points, and no ceiling that hides which of two good maps is better."""

from dataclasses import replace

import numpy as np
import pytest

from pellucid import evaluate
from pellucid.search.utility import axis_utilities, mean_of
from pellucid.standard import metric_named
from pellucid.standard.removal import OF_RANGE
from pellucid.standard.utilities import utility

D = 32


@pytest.fixture(scope="module")
def card():
    """Contributions of both signs that almost cancel, exactly and with a little noise on them."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=D)
    x = rng.uniform(0.5, 1.5, size=(40, D))
    x[:, 0] -= (x @ weights - 0.05 * rng.normal(size=40)) / weights[0]
    exact = x * weights
    maps = {"exact": exact, "noisy": exact + 0.4 * rng.normal(size=exact.shape)}
    return evaluate(
        lambda rows: np.asarray(rows) @ weights, x, maps, standard=["C1"], imputers=["zeros"]
    )


def test_what_the_samples_tell_apart_the_utilities_do(card):
    second = card.compare("C1")[1]
    assert second["explanation"] == "noisy"
    assert second["p"] < 1e-4
    found = card.utilities()
    assert found["exact"]["credibility"] > found["noisy"]["credibility"] + 0.05
    assert found["noisy"]["credibility"] > 1  # the ceiling that made them one


def test_what_the_samples_tell_apart_the_race_does(card):
    means = {}
    for name in ("exact", "noisy"):
        axes = axis_utilities(card.scores[name], card.scores["random"], card.metrics, 1.0, 40)
        means[name] = mean_of(axes["credibility"])
    assert means["exact"] > means["noisy"] + 0.05
    assert means["noisy"] > 1


def test_a_score_that_falls_by_next_to_nothing_decides_no_utility(card):
    """The quotient of the definition is large wherever f(x) − f(x') is small; the range is not."""
    values = card.scores["exact"]["srg"]
    assert values["zeros"].max() > 50 * np.median(values["zeros" + OF_RANGE])
    assert values["zeros" + OF_RANGE].max() < 2 * np.median(values["zeros" + OF_RANGE])


def test_utilities_do_not_depend_on_what_else_is_judged(card):
    alone = replace(card, scores={k: v for k, v in card.scores.items() if k != "noisy"})
    assert alone.utilities()["exact"] == card.utilities()["exact"]


def test_the_gain_in_units_of_the_range_is_told_and_no_score(card):
    rows = {row["way"]: row for row in card.table() if row["explanation"] == "exact"}
    assert rows["zeros"]["better"] == "higher"
    assert rows["zeros, of the range"]["better"] == ""
    assert "srg (zeros, of the range)  " in str(card)  # and no arrow
    assert set(card.ranks()) == {"exact", "noisy"}


def test_the_ends_of_a_utility():
    contrast, gain = metric_named("input_stability"), metric_named("C1")
    np.testing.assert_allclose(utility(contrast, np.array([0.0, 1, 2, 90]), 1.0), [1, 0, -1, -1])
    np.testing.assert_allclose(utility(gain, np.array([-2.0, 0, 1, 3]), 0.0), [-2, 0, 1, 3])
    assert np.isnan(utility(gain, np.array([2.0]), 1.0)).all()
