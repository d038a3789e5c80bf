"""What must hold for every method on every model: properties, by Hypothesis."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid import explain, wrap
from pellucid.testing import build

METHODS = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 8},
    "smoothgrad": {"samples": 5},
    "squaregrad": {"samples": 5},
    "vargrad": {"samples": 5},
    "expected_gradients": {"samples": 6},
    "blur_integrated_gradients": {"steps": 4},
    "guided_integrated_gradients": {"steps": 4, "baseline": "noise"},
    "gradcam": {"layer": "relu"},
    "gradcam_plus_plus": {"layer": "relu"},
    "hirescam": {"layer": "relu"},
    "xgradcam": {"layer": "relu"},
    "layercam": {"layer": "relu"},
    "eigencam": {"layer": "relu"},
    "scorecam": {"layer": "relu"},
    "ablationcam": {"layer": "relu"},
    "occlusion": {"window": 3},
    "lime": {"features": "grid:3", "budget": 40},
    "random": {},
    "edges": {},
    "constant": {},
}
SMOOTH = [
    "saliency", "gradient_x_input", "integrated_gradients", "smoothgrad", "expected_gradients",
    "occlusion",
]  # fmt: skip


def network(seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(5, 9), torch.nn.GELU(), torch.nn.Linear(9, 3))
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    return net


rows = st.integers(0, 2**31 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)
)


@given(rows, st.integers(0, 1000))
def test_completeness(x, seed):
    e = explain(network(seed), x, "integrated_gradients", tolerance=0.001)
    total = e.values.sum(axis=1)
    np.testing.assert_allclose(total, e.score - e.baseline_score, rtol=1e-3, atol=1e-3)
    constant = explain(network(seed), x, "constant")
    np.testing.assert_allclose(
        constant.values.sum(axis=1), constant.score - constant.baseline_score, rtol=1e-3, atol=1e-4
    )


@given(rows, st.integers(0, 1000), st.floats(-3, 3), st.floats(-3, 3))
@pytest.mark.parametrize("method", SMOOTH)
def test_linearity_in_the_model(method, x, seed, a, b):
    one, two = network(seed), network(seed + 1)
    options = METHODS[method] if method != "occlusion" else {}
    parts = [explain(f, x, method, target=1, seed=3, **options).values for f in (one, two)]
    mixed = wrap(lambda v: a * one(v) + b * two(v), framework="torch")
    found = explain(mixed, x, method, target=1, seed=3, **options).values
    np.testing.assert_allclose(found, a * parts[0] + b * parts[1], rtol=1e-3, atol=2e-4)


@given(rows, st.integers(0, 1000))
@pytest.mark.parametrize("method", SMOOTH)
def test_an_input_the_model_ignores_gets_nothing(method, x, seed):
    net = network(seed)
    blind = wrap(lambda v: net(v * torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])), framework="torch")
    options = METHODS[method] if method != "occlusion" else {}
    e = explain(blind, x, method, **options)
    # Occlusion subtracts two scores in float32; the others give an exact zero.
    rounding = 4e-7 * np.abs(e.score).max() if method == "occlusion" else 0
    assert np.abs(e.values[:, 1]).max() <= rounding


@pytest.mark.parametrize("method", ["smoothgrad", "random", "lime"])
def test_the_seed_decides_every_draw(method):
    model, x = build("cnn", "torch")
    # The batch size is fixed: "auto" is timed, and another size rounds the last bit differently.
    one, same, other = (
        explain(model, x, method, seed=s, batch_size=4, **METHODS[method]).values for s in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_values_are_raw_float32(framework):
    model, x = build("cnn", framework)
    for method, options in METHODS.items():
        e = explain(model, x, method, **options)
        assert e.values.dtype == np.float32
        assert np.isfinite(e.values).all()
    assert (explain(model, x, "saliency").values < 0).any(), "signed"


def test_standard_errors_are_calibrated():
    """95 % intervals around SmoothGrad's mean cover the high-sample truth about as often."""
    net = network(4)
    x = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    truth = explain(net, x, "smoothgrad", samples=20000, seed=10**6, noise=0.3).values
    inside = []
    for seed in range(200):
        e = explain(net, x, "smoothgrad", samples=40, seed=seed, noise=0.3)
        inside.append(np.abs(e.values - truth) <= 1.96 * e.stderr)
    coverage = float(np.mean(inside))
    assert 0.90 <= coverage <= 0.99, coverage
