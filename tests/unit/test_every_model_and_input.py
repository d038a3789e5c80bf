"""3-class, single-sigmoid and regression models; a 1-channel, a 13-channel and a channels-first
image; a table with missing values: every perturbation method on each.

In every input one part alone carries the score, so every method has its largest value there.
"""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.errors import CapabilityError
from pellucid.methods.registry import registered

MODELS = ("three classes", "one sigmoid", "regression")
IMAGES = ("1 channel", "13 channels", "channels first")
INPUTS = (*IMAGES, "table with missing values")
ONLY_TABLES = ("feature_permutation", "tree_shap")
ROWS = np.random.default_rng(0).normal(size=(60, 4))
ROWS[::7, 0] = np.nan
ROWS[3::5, 1] = np.nan
ROWS[[3, 8], 0] = 2.5, -1.8
"""The first column is missing in the rows 0 and 7 of those explained, the second in 3 and 8."""
GRID = {"features": "grid:3", "baseline": 0.0}
OPTIONS = {
    "occlusion": {"window": 4, "stride": 4},
    "exact_shapley": GRID,
    "kernel_shap": GRID | {"budget": 200},
    "permutation_shap": GRID | {"budget": 200},
    "partition_shap": GRID | {"budget": 200},
    "shapley_interactions": GRID | {"budget": 600},
    "lime": GRID | {"budget": 200},
    "rise": {"grid": 3, "budget": 300},
    "sobol": GRID | {"budget": 400},
    "hsic": GRID | {"budget": 300},
}
BACKGROUND = {"background": ROWS[10:25]}
OF_TABLES = {
    "occlusion": {"baseline": ROWS[1]},
    "exact_shapley": BACKGROUND,
    "kernel_shap": BACKGROUND,
    "permutation_shap": BACKGROUND,
    "partition_shap": BACKGROUND,
    "shapley_interactions": BACKGROUND,
    "lime": BACKGROUND | {"budget": 600},
    "rise": {"baseline": ROWS[1], "budget": 200},
    "sobol": {"baseline": ROWS[1], "budget": 400},
    "hsic": {"baseline": ROWS[1], "budget": 300},
    "feature_permutation": {"repeats": 4},
    "tree_shap": {},
}


def outputs_of(signal, model):
    """What a model of each kind makes of the number that counts."""
    if model == "three classes":
        return np.stack([-signal, signal, 0.3 * signal], 1)
    return 1 / (1 + np.exp(-signal)) if model == "one sigmoid" else 3 * signal


class First(torch.nn.Module):
    """Channels first; the upper left corner of all channels counts."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        signal = torch.tanh(x[:, :, :4, :4].mean(dim=(1, 2, 3)))[:, None]
        if self.model == "three classes":
            return torch.softmax(torch.cat([-signal, signal, 0.3 * signal], 1), dim=1)
        return torch.sigmoid(signal) if self.model == "one sigmoid" else 3 * signal


def image_case(model, kind):
    if kind == "channels first":
        x = torch.from_numpy(np.random.default_rng(1).random((2, 3, 12, 12)) + 0.5).float()
        return wrap(First(model).eval()), x
    channels = 1 if kind == "1 channel" else 13

    def function(z):
        assert z.shape[1:] == (12, 12, channels)
        return outputs_of(np.tanh(z[:, :4, :4].mean(axis=(1, 2, 3))), model)

    x = np.random.default_rng(1).random((2, 12, 12, channels)) + 0.5
    return wrap(function), x


def table_case(model):
    """A missing value in the first column counts as −2; the second counts nothing."""

    def function(z):
        first = np.where(np.isnan(z[:, 0]), -2, z[:, 0])
        return outputs_of(np.tanh(first), model)

    return wrap(function, missing_values=True), ROWS[[0, 3, 7, 8]]


def forest(model):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    first = np.where(np.isnan(ROWS[:, 0]), -2, ROWS[:, 0])
    small = {"max_iter": 8, "min_samples_leaf": 4}
    if model == "regression":
        return HistGradientBoostingRegressor(**small).fit(ROWS, 3 * np.tanh(first))
    labels = np.digitize(first, [0] if model == "one sigmoid" else [-0.6, 0.6])
    return HistGradientBoostingClassifier(**small).fit(ROWS, labels)


def check(e, model, n):
    assert e.values.shape[0] == n
    assert np.isfinite(e.values).all()
    if model == "three classes":
        assert e.target_names == ("class 1",) * n
    assert e.evaluations.forward > 0


METHODS = sorted(n for n, c in registered().items() if c.family == "perturbation")


def test_no_perturbation_method_is_missing():
    assert set(METHODS) == set(OF_TABLES) == {*OPTIONS, *ONLY_TABLES}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_an_image_is_explained_where_its_score_is(method, model, kind):
    wrapped, x = image_case(model, kind)
    target = 1 if model == "three classes" else None
    if method in ONLY_TABLES:
        with pytest.raises(CapabilityError, match=r"table|kernel_shap"):
            explain(wrapped, x, method, target=target)
        return
    e = explain(wrapped, x, method, target=target, **OPTIONS[method])
    check(e, model, 2)
    if kind == "channels first" and model != "regression":
        assert e.explained == "logit"
    maps = (
        e.values.sum(axis=1 if kind == "channels first" else -1) if e.values.ndim == 4 else e.values
    )
    assert maps.shape == (2, 12, 12)
    for own in np.abs(maps):
        row, column = np.unravel_index(own.argmax(), own.shape)
        assert (row < 4, column < 4) == (True, True)


@pytest.mark.filterwarnings("ignore::Warning:shap.*", "ignore::Warning:numba.*")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_table_with_missing_values_is_explained_in_the_column_that_counts(method, model):
    wrapped, x = table_case(model)
    if method == "tree_shap":
        pytest.importorskip("shap", reason="shap has no wheel here")
        wrapped = forest(model)
    x = ROWS if method == "feature_permutation" else x
    target = 1 if model == "three classes" else None
    if method == "tree_shap" and model == "three classes":
        target = 2
    e = explain(wrapped, x, method, target=target, **OF_TABLES[method])
    if method != "tree_shap":
        check(e, model, len(x))
    assert e.values.shape == x.shape
    size = np.abs(e.values)
    assert (size.max(axis=1) > 1e-3).all() or method == "feature_permutation"
    if method == "feature_permutation":
        size = size.mean(axis=0, keepdims=True)
    assert (size.argmax(axis=1) == 0).all()
