"""Traps of backward rules: each with the symptom that a careless rule shows."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pellucid import explain, wrap

DRAWS = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return DRAWS.normal(size=shape).astype(np.float32)


def test_gamma_is_bounded_where_its_one_line_form_divides_by_almost_nothing():
    """z of w + γ w⁺ is 1e-4 here, so the one-line form finds relevance 3000 times the score."""
    net = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -1.2499]]))
    x = np.ones((1, 2), dtype=np.float32)
    one_line = np.array([1.25, -1.2499]) * -0.2499 / 1e-4
    assert np.abs(one_line).max() > 3000
    z = -0.2499
    slope = z / (z + 0.25 * -1.2499)  # what agrees with the sum is favoured
    found = explain(net, x, "lrp", composite={"linear": "gamma:0.25"}).values[0]
    assert found == pytest.approx([slope * 1.0, slope * 1.25 * -1.2499], rel=1e-5)


class Gated(nn.Module):
    """x · σ(x) written out, and a product of two of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(3, 6, bias=False), nn.Linear(6, 1, bias=False)

    def forward(self, x):
        h = self.body(x)
        return self.head(h * torch.sigmoid(h))


def test_relevance_does_not_explode_at_a_gate_whose_signal_is_almost_zero():
    """With y/x as the slope of the gate's sigmoid, 0.5 / 1e-12, it was 1e14 times the score."""
    net = Gated()
    x = np.array([[1e-12, -1e-12, 1e-12], [1.0, 1e-12, -2.0]], dtype=np.float32)
    with torch.no_grad():
        net.body.weight[0] = torch.tensor([1.0, 0.0, 0.0])
        h = net.body(torch.from_numpy(x))
        wanted = (net.head.weight[0] * torch.sigmoid(h)) @ net.body.weight * torch.from_numpy(x)
    found = explain(net, x, "lrp", composite="epsilon", epsilon=1e-9)
    np.testing.assert_allclose(found.values, wanted.numpy(), rtol=1e-4, atol=1e-18)
    assert found.gap.max() < 1e-4


def test_epsilon_goes_by_the_size_of_what_a_layer_has():
    """A fixed ε of 1e-6 took 0.5 % of the relevance where logits are about 0.01."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    x = drawn(4, 6)
    large = explain(net, x, "lrp", composite="epsilon", target=0).values
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2.0**-10
    small = explain(net, x, "lrp", composite="epsilon", target=0).values
    np.testing.assert_allclose(small * 2.0**20, large, rtol=1e-5)


@pytest.mark.parametrize("function", [torch.tanh, F.gelu, F.silu, torch.relu, F.softplus])
def test_deeplift_takes_the_derivative_where_input_and_reference_almost_meet(function):
    """Δy / Δx of two numbers that differ in their last bit only is rounding, or 0 / 0."""

    def model(x):
        return function(x) * torch.tensor([1.0, 2.0, -3.0])

    x = np.array([[0.7, 0.7, 0.7], [-0.4, 1.3, 0.9]], dtype=np.float32)
    reference = x.copy()
    reference[0] = np.nextafter(x[0], np.float32(1))
    there = torch.from_numpy(x).requires_grad_()
    (slope,) = torch.autograd.grad(model(there)[:, 1].sum(), there)
    found = explain(wrap(model, framework="torch"), x, "deeplift", baseline=reference, target=1)
    np.testing.assert_allclose(found.values, slope.numpy() * (x - reference), rtol=1e-3)
    assert (found.values[1] == 0).all(), "no difference, no part in it"


class InPlace(nn.Module):
    """A ReLU in place that is used twice, seen through a view that was taken before."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x):
        h = self.first(x)
        view = h[:, :4] if self.relu.inplace else None
        h = self.relu(h)
        view = h[:, :4] if view is None else view
        return self.head(self.relu(self.second(h)) + torch.cat([view, view], dim=1))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("guided_backprop", {}),
        ("deconvnet", {}),
        ("deeplift", {"baseline": 0.3}),
        ("lrp", {"composite": {"linear": "z_plus"}}),
    ],
)
def test_rules_reach_what_looks_through_a_view_of_a_value_changed_in_place(method, options):
    x = drawn(4, 5)
    found = explain(InPlace(True), x, method, **options)
    wanted = explain(InPlace(False), x, method, **options)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-5, atol=1e-7)
    assert np.abs(found.values - explain(InPlace(True), x, "gradient_x_input").values).max() > 1e-3


