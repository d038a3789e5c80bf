"""Trees behind a pipeline's transformers, and boosters without an estimator around them."""

import numpy as np
import pandas
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from pellucid import explain, wrap
from pellucid.adapters.sklearn.pipelines import sources
from pellucid.errors import CapabilityError

pytest.importorskip("shap", reason="shap has no wheel here")
pytestmark = pytest.mark.filterwarnings("ignore::Warning:shap.*", "ignore::Warning:numba.*")

RNG = np.random.default_rng(4)
N = 160
NUMBERS = RNG.normal(size=(N, 4))
MARK = NUMBERS[:, 0] * NUMBERS[:, 1] + NUMBERS[:, 2]
CLASSES = np.digitize(MARK, [-0.5, 0.5])
TABLE = pandas.DataFrame(
    {
        "age": RNG.uniform(18, 80, N),
        "job": RNG.choice(["cook", "nurse", "pilot"], N),
        "dose": RNG.normal(size=N),
        "ward": RNG.choice(["east", "west"], N),
    }
)
TABLE.loc[::9, "age"] = np.nan
WELL = (TABLE["dose"] > 0) ^ (TABLE["job"] == "nurse") | (TABLE["age"] > 70)


def boosted(library, **options):
    if library == "xgboost":
        import xgboost

        return xgboost.XGBClassifier(n_estimators=6, max_depth=3, **options)
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=6, max_depth=3, verbosity=-1, **options)


def model_of(name):
    if name in {"xgboost", "lightgbm"}:
        return boosted(name)
    return {
        "forest": RandomForestClassifier(6, max_depth=4, random_state=0),
        "histogram": HistGradientBoostingClassifier(max_iter=6, min_samples_leaf=5),
    }[name]


@pytest.mark.parametrize("name", ["forest", "histogram", "xgboost", "lightgbm"])
@pytest.mark.parametrize("scaler", [StandardScaler, QuantileTransformer], ids=lambda c: c.__name__)
def test_scaled_columns_have_the_exact_values_of_the_tables_own(name, scaler):
    options = {"n_quantiles": 20} if scaler is QuantileTransformer else {}
    binary = (CLASSES > 1).astype(int)
    pipeline = make_pipeline(SimpleImputer(), scaler(**options), model_of(name))
    pipeline.fit(NUMBERS, binary)
    x, background = NUMBERS[:5], NUMBERS[20:40]
    target = 1 if name == "forest" else None
    e = explain(pipeline, x, "tree_shap", background=background, target=target)
    truth = explain(pipeline, x, "exact_shapley", background=background, target=target)
    scale = max(float(np.abs(truth.values).max()), 1)
    np.testing.assert_allclose(e.values, truth.values, atol=3e-5 * scale)
    np.testing.assert_allclose(e.baseline_score, truth.baseline_score, atol=1e-4 * scale)
    alone = explain(pipeline, x, "tree_shap", target=target)
    assert float(alone.gap.max()) < 1e-3
    assert alone.values.shape == x.shape


def encoder(words):
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return ColumnTransformer([("n", numbers, ["age", "dose"]), ("w", words, ["job", "ward"])])


def test_ordinal_words_and_missing_numbers_are_exact():
    pipeline = make_pipeline(
        encoder(OrdinalEncoder()), RandomForestClassifier(8, max_depth=5, random_state=0)
    ).fit(TABLE, WELL)
    x, background = TABLE[:6], TABLE[30:50].dropna()
    e = explain(pipeline, x, "tree_shap", target="True", background=background)
    truth = explain(pipeline, x, "exact_shapley", target="True", background=background)
    assert [name for name, *_ in e.top(4)] == [name for name, *_ in truth.top(4)]
    # The mark that a number was missing comes and goes by itself here, with its number there.
    has = np.flatnonzero(x["age"].notna())
    np.testing.assert_allclose(e.values[has], truth.values[has], atol=2e-5)
    assert float(e.gap.max()) < 1e-3
    assert "summed" in str(e.extras["source"])


