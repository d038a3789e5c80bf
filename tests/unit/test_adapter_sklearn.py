"""scikit-learn estimators and pipelines: which score is explained, and tables kept as they were."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from pellucid import explain, methods, wrap
from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, InputError

pandas = pytest.importorskip("pandas", reason="data frames are pandas's")
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
Y = np.where(X @ [1.0, -2.0, 0.5, 0.0] > 0, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.argmax(X[:, :3], axis=1)]
NAMES = ("age", "dose", "height", "weight")


def frame(x=X):
    return pandas.DataFrame(x, columns=list(NAMES))


# Which score


def test_a_binary_classifier_is_explained_by_its_one_decision():
    estimator = LogisticRegression().fit(X, Y)
    model = wrap(estimator)
    assert (model.framework, model.supports) == ("sklearn", Tier.CALLABLE)
    assert model.class_names == ("no", "yes")
    e = explain(model, X[:5], "occlusion")
    assert e.explained == "logit"
    w = estimator.coef_[0]
    np.testing.assert_allclose(e.values, w * X[:5], rtol=1e-5, atol=1e-6)  # closed form
    log_odds = np.diff(estimator.predict_log_proba(X[:5]), axis=1)[:, 0]
    np.testing.assert_allclose(e.score, log_odds, rtol=1e-5, atol=1e-6)
    against = explain(model, X[:5], "occlusion", target="no")
    np.testing.assert_allclose(against.values, -e.values, atol=1e-6)
    assert list(e.provenance["notes"]) == ["scikit-learn's decision_function"]


def test_several_classes_have_a_column_of_decisions_each():
    estimator = LogisticRegression().fit(X, THREE)
    e = explain(estimator, X[:5], "occlusion", target="c")
    assert e.explained == "logit"
    np.testing.assert_allclose(e.values, estimator.coef_[2] * X[:5], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(wrap(estimator).predict(X), estimator.predict_proba(X))


@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(9)])
def test_probabilities_are_explained_where_asked_for_or_all_there_is(estimator):
    estimator.fit(X, THREE)
    e = explain(wrap(estimator, output="probability"), X[:4], "occlusion", target="b")
    np.testing.assert_allclose(e.score, estimator.predict_proba(X[:4])[:, 1], rtol=1e-5)
    e = explain(RandomForestClassifier(9).fit(X, THREE), X[:4], "occlusion", target="b")
    assert "predict_proba" in str(e.provenance["notes"])


def test_a_decision_that_is_no_logit_is_not_called_one():
    e = explain(LinearSVC().fit(X, Y), X[:3], "occlusion")
    assert e.explained == "output"
    np.testing.assert_allclose(
        np.abs(e.score), np.abs(LinearSVC().fit(X, Y).decision_function(X[:3]))
    )


def test_decisions_between_pairs_of_classes_are_no_scores_of_classes():
    estimator = SVC(decision_function_shape="ovo").fit(X, np.digitize(X[:, 0], [-1, 0, 1]))
    assert estimator.decision_function(X[:1]).shape == (1, 6)
    with pytest.raises(CapabilityError, match="labels only"):
        wrap(estimator)


def test_regressors_outlier_detectors_and_several_outputs():
    e = explain(Ridge(1e-9).fit(X, X @ [1, 2, 3, 4]), X[:3], "occlusion")
    np.testing.assert_allclose(e.values, X[:3] * [1, 2, 3, 4], rtol=1e-5)
    two = LinearRegression().fit(X, X @ rng.normal(size=(4, 2)))
    np.testing.assert_allclose(
        explain(two, X[:3], "occlusion", target=1).values, X[:3] * two.coef_[1], rtol=1e-5
    )
    assert explain(IsolationForest(n_estimators=8).fit(X), X[:3], "occlusion").values.shape == (
        3,
        4,
    )
    both = MultiOutputClassifier(MLPClassifier((4,), max_iter=2000, tol=1e-2)).fit(
        X, np.stack([Y == "yes", X[:, 0] > 0], axis=1)
    )
    e = explain(both, X[:3], "occlusion", target=lambda outputs: outputs[1][:, 1])
    np.testing.assert_allclose(e.score, both.predict_proba(X[:3])[1][:, 1], rtol=1e-5)


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_boosted_ensembles_with_scikit_learns_interface(package):
    """Their raw score is the logit: 1 / (1 + exp(-score)) is predict_proba."""
    module = pytest.importorskip(package, reason=f"{package} is no dependency of pellucid's tests")
    quiet = {"verbosity": -1} if package == "lightgbm" else {}
    name = "LGBMClassifier" if package == "lightgbm" else "XGBClassifier"
    estimator = getattr(module, name)(n_estimators=5, max_depth=2, **quiet)
    estimator.fit(X, (Y == "yes").astype(int))
    e = explain(estimator, X[:4], "occlusion", target="1")
    assert e.explained == "logit"
    expected = estimator.predict_proba(X[:4])[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-e.score)), expected, rtol=1e-4)


# Tables


def test_data_frames_reach_an_estimator_that_was_fitted_on_one():
    """An array there makes scikit-learn warn: X does not have valid feature names."""
    estimator = LogisticRegression().fit(frame(), Y)
    expected = explain(LogisticRegression().fit(X, Y), X[:5], "occlusion").values
    for given in (frame().iloc[:5], X[:5]):
        e = explain(estimator, given, "occlusion")
        np.testing.assert_allclose(e.values, expected, rtol=1e-6)
    assert wrap(estimator).feature_names == NAMES
    assert all(name in str(e.top(4)) for name in NAMES)


def test_columns_go_by_name_not_by_place():
    estimator = LogisticRegression().fit(frame(), Y)
    expected = explain(estimator, frame().iloc[:3], "occlusion")
    shuffled = frame()[["weight", "dose", "age", "height"]].assign(extra=1.0).iloc[:3]
    found = explain(estimator, shuffled, "occlusion")
    np.testing.assert_array_equal(found.values, expected.values)
    with pytest.raises(InputError, match="no column 'dose'"):
        explain(estimator, frame()[["age", "height", "weight"]], "occlusion")


def test_pipelines_with_numbered_categories():
    table = frame().assign(ward=rng.integers(0, 3, len(X)))
    encode = ColumnTransformer(
        [("ward", OneHotEncoder(handle_unknown="ignore"), ["ward"])], remainder=StandardScaler()
    )
    pipeline = make_pipeline(encode, LogisticRegression()).fit(table, Y)
    e = explain(pipeline, table.iloc[:4], "occlusion", baseline="mean")
    np.testing.assert_allclose(np.abs(e.score), np.abs(pipeline.decision_function(table.iloc[:4])))
    assert e.values.shape == (4, 5)
    words = table.assign(ward=table["ward"].map({0: "east", 1: "west", 2: "north"}))
    spoken = make_pipeline(
        ColumnTransformer([("ward", OneHotEncoder(), ["ward"])], remainder="passthrough"),
        LogisticRegression(),
    ).fit(words, Y)
    with pytest.raises(InputError, match="'ward' holds categories"):
        explain(spoken, words.iloc[:4], "occlusion")
    e = explain(spoken, words.iloc[:4], "occlusion", baseline=words.iloc[[5]])
    np.testing.assert_allclose(np.abs(e.score), np.abs(spoken.decision_function(words.iloc[:4])))


def test_searches_calibrated_and_nested_estimators_are_estimators():
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, Y)
    assert explain(search, X[:2], "occlusion").explained == "logit"
    calibrated = CalibratedClassifierCV(LinearSVC(), cv=2).fit(X, Y)
    assert explain(calibrated, X[:2], "occlusion").values.shape == (2, 4)
    boosted = GradientBoostingClassifier(n_estimators=5).fit(X, Y)
    assert explain(boosted, X[:2], "occlusion").explained == "logit"


def test_one_row_without_a_batch_axis():
    e = explain(LogisticRegression().fit(X, Y), X[0], "occlusion")
    assert e.values.shape == (4,)


# What is refused, and what is left alone


def test_refusals_say_what_to_do():
    with pytest.raises(CapabilityError, match=r"fit\(x, y\) first"):
        wrap(LogisticRegression())
    with pytest.raises(CapabilityError, match="predicts nothing"):
        wrap(StandardScaler().fit(X))
    with pytest.raises(CapabilityError, match="needs gradients"):
        explain(LogisticRegression().fit(X, Y), X, "saliency")
    with pytest.raises(InputError, match="table of numbers"):
        explain(LogisticRegression().fit(X, Y), np.full((2, 4), "word"), "occlusion")
    table = methods(model=wrap(LogisticRegression().fit(X, Y)))
    assert "occlusion" in table.runnable
    assert "integrated_gradients" not in table.runnable


def test_nothing_of_the_estimator_or_the_table_changes():
    scaler = StandardScaler(copy=False)  # one that works in place
    pipeline = make_pipeline(scaler, LogisticRegression()).fit(X.copy(), Y)
    x, table = X[:6].copy(), frame().iloc[:6]
    before = table.copy()
    first = wrap(pipeline).fingerprint()
    explain(pipeline, x, "occlusion")
    np.testing.assert_array_equal(x, X[:6])
    explain(LogisticRegression().fit(frame(), Y), table, "occlusion")
    pandas.testing.assert_frame_equal(table, before)
    assert wrap(pipeline).fingerprint() == first
    other = make_pipeline(StandardScaler(copy=False), LogisticRegression(C=0.01)).fit(X.copy(), Y)
    assert wrap(other).fingerprint() != first


def test_a_sample_does_not_depend_on_its_batch():
    estimator = RandomForestClassifier(12, random_state=0).fit(X, THREE)
    whole = explain(estimator, X[:7], "occlusion").values
    for i in range(7):
        np.testing.assert_array_equal(
            explain(estimator, X[i : i + 1], "occlusion").values[0], whole[i]
        )
