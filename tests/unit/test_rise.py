"""RISE: exact on additive scores, two estimators of one picture, honest errors."""

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import MethodError
from pellucid.explain import explain_each
from pellucid.testing import build

RNG = np.random.default_rng(2)


def smooth(weights):
    """A score that looks at smooth places together, so that masks interact."""
    return lambda z: np.tanh(z.reshape(len(z), -1) @ weights)


def covariance(size, cells):
    """4 Cov(m_p, m_q) along an axis: coins in the middles of cells, or moved to their borders."""
    at = (np.arange(size) + 0.5) * cells / size
    coins = np.arange(-1, cells + 2)
    drawn = [np.maximum(1 - abs(at[:, None] - coins - moved), 0) for moved in (0.0, 0.5)]
    return sum(d @ d.T for d in drawn) / 2


def test_an_additive_table_is_recovered():
    w = np.array([1.0, -2.0, 3.0, 0.0, 0.5])
    x = RNG.normal(size=(3, 5))
    e = explain(lambda z: z @ w, x, "rise", ridge=0, budget=40, baseline=0.25)
    np.testing.assert_allclose(e.values, w * (x - 0.25), atol=1e-5)
    assert e.stderr.max() < 1e-5
    shrunk = explain(lambda z: z @ w, x, "rise", baseline=0.25)
    np.testing.assert_allclose(shrunk.values, w * (x - 0.25), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("first", [False, True])
def test_an_additive_picture_is_recovered(channels, first):
    """Of f = Σ w x the map is 4 Cov(m, m') w x, over coins and whether the grid is moved."""
    x = RNG.random((2, 14, 9, channels)).astype(np.float32)
    w = RNG.normal(size=x.shape[1:]).astype(np.float32)
    down, right = covariance(14, 4), covariance(9, 3)
    expected = np.einsum("ab,nbdk,cd->nac", down, (x * w).astype(np.float64), right)
    model = lambda z: (z * w).sum(axis=(1, 2, 3))  # noqa: E731
    given = x
    if first:
        import torch

        tensor = torch.from_numpy(np.moveaxis(w, -1, 0).copy())
        model = wrap(lambda z: (z * tensor).sum(dim=(1, 2, 3)), framework="torch")
        given = np.moveaxis(x, -1, 1).copy()
    e = explain(model, given, "rise", grid=4, ridge=0, budget=200)
    assert e.values.shape == (2, 14, 9)
    np.testing.assert_allclose(e.values, expected, rtol=1e-3, atol=1e-3)


def test_the_regression_is_the_definition():
    """By a general least-squares solver on stacked rows, ridge and all."""
    x, w = RNG.normal(size=(2, 6)), RNG.normal(size=6)
    e = explain(smooth(w), x, "rise", budget=51, ridge=0.4, seed=5)
    half = np.random.default_rng([5, 9]).random((25, 6)) < 0.5
    z = np.stack([half, ~half], axis=1).reshape(-1, 6).astype(float)
    for sample in range(2):
        y = smooth(w)(x[sample] * z)
        top = np.column_stack([np.ones(50), z])
        bottom = np.column_stack([np.zeros(6), np.sqrt(0.4 * 6 / 4) * np.eye(6)])
        stacked = np.concatenate([top, bottom]), np.concatenate([y, np.zeros(6)])
        values = np.linalg.lstsq(*stacked, rcond=None)[0][1:]
        np.testing.assert_allclose(e.values[sample], values, rtol=1e-5, atol=1e-6)


def test_the_classic_estimator_is_the_definition():
    """Eq. 6 of the paper, mask by mask; of a table there is nothing to enlarge or shift."""
    x, w = RNG.normal(size=(2, 6)), RNG.normal(size=6)
    e = explain(smooth(w), x, "rise", estimator="classic", budget=81, probability=0.3, seed=1)
    masks = (np.random.default_rng([1, 10]).random((80, 6)) < 0.3).astype(float)
    for sample in range(2):
        total, shown = np.zeros(6), np.zeros(6)
        for mask in masks:
            total += smooth(w)((x[sample] * mask)[None])[0] * mask
            shown += mask
        np.testing.assert_allclose(e.values[sample], total / shown, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", ["classic", "regression"])
def test_both_estimators_draw_the_same_picture(estimator):
    """The blob the score looks at, found by both; the regression with a quarter of the masks."""
    rows, columns = np.mgrid[:21, :18]
    blob = np.exp(-((rows - 6) ** 2 + (columns - 11) ** 2) / 18.0)

    def model(z):
        return np.tanh((z[..., 0] * blob).sum(axis=(1, 2)) / 20)

    x = np.ones((1, 21, 18, 1), dtype=np.float32)
    limit = explain(model, x, "rise", estimator="classic", budget=20_000, seed=9).values
    e = explain(model, x, "rise", estimator=estimator,
                budget=400 if estimator == "regression" else 1600)  # fmt: skip
    assert np.corrcoef(e.values.ravel(), limit.ravel())[0, 1] > 0.95
    peak = np.unravel_index(e.values[0].argmax(), (21, 18))
    assert abs(peak[0] - 6) <= 3
    assert abs(peak[1] - 11) <= 3


@pytest.mark.parametrize("estimator", ["classic", "regression"])
def test_standard_errors_are_calibrated(estimator):
    x = RNG.normal(size=(2, 6))
    w = RNG.normal(size=6)
    options = {"estimator": estimator, "ridge": 0.0, "batch_size": 4000}
    truth = explain(smooth(w), x, "rise", budget=200_000, seed=10**6, **options).values
    inside = []
    for seed in range(200):
        e = explain(smooth(w), x, "rise", budget=200, seed=seed, **options)
        inside.append(np.abs(e.values - truth) <= 1.96 * e.stderr)
    assert 0.90 <= np.mean(inside) <= 0.99, np.mean(inside)


def test_standard_errors_of_smooth_maps_are_calibrated():
    """The error of a place between two cells heeds how the cells' errors go together."""
    x, w = RNG.random((1, 9, 8, 1)), RNG.normal(size=72) / 4
    options = {"grid": 2, "ridge": 0.0, "batch_size": 4000}
    truth = explain(smooth(w), x, "rise", budget=100_000, seed=10**6, **options).values
    inside = []
    for seed in range(200):
        e = explain(smooth(w), x, "rise", budget=300, seed=seed, **options)
        inside.append(np.abs(e.values - truth) <= 1.96 * e.stderr)
    assert 0.90 <= np.mean(inside) <= 0.99, np.mean(inside)


def test_the_regression_has_the_limit_of_the_classic_one():
    """Where parts work together, too, and at the borders; a few masks are near it."""
    rows, columns = np.mgrid[:16, :16]
    one = np.exp(-((rows - 2) ** 2 + (columns - 14) ** 2) / 8.0)
    other = np.exp(-((rows - 9) ** 2 + (columns - 6) ** 2) / 8.0)

    def model(z):
        a, b = ((z[..., 0] * blob).sum(axis=(1, 2)) / blob.sum() for blob in (one, other))
        return a * b + a

    x, options = np.ones((1, 16, 16, 1), dtype=np.float32), {"grid": 4}
    limit = explain(model, x, "rise", estimator="classic", budget=40_000, **options).values
    far = explain(model, x, "rise", budget=8000, ridge=0.0, **options)
    near = explain(model, x, "rise", budget=400, **options)
    assert np.corrcoef(far.values.ravel(), limit.ravel())[0, 1] > 0.995
    assert np.corrcoef(near.values.ravel(), limit.ravel())[0, 1] > 0.98


def test_what_is_seen_less_what_is_hidden_is_twice_what_is_seen_less_the_mean():
    x, w = RNG.normal(size=(1, 6)), RNG.normal(size=6)
    classic = explain(smooth(w), x, "rise", estimator="classic", budget=100_000)
    e = explain(smooth(w), x, "rise", ridge=0.0, budget=100_000)
    centred = classic.values - np.mean(smooth(w)(x * (RNG.random((100_000, 6)) < 0.5)))
    np.testing.assert_allclose(e.values, 2 * centred, atol=0.02)


def test_series_and_two_inputs_and_several_targets():
    model, x = build("two_inputs", "torch")
    together = explain_each(model, x, "rise", [0, 2], parameters={"grid": 3, "budget": 101})
    assert {e.evaluations.forward for e in together} == {5 + 5 * 100}
    for target, e in zip([0, 2], together, strict=True):
        alone = explain(model, x, "rise", target=target, grid=3, budget=101)
        for one, other in zip(e.parts, alone.parts, strict=True):
            np.testing.assert_allclose(one.values, other.values, atol=1e-5)
    series = RNG.normal(size=(2, 30, 4))
    e = explain(lambda z: z.sum(axis=(1, 2)), series, "rise", grid=5)
    assert e.values.shape == (2, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "best"}, "'regression', 'classic'"),
        ({"budget": 10, "ridge": 0}, "budget of 13 for 5 cells"),
        ({"grid": 0}, "grid of 1 or more"),
        ({"probability": 0.2}, "for estimator='classic'"),
        ({"probability": 1.0, "estimator": "classic"}, "within 0 and 1"),
        ({"features": "grid:3"}, "takes no parameter 'features'"),
    ],
    ids=str,
)
def test_bad_options_are_explained(options, message):
    with pytest.raises(MethodError, match=message):
        explain(lambda z: z.sum(axis=1), np.ones((1, 5)), "rise", **options)
