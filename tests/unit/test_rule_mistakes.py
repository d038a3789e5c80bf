"""Mistakes in what LRP is told: paths that fit nothing, numbers no rule can have, wrong bounds."""

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.errors import InputError, LayerError
from pellucid.methods.backward.rules.composites import rule_named


class Small(nn.Module):
    """A convolution `c1`, another one `c2`, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.c2(torch.relu(self.c1(x)))).mean((2, 3)))


X = np.random.default_rng(0).uniform(size=(2, 1, 5, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("unused", "word"), [("conv1", "path 'conv1'"), ("features.*", r"pattern 'features\.\*'")]
)
def test_a_path_of_a_composite_that_fits_no_layer_is_an_error(unused, word):
    with pytest.raises(LayerError, match=rf"{word} fits none of the 3 layers.*\n.*'c1'"):
        explain(Small(), X, "lrp", composite={unused: "flat", "dense": "epsilon"})


def test_a_path_that_only_nearly_names_a_layer_lists_the_nearest():
    with pytest.raises(LayerError, match="Nearest: 'head'"):
        explain(Small(), X, "lrp", composite={"heads": "flat"})
    explain(Small(), X, "lrp", composite={"c*": "flat", "c1": "gamma:1", "first": "box"})


def test_a_wrong_layer_is_told_of_the_layers_there_are():
    with pytest.raises(LayerError, match="'c2'"):
        explain(Small(), X, "lrp", layer="conv2")


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("gamma:-1", "gamma of 0 or more"), ("epsilon:-0.1", "epsilon of 0 or more"),
        ("gamma:nan", "gamma of 0 or more"), ("gamma:inf", "gamma of 0 or more"),
        ("alpha_beta:0.5", "alpha of 1 or more"), ("alpha_beta:2,0", "alpha − beta = 1"),
    ],
)  # fmt: skip
def test_numbers_that_a_rule_cannot_have_are_refused(rule, word):
    with pytest.raises(InputError, match=word):
        explain(Small(), X, "lrp", composite={"c1": rule})


def test_beta_is_alpha_less_one():
    assert rule_named("alpha_beta:3") == rule_named("alpha_beta:3,2")
    assert rule_named("alpha_beta:1") == rule_named("alpha_beta:1,0")


def test_inputs_outside_of_the_box_are_warned_of():
    def box(low, high):
        return explain(Small(), X, "lrp", composite="epsilon_gamma_box", low=low, high=high)

    assert box(0.0, 1.0).warnings == ()
    assert box(float(X.min()), float(X.max())).warnings == ()
    (warning,) = box(0.0, 0.5).warnings
    assert "outside of low and high" in warning
    (warning,) = box([0.2], 1.0).warnings
    assert "outside of low and high" in warning
    with pytest.raises(InputError, match="low to be at most high"):
        box(1.0, 0.0)


def test_attnlrp_is_epsilon_and_cp_lrp_differs_in_the_softmax_of_an_attention_only():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 2)).eval()
    x = np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)
    found = {
        c: explain(net, x, "lrp", composite=c).values for c in ("epsilon", "attnlrp", "cp_lrp")
    }
    np.testing.assert_array_equal(found["attnlrp"], found["epsilon"])
    assert np.abs(found["cp_lrp"] - found["epsilon"]).max() > 1e-4
    without = explain(Small(), X, "lrp", composite="epsilon").values
    np.testing.assert_array_equal(explain(Small(), X, "lrp", composite="cp_lrp").values, without)


def test_relevance_that_exploded_says_so():
    """Of a sigmoid near zero, ½ is handed down by x_i w_i / z, where both cancel but for 10⁻⁵."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Sigmoid(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([[1.0, -0.99999]])
        model[2].weight[:] = 1.0
    rows = np.float32([[1, 1], [1, -1]])
    e = explain(model, rows, "lrp", composite="epsilon", epsilon=1e-9)
    assert np.abs(e.values[0]).max() > 1e4
    (warning,) = [w for w in e.warnings if "exploded" in w]
    assert "[0]" in warning
    bounded = explain(model, rows, "lrp", composite="epsilon", epsilon=0.1, absolute=True)
    assert not any("exploded" in w for w in bounded.warnings)
