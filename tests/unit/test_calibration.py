"""Integrated gradients of many samples with a number of steps found on a few."""

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import MethodError
from pellucid.methods.gradient.paths import _enough_steps

torch = pytest.importorskip("torch")


def smooth(a):
    """Integrands of rather different difficulty, each sample alike."""
    return torch.sin(6 * a).sum(dim=1) + torch.exp(a).prod(dim=1)


def truth(x: np.ndarray) -> np.ndarray:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    total = np.zeros_like(x, dtype=np.float64)
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = torch.tensor(x.astype(np.float64) * t, requires_grad=True)
        total += w * torch.autograd.grad(smooth(point).sum(), point)[0].numpy()
    return total * x


def rows(n: int = 40) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(n, 3)).astype(np.float32)


def errors(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    exact = truth(x)
    return np.abs(values - exact).sum(axis=1) / np.abs(exact).sum(axis=1)


def test_the_others_take_fewer_evaluations_and_meet_the_tolerance():
    model, x = wrap(smooth, framework="torch"), rows()
    e = explain(model, x, "integrated_gradients", calibrate=8)
    nodes = e.extras["nodes"]
    assert len(set(nodes[8:])) == 1
    assert 13 <= nodes[8] < 31
    assert set(nodes[:8]) <= {15, 31, 63}
    assert e.evaluations.backward == nodes.sum()
    assert errors(e.values, x).max() < 0.01
    adaptive = explain(model, x, "integrated_gradients")
    assert e.evaluations.backward < adaptive.evaluations.backward
    assert np.array_equal(e.values[:8], adaptive.values[:8]) or np.allclose(
        e.values[:8], adaptive.values[:8], rtol=1e-5, atol=1e-6
    )


def test_few_samples_are_refined_one_by_one():
    model, x = wrap(smooth, framework="torch"), rows(6)
    e = explain(model, x, "integrated_gradients", calibrate=8)
    plain = explain(model, x, "integrated_gradients")
    assert np.array_equal(e.extras["nodes"], plain.extras["nodes"])
    assert np.array_equal(e.values, plain.values)


@pytest.mark.parametrize("options", [{"calibrate": 1}, {"calibrate": 8, "steps": 9}], ids=str)
def test_what_cannot_be_meant(options):
    with pytest.raises(MethodError, match="calibrate"):
        explain(wrap(smooth, framework="torch"), rows(3), "integrated_gradients", **options)


def moved(*levels: float) -> list[np.ndarray]:
    return [np.array([[m]]) for m in levels]


def test_steps_of_an_error_that_falls_geometrically_are_found_exactly():
    """Error 10^(−n/4) at n Gauss–Legendre steps: 1 % at 8, 0.01 % at 16, 10⁻⁵ at 20."""
    at = [10 ** (-n / 4) for n in (6, 12, 24)]
    assert _enough_steps(moved(*at), 1e-4) == 20, "16 and a quarter"
    assert _enough_steps(moved(*at), 1e-5) == 25
    assert _enough_steps(moved(at[0], at[1]), 1e-2) == 13, "8 is fewer than are ever taken: 10"


def test_the_hardest_sample_decides_and_one_that_was_not_done_doubles():
    both = [np.array([[0.001, 0.1]]), np.array([[np.nan, 0.001]])]
    assert _enough_steps(both, 0.01) == int(np.ceil(1.25 * 10)), "9 for the second"
    assert _enough_steps(moved(0.5, 0.3, 0.2), 0.01) == int(np.ceil(1.25 * 48))


def test_samples_that_were_not_refined_have_no_say():
    both = [np.array([[0.001, np.nan]])]
    assert _enough_steps(both, 0.01) == 13
