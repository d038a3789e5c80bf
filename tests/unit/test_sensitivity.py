"""Sobol and HSIC: the Ishigami function, independence, and slow forms of both."""

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import MethodError
from pellucid.explain import explain_each
from pellucid.methods.perturbation.sensitivity import hsic_of_masks
from pellucid.testing import build

RNG = np.random.default_rng(8)
A, B = 7.0, 0.1


def ishigami(z):
    """Ishigami & Homma 1990, on [0, 1]^3 spread over [−π, π]^3."""
    x = (2 * z - 1) * np.pi
    return np.sin(x[:, 0]) + A * np.sin(x[:, 1]) ** 2 + B * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_indices():
    one = (1 + B * np.pi**4 / 5) ** 2 / 2
    two = A**2 / 8
    both = 8 * B**2 * np.pi**8 / 225
    total = one + two + both
    first = np.array([one, two, 0]) / total
    return first, first + np.array([both, 0, both]) / total


@pytest.mark.parametrize("order", ["first", "total"])
def test_the_ishigami_function(order):
    expected = ishigami_indices()[order == "total"]
    x = np.ones((1, 3))
    e = explain(ishigami, x, "sobol", order=order, budget=5 * 20_000)
    assert (np.abs(e.values[0] - expected) <= 3 * e.stderr[0] + 1e-9).all()
    np.testing.assert_allclose(e.values[0], expected, atol=0.02)
    np.testing.assert_allclose(e.extras["variance"][0], 0.5 + A**2 / 8 + B * np.pi**4 / 5
                               + B**2 * np.pi**8 / 18, rtol=0.02)  # fmt: skip


@pytest.mark.parametrize("order", ["first", "total"])
def test_standard_errors_of_shares_are_calibrated(order):
    """Latin hypercubes make a first-order share surer than the error says; never less sure."""
    expected = ishigami_indices()[order == "total"]
    inside = []
    for seed in range(200):
        e = explain(ishigami, np.ones((1, 3)), "sobol", order=order, budget=5 * 200, seed=seed)
        inside.append(np.abs(e.values[0] - expected) <= 1.96 * e.stderr[0])
    assert 0.90 <= np.mean(inside) <= 1.0, np.mean(inside)


def test_an_additive_score_has_first_order_shares_only():
    w = np.array([1.0, -2.0, 3.0, 0.0])
    x = np.array([[1.0, 1.0, 0.5, 9.0]])
    parts = (w * x[0]) ** 2
    for order in ("first", "total"):
        e = explain(lambda z: z @ w, x, "sobol", order=order, budget=6 * 4000)
        np.testing.assert_allclose(e.values[0], parts / parts.sum(), atol=0.03)
    total = explain(lambda z: z @ w, x, "sobol")
    assert total.values[0, 3] == 0


def test_a_constant_score_has_no_shares():
    e = explain(lambda z: 0 * z[:, 0] + 3, np.ones((2, 4)), "sobol")
    assert (e.values == 0).all()
    assert (e.stderr == 0).all()
    e = explain(lambda z: 0 * z[:, 0] + 3, np.ones((2, 4)), "hsic")
    assert (e.values == 0).all()


def slow_hsic(z, y, bandwidth):
    """Eq. 5 of the paper with all its n × n matrices."""
    n = len(y)
    centre = np.eye(n) - 1 / n
    outputs = np.exp(-((y[:, None] - y) ** 2) / (2 * bandwidth**2))
    found = []
    for column in z.T.astype(float):
        inputs = 0.5 - (column[:, None] - column) ** 2
        found.append(np.trace(inputs @ centre @ outputs @ centre) / (n - 1) ** 2)
    return np.array(found)


def test_hsic_is_the_definition():
    z = RNG.random((60, 5)) < 0.5
    y = np.tanh(z @ np.array([1.0, 2.0, 0.0, -1.0, 0.5])) + 0.1 * RNG.normal(size=60)
    np.testing.assert_allclose(hsic_of_masks(z, y, 0.7)[0], slow_hsic(z, y, 0.7), rtol=1e-9)
    median = np.median(np.abs(y[:, None] - y)[np.triu_indices(60, 1)])
    np.testing.assert_allclose(hsic_of_masks(z, y)[0], slow_hsic(z, y, median), rtol=1e-9)


def test_hsic_of_independent_parts_is_nothing():
    """What the score ignores has the bias of the estimator, (1 − mean L) / 2n; others more."""
    z = RNG.random((4000, 6)) < 0.5
    y = z[:, 0] + 0.5 * z[:, 1]
    values, errors = hsic_of_masks(z, y)
    assert values[2:].max() < 5 / 4000
    assert (values[2:] <= 1 / 8000 + 4 * errors[2:]).all()
    assert values[0] > values[1] > 20 * values[2:].max()
    x = np.ones((1, 6))
    e = explain(lambda v: v[:, 0] * v[:, 1], x, "hsic", budget=2000)
    assert e.values[0, 2:].max() < 0.1 * e.values[0, :2].min()


def test_standard_errors_of_hsic_are_calibrated():
    def score(z):
        return z @ np.array([1.0, 0.7, 0.4, 0.2]) + z[:, 0] * z[:, 1]

    large = RNG.random((8000, 4)) < 0.5
    truth = hsic_of_masks(large, score(large), 1.0)[0]
    inside = []
    for seed in range(200):
        z = np.random.default_rng(seed).random((300, 4)) < 0.5
        values, errors = hsic_of_masks(z, score(z), 1.0)
        inside.append(np.abs(values - truth) <= 1.96 * errors)
    assert 0.90 <= np.mean(inside) <= 0.99, np.mean(inside)


@pytest.mark.parametrize("method", ["sobol", "hsic"])
@pytest.mark.parametrize("channels", [1, 3, 13])
def test_any_channel_count_channels_first_and_last(method, channels):
    x = RNG.random((2, 12, 9, channels)).astype(np.float32)

    def model(z):
        return z[:, :6, :3].sum(axis=(1, 2, 3))

    last = explain(model, x, method, features="grid:4", budget=400)
    assert last.values.shape == (2, 12, 9)
    hit = last.values[:, :6, :3].mean()
    assert hit > 10 * last.values[:, 6:].mean()
    first = wrap(lambda z: z[:, :, :6, :3].sum(dim=(1, 2, 3)), framework="torch")
    given = np.moveaxis(x, -1, 1).copy()
    moved = explain(first, given, method, features="grid:4", budget=400)
    np.testing.assert_allclose(moved.values, last.values, atol=1e-4)


@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_models_of_three_classes_one_sigmoid_and_several_targets(method):
    for name in ("dense", "sigmoid"):
        model, x = build(name, "torch")
        e = explain(model, x, method)
        assert np.isfinite(e.values).all()
        assert e.values.shape == x.shape
    model, x = build("dense", "torch")
    together = explain_each(model, x, method, [0, 1], parameters={})
    for target, e in enumerate(together):
        np.testing.assert_allclose(e.values, explain(model, x, method, target=target).values,
                                   atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("sobol", {"order": "second"}, "'total' or 'first'"),
        ("sobol", {"budget": 5}, "budget of 13 for 4 parts"),
        ("hsic", {"budget": 4}, "9 or more"),
        ("hsic", {"bandwidth": 0.0}, "bandwidth above 0"),
    ],
)
def test_bad_options_are_explained(method, options, message):
    with pytest.raises(MethodError, match=message):
        explain(lambda z: z.sum(axis=1), np.ones((1, 4)), method, **options)