@pytest.mark.parametrize("name", ["forest", "histogram", "xgboost", "lightgbm"])
def test_one_hot_columns_are_summed_back(name):
    words = OneHotEncoder(sparse_output=False)
    pipeline = make_pipeline(encoder(words), model_of(name)).fit(TABLE, WELL)
    target = "True" if name == "forest" else None
    x = TABLE[:7]
    e = explain(pipeline, x, "tree_shap", target=target)
    assert e.values.shape == (7, 4)
    assert e.parts[0].feature_names == ("age", "job", "dose", "ward")
    assert float(e.gap.max()) < 1e-3
    columns = pipeline[:-1].transform(x)
    inner = explain(pipeline[-1], columns, "tree_shap", target=1 if name == "forest" else None)
    owners = [0, 2, 0, 1, 1, 1, 3, 3]  # age, dose, was age missing; three jobs, two wards
    assert sources([pipeline[0]], 4).tolist() == owners
    for column in range(4):
        own = [i for i, owner in enumerate(owners) if owner == column]
        np.testing.assert_allclose(e.values[:, column], inner.values[:, own].sum(1), atol=1e-5)


def test_a_search_and_a_pipeline_within_a_pipeline():
    pipeline = make_pipeline(make_pipeline(StandardScaler(), boosted("xgboost")))
    search = GridSearchCV(pipeline, {"pipeline__xgbclassifier__max_depth": [2]}, cv=2)
    search.fit(NUMBERS, (CLASSES > 0).astype(int))
    e = explain(search, NUMBERS[:4], "tree_shap")
    assert e.explained == "logit"
    assert float(e.gap.max()) < 1e-3