class Excited(nn.Module):
    """Squeeze and excite: channels weighted by what they are on average."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.squeeze = nn.Conv1d(2, 4, 3), nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        h = F.relu(self.body(x))
        return self.head((h * torch.sigmoid(self.squeeze(h.mean(2)))[:, :, None]).mean(2))


def test_a_product_of_two_live_values_needs_a_rule():
    """The gradient in its place leaves some of f(x) - f(x') unexplained: 8.6 % as first met."""
    net, x, reference = Excited(), drawn(4, 2, 9), drawn(4, 2, 9)
    e = explain(net, x, "deeplift", baseline=reference, target=0)
    assert e.gap.max() < 1e-5
    h, means = (F.relu(net.body(torch.from_numpy(a))).detach() for a in (x, reference))
    h.requires_grad_()
    weight = torch.sigmoid(net.squeeze(h.mean(2)))[:, :, None]
    (slope,) = torch.autograd.grad(net.head((h * weight).mean(2))[:, 0].sum(), h)
    found = (slope * (h - means)).detach().numpy().sum(axis=(1, 2))
    assert np.abs(found / (e.score - e.baseline_score) - 1).max() > 0.01


class Padded(nn.Module):
    """Torch's own encoder over embedded words, of which those of number 0 are padding."""

    def __init__(self, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 1, **options)

    def forward(self, ids):
        return self.head(self.enc(self.emb(ids), src_key_padding_mask=ids == 0)[:, 0])


WORDS = torch.tensor([[3, 5, 7, 2, 9], [4, 6, 8, 0, 0]])


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_padding_has_no_part_where_its_scores_are_minus_infinity_in_both_runs(rule):
    """The difference of two −∞ was NaN, and with it every value of a padded sample."""
    net = Padded(enable_nested_tensor=False).eval()
    found = explain(net, WORDS, "deeplift", layer="emb", rule=rule, target=1)
    assert found.gap.max() < 1e-4
    assert not found.values[1, 3:].any()
    assert found.values[1, :3].any(axis=1).all()
    alone = explain(net, WORDS[1:, :3], "deeplift", layer="emb", rule=rule, target=1)
    np.testing.assert_allclose(found.values[1, :3], alone.values[0], rtol=1e-4, atol=1e-6)


def test_a_softmax_of_masked_scores_hands_nothing_to_what_is_masked():
    class Masked(nn.Module):
        def forward(self, x):
            weights = x.masked_fill(torch.tensor([False, True, False]), -torch.inf)
            return torch.stack([torch.softmax(weights, 1)[:, 0], weights.log_softmax(1)[:, 2]], 1)

    x = drawn(2, 3)
    for target in (0, 1):
        found = explain(Masked(), x, "deeplift", target=target)
        assert found.gap.max() < 1e-4
        assert not found.values[:, 1].any()


@pytest.mark.parametrize("method", ["lrp", "deeplift"])
def test_torch_s_encoder_as_it_is_made_asks_for_its_padding_without_a_rule(method):
    """Whether padding is on the right is true or false, of which nothing has a derivative."""
    net, plain = Padded().eval(), Padded(enable_nested_tensor=False).eval()
    assert wrap(net).coverage(method, WORDS, layer="emb").complete
    found = explain(net, WORDS, method, layer="emb", target=1)
    np.testing.assert_allclose(
        found.values, explain(plain, WORDS, method, layer="emb", target=1).values, atol=1e-6
    )


@pytest.mark.parametrize("method", ["lrp", "deeplift"])
def test_the_values_of_a_maximum_along_an_axis_are_those_of_amax(method):
    """`max(dim)` returns places too, which DeepLIFT took for a part of the value."""

    class Largest(nn.Module):
        def __init__(self, largest) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head, self.largest = nn.Linear(3, 4), nn.Linear(2, 2), largest

        def forward(self, x):
            return self.head(self.largest(self.body(x)))

    x = drawn(2, 2, 3)
    forms = [lambda h: h.max(2).values, lambda h: torch.max(h, dim=-1, keepdim=True)[0][..., 0]]
    wanted = explain(Largest(lambda h: h.amax(2)), x, method, target=0)
    for form in forms:
        found = explain(Largest(form), x, method, target=0)
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-5, atol=1e-7)
    least = explain(Largest(lambda h: h.min(2)[0]), x, method, target=0)
    wanted = explain(Largest(lambda h: h.amin(2)), x, method, target=0)
    np.testing.assert_allclose(least.values, wanted.values, rtol=1e-5, atol=1e-7)


def test_a_minimum_is_the_mirror_of_a_maximum():
    """By the rule of maxima, what shrank was said to have raised it, or all was lost."""

    class Both(nn.Module):
        def forward(self, x):
            two = torch.minimum(x[:, 0], x[:, 1])
            return torch.stack([x.amin(1), -(-x).amax(1), two], 1)

    x = np.array([[3, 1], [1, 3], [0.5, -1], [3, 2]], dtype=np.float32)
    before = np.array([[0, 2]] * 4, dtype=np.float32)
    wanted = [[1, 0], [1, 0], [0, -1], [2, 0]]
    for target in range(3):
        found = explain(Both(), x, "deeplift", baseline=before, target=target)
        np.testing.assert_allclose(found.values, wanted, atol=1e-6)
