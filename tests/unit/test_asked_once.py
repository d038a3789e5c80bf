"""What the standard asks of a model, it asks once: counted where the model is called."""

import numpy as np
import pytest

from pellucid import evaluate
from pellucid.counting import Tally, tallied
from pellucid.standard import metric_named

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 32)).astype(np.float32)
WEIGHTS = RNG.normal(size=(32, 3))
CURVE = 15 * len(X)
"""Rows of one curve of 16 steps; its ends are asked apart."""


def model(x):
    return np.tanh(np.asarray(x) @ WEIGHTS / 6)


def rows(maps, standard, **options) -> int:
    with tallied(Tally()) as spent:
        evaluate(model, X, maps, standard=standard, imputers=["zeros"], batch_size=64, **options)
    return spent.spent


@pytest.fixture(scope="module")
def maps():
    return {"one": RNG.normal(size=X.shape), "two": RNG.normal(size=X.shape)}


def test_deletion_and_insertion_share_their_ends_with_each_other_and_between_explanations(maps):
    one, two = (rows(dict(list(maps.items())[:k]), ["deletion", "insertion"]) for k in (1, 2))
    assert two - one == 2 * CURVE + len(X)  # and that map's own f(x), as an explanation has it


def test_metrics_of_the_same_curves_ask_for_them_once(maps):
    few = rows(maps, ["deletion", "insertion"])
    assert rows(maps, ["deletion", "insertion", "pixel_flipping"]) == few
    inverted_and_subsets = rows(maps, ["C1"])
    assert rows(maps, ["C1", "deletion", "insertion", "pixel_flipping"]) == inverted_and_subsets


def test_an_inverted_map_s_curves_are_the_map_s_own_the_other_way_round(maps):
    """C1 of each map and of its inverse, two curves; of the constant one, one; of others, two."""
    curves = 2 * len(maps) + 1 + 2 * 2
    empty = len(X)  # f(x'), which C1 asks for beside the subsets
    assert rows(maps, ["C1"]) - rows(maps, ["C2"]) == curves * CURVE + empty
    card = evaluate(model, X, maps, standard=["C1"], imputers=["zeros"], batch_size=64)
    upside_down = evaluate(model, X, {"one": -maps["one"]}, standard=["C1"], imputers=["zeros"],
                           batch_size=64)  # fmt: skip
    np.testing.assert_array_equal(
        card.scores["one"]["srg"]["zeros"], -upside_down.scores["one"]["srg"]["zeros"]
    )
    inverted = next(c for c in card.contests["one"] if (c.metric, c.control) == ("srg", "inverted"))
    own = dict(metric_named("srg").for_utility(card.scores["one"]["srg"]))[inverted.way]
    np.testing.assert_allclose(inverted.median_difference, 2 * np.median(own))