COLUMNS = {
    "names": (make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough"),
              [1, 1, 1, 0, 2, 3]),
    "numbers, a slice": (ColumnTransformer([("a", OrdinalEncoder(), [3]),
                                            ("b", "passthrough", slice(0, 2))]), [3, 0, 1]),
    "a mask": (ColumnTransformer([("a", "passthrough", [True, False, True, False])]), [0, 2]),
    "names in a slice": (ColumnTransformer([("a", "passthrough", slice("job", "dose"))]), [1, 2]),
    "dropped": (ColumnTransformer([("a", "drop", ["age"]), ("b", OneHotEncoder(drop="first"),
                                                            ["ward", "job"])]), [3, 1, 1]),
    "rare": (ColumnTransformer([("a", OneHotEncoder(max_categories=2), ["job"])]), [1, 1]),
    "bins": (ColumnTransformer([("a", KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
                                 ["dose"])]), [2, 2, 2]),
    "splines": (ColumnTransformer([("a", SplineTransformer(3, degree=2), ["dose"])]), [2] * 4),
    "target": (ColumnTransformer([("a", TargetEncoder(target_type="binary"), ["job"])]), [1]),
    "union": (ColumnTransformer([("a", FeatureUnion([("one", StandardScaler()),
                                                     ("two", VarianceThreshold())]),
                                  ["dose"])]), [2, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_where_columns_come_from(name):
    transformer, expected = COLUMNS[name]
    transformer.fit(TABLE, WELL)
    assert sources([transformer], 4).tolist() == expected
    made = transformer.transform(TABLE)
    made = np.asarray(made.toarray() if hasattr(made, "toarray") else made)
    assert made.shape[1] == len(expected)
    # What moves with a column is what is said to come from it.
    for column, other in enumerate(TABLE.columns):
        swapped = TABLE.copy()
        swapped[other] = TABLE[other].to_numpy()[::-1]
        again = transformer.transform(swapped)
        again = np.asarray(again.toarray() if hasattr(again, "toarray") else again)
        same = [
            pandas.Series(made[:, i]).equals(pandas.Series(again[:, i]))
            for i in range(len(expected))
        ]
        assert [not s for s in same] == [owner == column for owner in expected]


@pytest.mark.parametrize(
    "mixing",
    [
        PCA(2),
        PolynomialFeatures(2),
        FunctionTransformer(np.abs),
    ],
    ids=lambda t: type(t).__name__,
)
def test_what_mixes_columns_is_refused_with_advice(mixing):
    pipeline = make_pipeline(StandardScaler(), mixing, GradientBoostingRegressor(n_estimators=3))
    pipeline.fit(NUMBERS, MARK)
    with pytest.raises(CapabilityError, match=type(mixing).__name__) as refused:
        explain(pipeline, NUMBERS[:2], "tree_shap")
    assert "pipeline[:-1].transform(x)" in str(refused.value)
    assert "kernel_shap" in str(refused.value)


def test_selected_columns_leave_the_others_nothing():
    pipeline = make_pipeline(
        SelectKBest(f_regression, k=2), GradientBoostingRegressor(n_estimators=5)
    )
    pipeline.fit(NUMBERS, MARK)
    e = explain(pipeline, NUMBERS[:3], "tree_shap")
    dropped = ~pipeline[0].get_support()
    assert (e.values[:, dropped] == 0).all()
    assert (e.values[:, ~dropped] != 0).all()
    assert float(e.gap.max()) < 1e-3


# Boosters


def booster(library, kind):
    labels = {"binary": (CLASSES > 1).astype(int), "classes": CLASSES, "numbers": MARK}[kind]
    table = pandas.DataFrame(NUMBERS, columns=["a", "b", "c", "d"])
    if library == "xgboost":
        import xgboost

        objective = {"binary": "binary:logistic", "classes": "multi:softmax",
                     "numbers": "reg:squarederror"}[kind]  # fmt: skip
        options = {"objective": objective, "max_depth": 3}
        options |= {"num_class": 3} if kind == "classes" else {}
        return xgboost.train(options, xgboost.DMatrix(table, labels), num_boost_round=6)
    import lightgbm

    objective = {"binary": "binary", "classes": "multiclass", "numbers": "regression"}[kind]
    options = {"objective": objective, "max_depth": 3, "verbosity": -1}
    options |= {"num_class": 3} if kind == "classes" else {}
    return lightgbm.train(options, lightgbm.Dataset(table, labels), num_boost_round=6)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("kind", ["binary", "classes", "numbers"])
def test_a_librarys_own_booster_is_a_model(library, kind):
    native = booster(library, kind)
    model = wrap(native)
    assert model.framework == "sklearn"
    assert model.feature_names == ("a", "b", "c", "d")
    table = pandas.DataFrame(NUMBERS[:5], columns=["a", "b", "c", "d"])
    target = 2 if kind == "classes" else None
    e = explain(model, table, "tree_shap", target=target)
    assert e.explained == {"binary": "logit", "classes": "logit", "numbers": "output"}[kind]
    assert float(e.gap.max()) < 1e-3
    background = NUMBERS[20:32]
    if (library, kind) == ("lightgbm", "classes"):
        with pytest.raises(CapabilityError, match="several classes of LightGBM's own booster"):
            explain(model, NUMBERS[:5], "tree_shap", background=background, target=target)
        return
    exact = explain(model, NUMBERS[:5], "exact_shapley", background=background, target=target)
    found = explain(model, NUMBERS[:5], "tree_shap", background=background, target=target)
    np.testing.assert_allclose(found.values, exact.values, atol=5e-5)
    if kind != "numbers":
        shown = model.predict(table)
        assert ((shown >= 0) & (shown <= 1)).all(), "probabilities"
        if kind == "classes":
            np.testing.assert_allclose(shown.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_booster_of_an_array_takes_arrays(library):
    import lightgbm
    import xgboost

    if library == "xgboost":
        native = xgboost.train({"max_depth": 2}, xgboost.DMatrix(NUMBERS, MARK), 4)
    else:
        native = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(NUMBERS, MARK), 4)
    e = explain(native, NUMBERS[:3], "tree_shap")
    assert float(e.gap.max()) < 1e-3
    assert wrap(native).fingerprint() == wrap(native).fingerprint()
