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
