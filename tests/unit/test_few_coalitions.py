"""Budgets at their edges: stages without a new coalition, the least budgets, and wide tables."""

import numpy as np
import pytest

from pellucid import explain
from pellucid.errors import MethodError
from pellucid.methods.perturbation.coalitions import allot_at_random

SAMPLED = ("kernel_shap", "permutation_shap", "partition_shap")


def network(players, seed=0, units=32):
    """A fixed random ReLU network, in float64."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(players, units)) / 2, rng.normal(size=units)
    shift = rng.normal(size=units)
    return lambda z: np.maximum(z @ one + shift, 0) @ two, rng.normal(size=(1, players))


@pytest.mark.parametrize("players", [2, 3, 4, 5])
@pytest.mark.parametrize("method", SAMPLED)
@pytest.mark.parametrize("asked", [{"tolerance": 1e-6}, {"tolerance": 0.5}, {"top": 1}], ids=str)
def test_a_stage_without_a_new_coalition_is_no_end(players, method, asked):
    model, x = network(players)
    truth = explain(model, x, "exact_shapley").values
    for budget in (4 * players + 6, 512):
        e = explain(model, x, method, budget=budget, **asked)
        if method == "kernel_shap" or budget == 512:
            truth = truth if method != "partition_shap" else explain(model, x, method).values
            assert (np.abs(e.values - truth) <= 6 * e.stderr + 1e-5).all()
        assert e.evaluations.forward <= budget


def test_the_last_stage_may_add_nothing():
    model, x = network(8)
    e = explain(model, x, "kernel_shap", budget=67, tolerance=1e-6)
    assert e.evaluations.forward <= 67
    assert any("not converged" in w for w in e.warnings)


def test_orders_that_passed_every_coalition_give_exact_values():
    for players in (2, 3, 5):
        model, x = network(players)
        e = explain(model, x, "permutation_shap", budget=4000)
        assert e.extras["coalitions"][0] == 2**players
        truth = explain(model, x, "exact_shapley").values
        np.testing.assert_allclose(e.values, truth, rtol=1e-5, atol=1e-6)
        assert not e.stderr.any()


def test_sizes_are_drawn_as_often_as_their_share():
    """Every size of 60 players is there by chance, on average over seeds as its mean says."""
    drawn = [allot_at_random(60, 122, np.random.default_rng(s)) for s in range(400)]
    numbers = np.array([list(n.values()) for n, _ in drawn])
    means = np.array(list(drawn[0][1].values()))
    assert (means > 0).all()
    assert (numbers.sum(axis=1) == 61).all()
    np.testing.assert_allclose(numbers.mean(axis=0), means, atol=0.1)


def straight_and_threes(players):
    """A game with its Shapley values in closed form: straight, and neighbours multiplied.

    Products of two would be exact by pairs of complements, for any draw.
    """
    rng = np.random.default_rng(players)
    straight, three = rng.normal(size=(2, players))

    def model(z):
        return z @ straight + (z * np.roll(z, -1, axis=1) * np.roll(z, -2, axis=1)) @ three

    return model, straight + (three + np.roll(three, 1) + np.roll(three, 2)) / 3


@pytest.mark.parametrize(
    ("players", "budget"),
    [(12, 28), (12, 40), (12, 60), (100, 204), (100, 400), (100, None), (250, None)],
)
def test_errors_hold_from_the_least_budget_on(players, budget):
    """95 % intervals cover the exact values 90 % of the time or more, also with few coalitions."""
    model, truth = straight_and_threes(players)
    x, runs = np.ones((1, players)), 12 if players > 12 else 100
    inside = []
    for seed in range(runs):
        e = explain(model, x, "kernel_shap", budget=budget, seed=seed, batch_size=4000)
        inside.append(np.abs(e.values[0] - truth) <= 1.96 * e.stderr[0])
        few = (e.extras["coalitions"][0] < 8 * players + 2) and "few coalitions"
        assert any("few coalitions" in w for w in e.warnings) == bool(few)
        assert np.isfinite(e.stderr).all()
    assert np.mean(inside) >= 0.90, np.mean(inside)
    if budget is None:
        assert np.mean(inside) <= 0.99
        assert e.extras["coalitions"][0] == max(512, 8 * players + 2)


def test_few_coalitions_are_not_biased():
    """The mean over seeds is the exact value within its error, at 40 of 4096 coalitions."""
    model, truth = straight_and_threes(12)
    x = np.ones((1, 12))
    found = np.stack(
        [explain(model, x, "kernel_shap", budget=40, seed=s).values[0] for s in range(200)]
    )
    apart = np.abs(found.mean(axis=0) - truth) / (found.std(axis=0) / np.sqrt(200))
    assert apart.max() < 4, apart


BACKGROUND = np.random.default_rng(1).normal(size=(7, 6))


@pytest.mark.parametrize("method", [*SAMPLED, "shapley_interactions"])
@pytest.mark.parametrize("budget", [500, 1000])
def test_a_budget_counts_the_rows_of_the_background(method, budget):
    model, _ = network(6)
    x = np.random.default_rng(2).normal(size=(1, 6))
    e = explain(model, x, method, background=BACKGROUND, budget=budget)
    assert e.evaluations.forward <= budget
    assert e.extras["coalitions"][0] <= budget // 7
    with pytest.raises(
        MethodError, match=r"needs a budget of .* on 7 background rows, got 60"
    ) as no:
        explain(model, x, method, background=BACKGROUND, budget=60)
    assert "pellucid.inputs.summarise" in str(no.value)
