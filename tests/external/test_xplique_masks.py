"""RISE, Sobol and HSIC against Xplique, which is there in the benchmark environment only."""

import numpy as np
import pytest

from pellucid import explain
from pellucid.methods.perturbation.sensitivity import hsic_of_masks

pytestmark = pytest.mark.slow
pytest.importorskip("xplique", reason="Xplique is a peer of the benchmark environment")


@pytest.fixture(scope="module")
def setting():
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"), keras.layers.Flatten(),
        keras.layers.Dense(5),
    ])  # fmt: skip
    x = np.random.default_rng(0).random((3, 6, 6, 3)).repeat(6, 1).repeat(6, 2)[:, 2:34, 2:34]
    x = x.astype(np.float32)
    classes = np.asarray(model(x)).argmax(axis=1)
    return model, x, classes, np.eye(5, dtype=np.float32)[classes]


def correlations(ours, theirs):
    return [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours, theirs, strict=True)]


def rise_of_xplique(model, x, one_hot):
    from xplique.attributions import Rise

    made = Rise(model, nb_samples=20_000, grid_size=6, batch_size=256)
    return np.asarray(made(x, one_hot))[..., 0]


def test_classic_rise(setting):
    model, x, classes, one_hot = setting
    ours = explain(model, x, "rise", target=classes.tolist(), grid=6, budget=20_000,
                   estimator="classic")  # fmt: skip
    assert min(correlations(ours.values, rise_of_xplique(model, x, one_hot))) > 0.99


def test_rise_by_regression_has_the_limit_of_the_classic_one(setting):
    model, x, classes, one_hot = setting
    ours = explain(model, x, "rise", target=classes.tolist(), grid=6, budget=2000)
    assert min(correlations(ours.values, rise_of_xplique(model, x, one_hot))) > 0.95


def cells(maps):
    """Means over the cells of a grid of 4."""
    return maps.reshape(len(maps), 4, 8, 4, 8).mean(axis=(2, 4))


def test_sobol(setting):
    from xplique.attributions import SobolAttributionMethod

    model, x, classes, one_hot = setting
    made = SobolAttributionMethod(model, grid_size=4, nb_design=1024, batch_size=256)
    theirs = cells(np.asarray(made(x, one_hot))[..., 0])
    ours = explain(model, x, "sobol", target=classes.tolist(), features="grid:4",
                   budget=1024 * 18 + 1)  # fmt: skip
    assert min(correlations(cells(ours.values), theirs)) > 0.97


def test_hsic(setting):
    """The estimator on one set of masks; the whole with each one's own bandwidth and masks.

    Xplique divides the trace by n, where the paper and we divide it by (n - 1)².
    """
    from xplique.attributions import HsicAttributionMethod
    from xplique.attributions.global_sensitivity_analysis.hsic_estimators import BinaryEstimator

    rng = np.random.default_rng(0)
    masks = rng.random((300, 16)) < 0.5
    scores = 10 + masks @ rng.normal(size=16) + masks[:, 0] * masks[:, 1]
    theirs = BinaryEstimator()(masks.reshape(300, 4, 4, 1).astype(np.float32),
                               scores.astype(np.float32), 300)  # fmt: skip
    ours = hsic_of_masks(masks, scores, float(np.median(scores)))[0] * 299**2 / 300
    np.testing.assert_allclose(ours, np.asarray(theirs).ravel(), rtol=2e-3, atol=1e-4)
    model, x, classes, one_hot = setting
    made = HsicAttributionMethod(model, grid_size=4, nb_design=2000, batch_size=256)
    theirs = cells(np.asarray(made(x, one_hot))[..., 0])
    ours = explain(model, x, "hsic", target=classes.tolist(), features="grid:4", budget=2000)
    assert min(correlations(cells(ours.values), theirs)) > 0.9
