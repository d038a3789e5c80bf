"""Tables with missing values, for the models that take them."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pellucid import explain, wrap
from pellucid.errors import InputError, ModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))
X[RNG.random(X.shape) < 0.15] = np.nan
Y = (np.nan_to_num(X[:, 0], nan=2.0) + np.nan_to_num(X[:, 1]) > 0).astype(int)
SAMPLED = {
    "occlusion": {},
    "kernel_shap": {"background": X[:20]},
    "lime": {"background": X, "budget": 400},
    "rise": {"budget": 60},
    "sobol": {"budget": 70},
    "hsic": {"budget": 60},
}


def boosted(library: str):
    if library == "sklearn":
        return HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(X, Y)
    if library == "regressor":
        return HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(X, Y + X[:, 2] * 0)
    if library == "pipeline":
        return make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, Y)
    package = pytest.importorskip(library, reason=f"{library} is an optional peer")
    name = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}[library]
    quiet = {"verbosity": -1} if library == "lightgbm" else {}
    return getattr(package, name)(n_estimators=20, **quiet).fit(X, Y)


@pytest.mark.parametrize("method", list(SAMPLED))
@pytest.mark.parametrize("library", ["sklearn", "pipeline", "xgboost", "lightgbm"])
def test_models_that_take_missing_values_are_explained_with_them(library, method):
    rows = X[np.isnan(X).any(axis=1)][:6]
    e = explain(boosted(library), rows, method, **SAMPLED[method])
    assert np.isfinite(e.values).all()
    assert np.isnan(e.inputs).sum() == np.isnan(rows).sum()
    assert np.abs(e.values[:, :2]).sum() > np.abs(e.values[:, 3:]).sum()


def test_being_missing_is_a_bin_of_its_own_for_lime():
    """The model looks at nothing but whether column 0 is there: the step is exactly 2."""
    model = wrap(lambda z: 2.0 * np.isnan(z[:, 0]), missing_values=True)
    e = explain(model, [[np.nan, 1, 1, 1, 1], [0, 1, 1, 1, 1]], "lime", background=X)
    assert e.extras["conditions"][0, 0] == "feature 0 is missing"
    np.testing.assert_allclose(e.values[0, 0], 2, atol=1e-6)
    assert -1.5 < e.values[1, 0] < -0.1
    assert np.abs(e.values[:, 1:]).max() < 0.1


def test_models_that_do_not_take_them_still_say_so():
    for model in (lambda z: z.sum(axis=1), wrap(boosted("sklearn"), missing_values=False)):
        with pytest.raises(InputError, match=r"missing_values=True"):
            explain(model, X[:20], "occlusion")
    fitted = LogisticRegression().fit(np.nan_to_num(X), Y)
    with pytest.raises(ModelError, match=r"NaN"):
        explain(fitted, X[:20], "occlusion")
    with pytest.raises(InputError, match=r"infinity in the rows \[1\]"):
        explain(boosted("sklearn"), [[0.0] * 5, [np.inf] * 5], "occlusion")
