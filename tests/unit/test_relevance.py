"""LRP's rules where a closed form says what they find, its composites, layers and refusals."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain, wrap
from pellucid.errors import CoverageError, InputError
from pellucid.testing import build

DRAWS = np.random.default_rng(4)


def drawn(*shape: int) -> np.ndarray:
    return DRAWS.normal(size=shape).astype(np.float32)


class Flattened(nn.Module):
    """Layers of any rank, then a head, no bias anywhere: ε-LRP is gradient times input there."""

    def __init__(self, *layers: nn.Module, size: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.head = nn.Sequential(*layers), nn.Linear(size, 3, bias=False)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)).flatten(1))


# The layers below are drawn when this file is read: always the same.
torch.manual_seed(4)
BIAS_FREE = {
    "series": (Flattened(nn.Conv1d(2, 4, 3, bias=False), nn.LeakyReLU(), size=28), (2, 9)),
    "volume": (Flattened(nn.Conv3d(1, 6, 2, bias=False), nn.AvgPool3d(2), size=6), (1, 3, 3, 3)),
    "strided": (Flattened(nn.Conv2d(2, 4, 3, stride=2, bias=False), size=36), (2, 7, 7)),
    "dilated": (Flattened(nn.Conv2d(2, 4, 3, dilation=2, bias=False), size=36), (2, 7, 7)),
    "groups": (Flattened(nn.Conv2d(4, 6, 3, groups=2, bias=False), size=54), (4, 5, 5)),
    "transposed": (
        Flattened(nn.ConvTranspose2d(2, 3, 3, stride=2, bias=False), size=147), (2, 3, 3),
    ),
    "pooled": (
        Flattened(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), size=16), (2, 6, 6),
    ),
    "prelu": (Flattened(nn.Linear(5, 6, bias=False), nn.PReLU(), size=6), (5,)),
}  # fmt: skip


@pytest.mark.parametrize("name", BIAS_FREE)
def test_epsilon_is_gradient_times_input_without_biases(name):
    net, shape = BIAS_FREE[name]
    x = drawn(3, *shape)
    found = explain(net, x, "lrp", composite="epsilon", epsilon=1e-9, target=1)
    wanted = explain(net, x, "gradient_x_input", target=1)
    assert found.values == pytest.approx(
        wanted.values, abs=2e-6 * float(np.abs(wanted.values).max())
    )
    assert found.gap.max() < 1e-5


@pytest.mark.parametrize("name", BIAS_FREE)
@pytest.mark.parametrize("rule", ["z_plus", "gamma:0.5", "flat", "w_square"])
def test_every_rule_keeps_the_score_where_there_is_no_bias(name, rule):
    net, shape = BIAS_FREE[name]
    # Positive pixels and a target that is far from zero: some value of each sign reaches each unit.
    x = np.abs(drawn(3, *shape)) + 0.1
    e = explain(net, x, "lrp", composite={"first": rule, "dense": "epsilon"})
    scale = np.abs(e.values).reshape(3, -1).sum(axis=1) / np.abs(e.score)
    assert np.all(e.gap < 1e-5 * scale + 1e-5)


def test_z_plus_and_box_by_hand():
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[2.0, -1.0]]))
        net.bias.fill_(1.0)
    x = np.array([[3.0, 2.0]], dtype=np.float32)  # z = 6 - 2 + 1 = 5
    for rule, wanted in {
        "epsilon": [6.0, -2.0],
        "norm": [7.5, -2.5],
        "z_plus": [5 * 6 / 7, 0.0],
        "z_plus:0": [5.0, 0.0],
        "gamma:1": [5 * 12 / 12, 5 * -2 / 12],
        "alpha_beta:2,1": [2 * 5 * 6 / 7, -5.0],
        "flat": [2.5, 2.5],
        "w_square": [4.0, 1.0],
        "box": [5 * 6 / 8, 5 * 2 / 8],  # (3 - 0) 2 and (2 - 4) (-1)
    }.items():
        e = explain(net, x, "lrp", composite={"linear": rule}, low=0.0, high=4.0)
        assert e.values[0] == pytest.approx(wanted, rel=1e-5, abs=1e-5), rule


@pytest.mark.parametrize("rule", ["flat", "w_square", "box"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_inputs_of_zero_get_their_share_in_every_type(dtype, rule):
    torch.manual_seed(0)
    net = nn.Linear(6, 2).to(dtype)
    x = np.zeros((2, 6), dtype=np.float32)
    x[1, :3] = 1
    found = explain(net, x, "lrp", target=0, composite={"dense": rule}, low=-1.0, high=1.0)
    weight, bias = (p.detach().double().numpy()[0] for p in (net.weight, net.bias))
    share = {
        "flat": np.ones((2, 6)),
        "w_square": np.tile(weight**2, (2, 1)),
        "box": (x + 1) * np.maximum(weight, 0) + (x - 1) * np.minimum(weight, 0),
    }[rule]
    wanted = share / share.sum(axis=1, keepdims=True) * (x @ weight + bias)[:, None]
    close = 2e-2 if dtype is torch.float16 else 1e-5
    np.testing.assert_allclose(found.values, wanted, atol=close * np.abs(wanted).max())


class Gates(nn.Module):
    """A step of an LSTM from nothing, and a mish: gates beside the signals they let through."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.gates, self.head = nn.Linear(4, 12), nn.Linear(4, 2, bias=False)

    def forward(self, x):
        taken, signal, shown = self.gates(x).chunk(3, dim=1)
        cell = torch.sigmoid(taken) * torch.tanh(signal)
        return self.head(torch.sigmoid(shown) * torch.tanh(cell))


