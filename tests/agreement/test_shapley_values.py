"""Shapley values agree with the definition in every framework, to 1e-5 of the maximum."""

import functools
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from test_matrix import OF_MAXIMUM, STYLES_OF, leaves_of, logits_of, made, targets

from pellucid import explain
from pellucid.inputs.features import make_features
from pellucid.testing import build, reference_forward

FEATURES = {"dense": None, "sigmoid": None, "cnn": "grid:3", "two_inputs": ("grid:2", None)}
EXACT = ("exact_shapley", "kernel_shap", "shapley_interactions")
SAMPLED = ("kernel_shap", "permutation_shap", "partition_shap")
# The budget allows every coalition of up to 10 players.
OPTIONS = {"kernel_shap": {"budget": 1024}}
IMAGE = ("sample", "height", "width", "channel")


@functools.cache
def reference(name: str) -> np.ndarray:
    """Values of the players `(n, players)`, float64, by the definition."""
    leaves = [a.astype(np.float64) for a in leaves_of(name)]
    specs = FEATURES[name] if isinstance(FEATURES[name], tuple) else (FEATURES[name],)
    units, players = [], 0
    for leaf, spec in zip(leaves, specs, strict=True):
        made = make_features(spec, leaf, IMAGE if leaf.ndim == 4 else ("sample", "feature"))
        units.append(made.units[0] + players)
        players += int(made.counts[0])
    found = []
    for i, target in enumerate(targets(name)):

        @functools.cache
        def worth(chosen: frozenset, i=i, target=target) -> float:
            mixed = []
            for leaf, unit in zip(leaves, units, strict=True):
                kept = np.isin(unit, list(chosen))
                mixed.append((leaf[i] * (kept[..., None] if leaf.ndim == 4 else kept))[None])
            return float(reference_forward(name, tuple(mixed), logits=True)[0, target])

        phi = np.zeros(players)
        for player in range(players):
            others = [p for p in range(players) if p != player]
            for size in range(players):
                share = factorial(size) * factorial(players - size - 1) / factorial(players)
                for chosen in map(frozenset, combinations(others, size)):
                    phi[player] += share * (worth(chosen | {player}) - worth(chosen))
        found.append(phi)
    return np.stack(found)


@pytest.mark.parametrize("framework", ["callable", *STYLES_OF])
@pytest.mark.parametrize("name", list(FEATURES))
@pytest.mark.parametrize("method", EXACT)
def test_shapley_values_agree_with_the_definition(method, name, framework, cell):
    if framework == "callable":
        model, x = logits_of(name), build(name, "numpy")[1]
    else:
        model, x = made(name, framework, STYLES_OF[framework](name)[0])
    e = explain(model, x, method, features=FEATURES[name], **OPTIONS.get(method, {}))
    expected = reference(name)
    found = np.abs(e.extras["unit_values"] - expected).max() / np.abs(expected).max()
    assert cell(method, framework, float(found)) < OF_MAXIMUM


@pytest.mark.parametrize("framework", ["callable", *STYLES_OF])
@pytest.mark.parametrize("method", SAMPLED)
def test_sampled_values_are_the_same_in_every_framework(method, framework, cell):
    """Against a plain float64 function: the same coalitions and orders everywhere."""
    base = explain(logits_of("dense"), build("dense", "numpy")[1], method, budget=40, seed=3)
    if framework == "callable":
        model, x = build("dense", "numpy")
    else:
        model, x = made("dense", framework, STYLES_OF[framework]("dense")[0])
    e = explain(model, x, method, budget=40, seed=3)
    scale = np.abs(base.values).max()
    assert cell(method, framework, float(np.abs(e.values - base.values).max() / scale)) < OF_MAXIMUM
    assert np.abs(e.stderr - base.stderr).max() < OF_MAXIMUM * scale
    assert e.evaluations == base.evaluations
