"""What a backward pass need not do: counted, never timed."""

import numpy as np
import pytest

from pellucid import wrap
from pellucid.explain import explain_each

torch = pytest.importorskip("torch")


def net(*layers):
    torch.manual_seed(0)
    return torch.nn.Sequential(*layers).eval()


@pytest.mark.parametrize("method", ["deep_shap", "lrp", "deeplift"])
def test_a_pass_back_begins_at_the_score_of_its_own_target(method):
    """Three targets are three derivatives of a score; by way of all scores they would be nine."""
    passes = []

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a.clone()

        @staticmethod
        def backward(ctx, cotangent):
            passes.append(1)
            return cotangent

    targets = [lambda out, k=k: Counted.apply(out[:, k]) for k in range(3)]
    model = wrap(net(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    plain = explain_each(model, x, method, [0, 1, 2], parameters={}, batch_size=5)
    found = explain_each(model, x, method, targets, parameters={}, batch_size=5)
    assert len(passes) == 3 * (len(x) if method == "deep_shap" else 1)
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_a_background_s_pooling_is_found_once_for_all_samples():
    model = wrap(
        net(torch.nn.Conv2d(1, 3, 3), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
            torch.nn.Linear(27, 2))
    )  # fmt: skip
    draws = np.random.default_rng(0)
    x, background = (draws.normal(size=(n, 1, 8, 8)).astype(np.float32) for n in (4, 6))
    options = {"background": background}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        explain_each(model, x, "deep_shap", [0, 1], parameters=options, batch_size=6)
    runs = {e.key: e.count for e in seen.key_averages()}
    # The prediction and the background; the background's again, to be derived; each sample's.
    assert runs["aten::max_pool2d_with_indices"] == 2 + 1 + len(x)
    # Windows lie apart: who stands still, and for each of two targets the winners now and earlier.
    assert runs["aten::max_pool2d_with_indices_backward"] == len(x) * (1 + 2 * 2)


def test_a_rule_hands_on_its_value_without_a_copy():
    from pellucid.adapters.torch.derivatives import sloped

    x, value = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    slope = torch.randn(3, 4)
    made = sloped(value, x, slope)
    assert made.data_ptr() == value.data_ptr()
    torch.relu_(made)  # as a model may that works in place
    (found,) = torch.autograd.grad(made.sum(), x)
    torch.testing.assert_close(found, slope * (made > 0))


def test_a_rule_s_value_may_be_wider_than_what_it_is_of():
    """A bias of five numbers after a layer of one."""

    class Widened(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1, bias=False)
            self.bias = torch.nn.Parameter(torch.linspace(0.1, 0.5, 5))

        def forward(self, x):
            return torch.relu(self.layer(x) + self.bias)

    torch.manual_seed(0)
    model = Widened().eval()
    x = np.abs(np.random.default_rng(0).normal(size=(3, 4))).astype(np.float32)
    with torch.no_grad():
        model.layer.weight.abs_()
    for composite in ("epsilon", {"linear": "z_plus"}):
        options = {"composite": composite, "epsilon": 0.0}
        found = explain_each(model, x, "lrp", [2], parameters=options)[0].values
        shares = x * model.layer.weight.detach().numpy()
        np.testing.assert_allclose(found, shares, rtol=1e-5)