def test_the_signal_takes_all_from_its_gate():
    net, x = Gates().eval(), drawn(3, 4)
    found = explain(net, x, "lrp", composite="epsilon", epsilon=1e-9, target=0).values
    with torch.no_grad():
        z = net.gates(torch.from_numpy(x))
        taken, signal, shown = z.chunk(3, dim=1)
        hidden = torch.sigmoid(shown) * torch.tanh(torch.sigmoid(taken) * torch.tanh(signal))
        relevance = hidden * net.head.weight[0]  # of the signal, behind both gates
        weight = net.gates.weight[4:8]
        wanted = torch.from_numpy(x) * ((relevance / signal) @ weight)
    assert found == pytest.approx(wanted.numpy(), rel=1e-4, abs=1e-6)


def test_relevance_reaches_values_that_are_zero_under_flat_in_the_middle():
    net = Flattened(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 6, bias=False), size=6)
    x = np.zeros((1, 4), dtype=np.float32)
    x[0, 1] = 1.0
    e = explain(net, x, "lrp", composite={"linear": "flat"}, target=0)
    assert e.values[0] == pytest.approx(np.full(4, e.values[0, 0]), rel=1e-4)
    assert np.abs(e.values).min() > 0


def test_a_layer_has_relevance_that_adds_up_with_what_follows():
    model, x = build("cnn", "torch")
    e = explain(model, x, "lrp", composite={"linear": "norm"}, layer="conv2")
    assert e.values.shape == (5, 8, 6, 5)
    assert e.gap.max() < 1e-4  # max-pools, ReLUs and means keep all of it
    below = explain(model, x, "lrp", composite={"linear": "norm"}, layer="conv1")
    assert below.values.shape == (5, 6, 12, 10)
    assert below.gap.max() < 1e-3


def test_composites_by_path_name_and_kind():
    model, x = build("cnn", "torch")
    own = explain(model, x, "lrp", composite={"conv*": "z_plus", "head": "epsilon"}).values
    assert own == pytest.approx(explain(model, x, "lrp", composite="epsilon_plus").values)
    listed = wrap(model).coverage("lrp", x)
    assert listed.complete
    assert {op.rule for op in listed} == {"z_plus", "epsilon", "plain", "pass"}


def test_what_biases_keep_is_no_gap_in_words():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    e = explain(net, drawn(2, 3), "lrp")
    assert e.keeps_shares
    assert e.gap.max() > 0.05
    assert "kept by biases and epsilon" in str(e)
    assert "completeness gap" not in str(e)
    assert "Biases and epsilon keep" in e.to_html()
    assert e.warnings == ()
    assert not explain(net, drawn(2, 3), "deeplift").keeps_shares


def test_what_cannot_be_is_said():
    model, x = build("cnn", "torch")
    for given, word in {
        "epsilon_minus": "No composite 'epsilon_minus'",
        "epsilon_gamma_box": "pass low= and high=",
    }.items():
        with pytest.raises(InputError, match=word):
            explain(model, x, "lrp", composite=given)
    for given, word in {
        "delta": "No rule 'delta'", "gamma:x": "numbers after", "alpha_beta:2,2": "alpha − beta",
        "gamma:1,1,1": "2 numbers at most",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=word):
            explain(model, x, "lrp", composite={"linear": given})
    with pytest.raises(InputError, match="halves"):
        explain(model, x, "lrp", composite={"attention": "whole"})
    with pytest.raises(InputError, match="epsilon of 0 or more"):
        explain(model, x, "lrp", epsilon=-1.0)
    with pytest.raises(InputError, match="a bound that is a number"):
        explain(model, x, "lrp", composite="epsilon_gamma_box", low=[0.0, 1.0], high=1.0)
    with pytest.raises(CoverageError, match="pass fits a layer"):
        explain(model, x, "lrp", composite={"conv1": "pass"})
    with pytest.raises(CoverageError, match="no rule for prod"):
        explain(_Unknown(), drawn(2, 4), "lrp")


class _Unknown(nn.Module):
    """Ends in a product over columns, whose share no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        z = self.layer(x)
        return torch.stack([z.prod(dim=1), z.sum(dim=1)], dim=1)


def test_pellucid_works_without_the_room_of_lrp():
    code = (
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n.endswith('backward.rules') else found(n, *a)\n"
        "import pellucid; names = pellucid.methods().names\n"
        "assert 'deeplift' in names and 'lrp' not in names and 'excitation_backprop' not in names"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
