"""LRP and excitation backprop on every framework, against relevance handed down in NumPy."""

import functools

import numpy as np
import pytest
from test_matrix import OF_MAXIMUM, channels_last, difference, leaves_of, targets
from test_matrix import columns as every_column
from test_matrix import made as built

from pellucid import explain
from pellucid.methods.backward.rules.composites import PRESETS
from pellucid.testing.handed_down import BOUNDS
from pellucid.testing.oracles_lrp import relevance

STYLES = {"", "functional", "static"}
RULES = {
    "epsilon": {"linear": "epsilon"},
    "gamma": {"linear": "gamma:0.25"},
    "alpha_beta": {"linear": "alpha_beta:2,1"},
    "z_plus": {"linear": "z_plus"},
    "box": {"first": "box", "linear": "epsilon"},
    "flat": {"first": "flat", "linear": "epsilon"},
    "w_square": {"first": "w_square", "linear": "epsilon"},
    "norm": {"last": "norm", "linear": "epsilon"},
    "everywhere flat": {"linear": "flat"},
}
COMPOSITES = ("epsilon_plus", "epsilon_alpha2_beta1_flat", "epsilon_gamma_box", "attnlrp")
MODELS = {"dense", "cnn", "residual", "depthwise", "shared", "vit"}
"""What every rule is tried on; composites are tried on all models."""
EPSILON_OF_VIT = 1e-8
"""ε is relative to the largest value of a layer. torch's packed projection of query, key and value
is one layer, and the paper form's are three: at 1e-6 that is 1.1e-5 of the map, in float64 as in
float32; at 1e-8 it is 1e-7."""


def columns() -> list:
    """(model, framework, style), one way for each model and framework."""
    return [column for column in every_column() if column[2] in STYLES]


@functools.cache
def expected(
    name: str,
    rules: tuple,
    *,
    bias: bool = True,
    whole: bool = False,
    epsilon: float | None = None,
):
    return relevance(
        name, leaves_of(name), targets(name), dict(rules), bias=bias, whole=whole,
        epsilon=epsilon_of(name) if epsilon is None else epsilon,
    )  # fmt: skip


def epsilon_of(name: str) -> float:
    return EPSILON_OF_VIT if name == "vit" else 1e-6


@pytest.mark.parametrize(
    ("name", "framework", "style"), [column for column in columns() if column[0] in MODELS]
)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_agrees_with_relevance_handed_down(rule, name, framework, style, cell):
    if name == "vit" and rule not in {"epsilon", "box", "flat", "w_square"}:
        pytest.skip("attention has no rule of signs: its query, key and value may be of any sign")
    if name not in {"dense", "shared"} and rule == "everywhere flat":
        pytest.skip("windows and means of zeros have no shares that a rule could name")
    model, x = built(name, framework, style)
    low, high = BOUNDS
    given = {"epsilon": epsilon_of(name)}
    e = explain(model, x, "lrp", composite=RULES[rule], low=low, high=high, **given)
    rules = {"head" if kind == "last" else kind: r for kind, r in RULES[rule].items()}
    wanted = expected(name, tuple(rules.items()))
    found = cell("lrp", framework, difference(channels_last(e), wanted))
    assert found < OF_MAXIMUM


@pytest.mark.parametrize(("name", "framework", "style"), columns())
@pytest.mark.parametrize("preset", COMPOSITES)
def test_composites_agree_and_the_gap_is_what_the_layers_keep(preset, name, framework, style, cell):
    model, x = built(name, framework, style)
    low, high = BOUNDS
    given = {"epsilon": epsilon_of(name)}
    e = explain(model, x, "lrp", composite=preset, low=low, high=high, **given)
    rules = tuple((k, v) for k, v in PRESETS[preset].items() if k != "attention")
    wanted = expected(name, rules)
    found = cell("lrp", framework, difference(channels_last(e), wanted))
    assert found < OF_MAXIMUM
    total = sum(part.reshape(len(part), -1).sum(axis=1) for part in wanted)
    gap = np.abs(total - e.score) / np.abs(e.score)
    assert e.gap == pytest.approx(gap, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("name", "framework", "style"), columns())
@pytest.mark.parametrize("contrastive", [False, True])
def test_excitation_backprop_agrees_and_is_a_share_of_one(
    contrastive, name, framework, style, cell
):
    if name == "vit":
        pytest.skip("attention has no excitatory connections: its values may be of any sign")
    model, x = built(name, framework, style)
    e = explain(model, x, "excitation_backprop", contrastive=contrastive)
    rules = (("head", "contrast"), ("linear", "z_plus")) if contrastive else (("linear", "z_plus"),)
    wanted = expected(name, rules, bias=False, whole=True, epsilon=1e-9)
    found = cell("excitation_backprop", framework, difference(channels_last(e), wanted))
    assert found < OF_MAXIMUM
    total = sum(part.reshape(len(part), -1).sum(axis=1) for part in wanted)
    if not contrastive:
        assert np.all(total < 1 + 1e-5)
