"""Tables: Shapley values through pipelines, shuffled columns, trees, importance over a data set."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from pellucid import Explainer, Explanation, explain, wrap
from pellucid.effects import partial_dependence
from pellucid.errors import CapabilityError, InputError, MethodError

rng = np.random.default_rng(5)
N = 60
X = rng.normal(size=(N, 4))
NUMBERS = X @ [2.0, -1.0, 0.5, 0.0] + X[:, 0] * X[:, 1]
CLASSES = np.digitize(NUMBERS, [-1.0, 1.0])
WARD = rng.choice(["east", "north", "west"], N)


def mixed():
    table = pandas.DataFrame(X[:, :2], columns=["age", "dose"]).assign(ward=WARD)
    table.loc[3, "age"] = np.nan
    return table


def pipeline():
    encode = make_column_transformer((OneHotEncoder(), ["ward"]), remainder="passthrough")
    table = mixed().fillna({"age": 0.0})
    return make_pipeline(encode, LinearRegression()).fit(table, NUMBERS), table


# Shapley values of columns that are no numbers


def test_shapley_values_of_words_through_a_pipeline_are_exact():
    """A linear model of one-hot words: φ_ward = w[ward_i] − mean w[ward_b], by hand."""
    model, table = pipeline()
    x, background = table.iloc[:5], table.iloc[20:32]
    for method in ("exact_shapley", "kernel_shap"):
        e = explain(model, x, method, background=background)
        weights = dict(zip(["east", "north", "west"], model[-1].coef_[:3], strict=True))
        of_words = [weights[w] for w in x["ward"]]
        mean = np.mean([weights[w] for w in background["ward"]])
        np.testing.assert_allclose(e.values[:, 2], of_words - mean, atol=1e-5)
        ages = x["age"] - background["age"].mean()
        np.testing.assert_allclose(e.values[:, 0], model[-1].coef_[3] * ages, atol=1e-5)
        assert float(e.gap.max()) < 1e-4
        assert x["ward"].iloc[0] in str(e.top(3))


def test_a_background_in_another_order_is_found_by_name_and_an_array_by_place():
    model, table = pipeline()
    x = table.iloc[:3]
    e = explain(model, x, "exact_shapley", background=table)
    turned = explain(model, x, "exact_shapley", background=table[["ward", "dose", "age"]])
    np.testing.assert_array_equal(e.values, turned.values)
    with pytest.raises(InputError, match=r"no column 'ward'"):
        explain(model, x, "exact_shapley", background=table[["age", "dose"]])
    with pytest.raises(InputError, match=r"'ward' holds categories"):
        explain(model, x, "kernel_shap")  # no background, and zero is no ward
    with pytest.raises(InputError, match=r"'ward' is a category"):
        explain(model, x, "kernel_shap", background=np.zeros((4, 3)))
    numbers = table[["age", "dose"]]
    f = LinearRegression().fit(numbers, NUMBERS)
    of_frame = explain(f, numbers[:3], "exact_shapley", background=numbers)
    of_array = explain(f, numbers[:3], "exact_shapley", background=numbers.to_numpy())
    np.testing.assert_array_equal(of_frame.values, of_array.values)


# Shuffled columns


def test_shuffling_agrees_with_scikit_learn():
    """Both estimate the same drop of the score; equal within their standard errors."""
    names = ["a", "b", "c", "d"]
    table = pandas.DataFrame(X, columns=names)
    for model, labels in (
        (LinearRegression().fit(table, NUMBERS), NUMBERS),
        (RandomForestClassifier(20, random_state=0).fit(table, CLASSES), CLASSES),
    ):
        e = explain(model, table, "feature_permutation", labels=labels, repeats=30)
        peer = permutation_importance(model, table, labels, n_repeats=30, random_state=0)
        found, error = e.extras["importance"], e.extras["importance_stderr"]
        apart = np.hypot(error, peer.importances_std / np.sqrt(30))
        assert (np.abs(found - peer.importances_mean) <= 4 * apart + 1e-6).all()
        np.testing.assert_allclose(e.values.mean(axis=0), found, atol=1e-6)
        assert e.evaluations.forward == N * (1 + 4 * 30)


def test_a_shuffle_is_what_it_says():
    """One repeat by hand, with the orders drawn as documented."""
    model = LinearRegression().fit(X, NUMBERS)
    orders = np.random.default_rng([7, 11])
    orders = [orders.permutation(N) for _ in range(2)]
    e = explain(model, X, "feature_permutation", labels=NUMBERS, repeats=2, seed=7)
    drops = []
    for order in orders:
        shuffled = X.copy()
        shuffled[:, 1] = X[order, 1]
        drops.append(
            r2_score(NUMBERS, model.predict(X)) - r2_score(NUMBERS, model.predict(shuffled))
        )
    assert e.extras["importance"][1] == pytest.approx(np.mean(drops), rel=1e-4)
    assert e.extras["importance_stderr"][1] == pytest.approx(
        np.std(drops, ddof=1) / np.sqrt(2), rel=1e-3
    )
    unlabelled = explain(model, X, "feature_permutation", repeats=2, seed=7)
    change = [np.abs(model.coef_[1] * (X[order, 1] - X[:, 1])) for order in orders]
    np.testing.assert_allclose(unlabelled.values[:, 1], np.mean(change, axis=0), rtol=1e-4)


def test_the_standard_error_over_shuffles_is_calibrated():
    """A donor is every row equally often, so the truth is the mean over all pairs of rows."""
    x, y = X[:20], NUMBERS[:20]
    model = LinearRegression().fit(x, y)
    off = model.predict(x) - y
    moved = off[:, None] + model.coef_[1] * (x[None, :, 1] - x[:, None, 1])
    truth = (moved**2 - off[:, None] ** 2).mean()
    covered = 0
    for seed in range(200):
        e = explain(
            model, x, "feature_permutation", labels=y, loss="squared", repeats=20, seed=seed,
            features=[[1]],
        )  # fmt: skip
        found, error = e.extras["importance"][0], e.extras["importance_stderr"][0]
        covered += abs(found - truth) <= 1.96 * error
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_boosted_models_as_plain_functions_and_several_methods_at_once(package):
    module = pytest.importorskip(package, reason=f"{package} is no dependency of pellucid's tests")
    table = pandas.DataFrame(X, columns=list("abcd"))
    quiet = {"verbosity": -1} if package == "lightgbm" else {}
    name = "LGBMClassifier" if package == "lightgbm" else "XGBClassifier"
    model = getattr(module, name)(n_estimators=5, max_depth=2, **quiet).fit(table, CLASSES)
    explainer = Explainer(
        model.predict_proba,
        [
            ("exact_shapley", {"background": table[30:45]}),
            ("kernel_shap", {"background": table[30:45]}),
            ("occlusion", {"baseline": table[:1]}),
        ],
        target=1,
    )
    found = explainer.compare(table[:4])
    assert not found.failures
    np.testing.assert_allclose(
        found["kernel_shap"].values, found["exact_shapley"].values, atol=1e-6
    )
    np.testing.assert_allclose(found["occlusion"].score, model.predict_proba(table[:4])[:, 1])
    assert found["occlusion"].parts[0].feature_names == tuple("abcd")


def test_losses_labels_and_groups():
    words = np.array(["low", "mid", "high"])[CLASSES]
    model = wrap(LogisticRegression().fit(X, words))
    by_name = explain(model, X, "feature_permutation", labels=words, seed=1)
    known = {name: i for i, name in enumerate(model.class_names)}
    numbers = [known[word] for word in words]
    by_number = explain(model, X, "feature_permutation", labels=numbers, seed=1)
    np.testing.assert_array_equal(by_name.values, by_number.values)
    assert by_name.parameters["loss"] == "error"
    log = explain(model, X, "feature_permutation", labels=words, loss="log", seed=1)

    def own(outputs, labels):
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        p = powers / powers.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(labels)), labels])

    same = explain(model, X, "feature_permutation", labels=words, loss=own, seed=1)
    np.testing.assert_allclose(log.values, same.values, atol=1e-5)
    grouped = explain(model, X, "feature_permutation", labels=words, features=[[0, 1], [2]], seed=1)
    assert grouped.extras["importance"].shape == (3,)
    np.testing.assert_array_equal(grouped.values[:, 0], grouped.values[:, 1])
    np.testing.assert_allclose(
        grouped.values[:, :2].sum(axis=1).mean(), grouped.extras["importance"][0], atol=1e-6
    )
    least = explain(model, X, "feature_permutation", labels=words, budget=9)
    assert least.parameters["repeats"] == 2


def test_shuffles_find_the_mean_over_all_pairs_of_rows():
    """Fisher, Rudin, Dominici 2019, eq. 3.3: what shuffling comes to, with every row as donor."""
    words = np.array(["low", "mid", "high"])[CLASSES]
    fitted = LogisticRegression().fit(X, words)
    wrong = 1 - accuracy_score(words, fitted.predict(X))
    truth = []
    for column in range(X.shape[1]):
        pairs = np.repeat(X, len(X), axis=0)
        pairs[:, column] = np.tile(X[:, column], len(X))
        truth.append(np.mean(fitted.predict(pairs) != np.repeat(words, len(X))) - wrong)
    e = explain(fitted, X, "feature_permutation", labels=words, repeats=60, seed=1)
    found, error = e.extras["importance"], e.extras["importance_stderr"]
    assert (np.abs(found - truth) <= 3.5 * error).all()
    assert (error < 0.01).all()
    assert max(truth) > 0.1, "shuffling costs something here"


def test_shuffles_refuse_what_has_no_meaning():
    model = LinearRegression().fit(X, NUMBERS)

    def shuffle(m=model, x=X, **given):
        return explain(m, x, "feature_permutation", **given)

    with pytest.raises(MethodError, match="2 rows or more"):
        shuffle(x=X[:1])
    with pytest.raises(MethodError, match="2 shuffles"):
        shuffle(budget=8)
    with pytest.raises(MethodError, match="needs labels"):
        shuffle(loss="squared")
    with pytest.raises(MethodError, match="one for each row"):
        shuffle(labels=NUMBERS[:5])
    with pytest.raises(MethodError, match="finite numbers"):
        shuffle(labels=np.full(N, np.nan))
    with pytest.raises(MethodError, match="variance"):
        shuffle(labels=np.ones(N))
    with pytest.raises(MethodError, match="one of error, log, r2"):
        shuffle(labels=NUMBERS, loss="mse")
    with pytest.raises(MethodError, match="logit or a probability"):
        shuffle(labels=CLASSES > 0, loss="error")
    classes = RandomForestClassifier(3).fit(X, CLASSES)
    with pytest.raises(MethodError, match="class numbers from 0 to 2"):
        shuffle(classes, labels=CLASSES + 5)
    with pytest.raises(CapabilityError, match="kinds table"):
        explain(lambda x: x.mean(axis=(1, 2)), np.zeros((2, 8, 8, 3)), "feature_permutation")


# Trees


def trees():
    import lightgbm
    import xgboost

    binary = (CLASSES > 1).astype(int)
    small = {"n_estimators": 6, "max_depth": 3}
    return {
        "xgboost binary": xgboost.XGBClassifier(**small).fit(X, binary),
        "xgboost classes": xgboost.XGBClassifier(**small).fit(X, CLASSES),
        "xgboost numbers": xgboost.XGBRegressor(**small).fit(X, NUMBERS),
        "lightgbm binary": lightgbm.LGBMClassifier(**small, verbosity=-1).fit(X, binary),
        "lightgbm classes": lightgbm.LGBMClassifier(**small, verbosity=-1).fit(X, CLASSES),
        "lightgbm numbers": lightgbm.LGBMRegressor(**small, verbosity=-1).fit(X, NUMBERS),
        "forest": RandomForestClassifier(6, max_depth=4, random_state=0).fit(X, CLASSES),
        "boosted": GradientBoostingClassifier(n_estimators=6).fit(X, binary),
        "histogram": HistGradientBoostingRegressor(max_iter=6, min_samples_leaf=5).fit(X, NUMBERS),
    }


SHAP_WARNS = pytest.mark.filterwarnings("ignore::Warning:shap.*", "ignore::Warning:numba.*")


@SHAP_WARNS
@pytest.mark.parametrize("name", list(trees()))
def test_trees_add_up_and_agree_with_exact_shapley_values(name, tmp_path):
    pytest.importorskip("shap", reason="shap has no wheel here")
    model = trees()[name]
    several = "classes" in name or name == "forest"
    target = 1 if several else None
    e = explain(model, X[:6], "tree_shap", target=target)
    assert float(e.gap.max()) < 1e-3
    assert e.evaluations.forward == 6
    saved = Explanation.load(e.save(tmp_path / "trees.zarr"))
    assert str(saved.extras["source"]) == str(e.extras["source"])
    background = X[10:30]
    e = explain(model, X[:6], "tree_shap", target=target, background=background)
    truth = explain(model, X[:6], "exact_shapley", target=target, background=background)
    scale = np.abs(truth.values).max()
    np.testing.assert_allclose(e.values, truth.values, atol=2e-5 * max(scale, 1))
    np.testing.assert_allclose(e.baseline_score, truth.baseline_score, atol=1e-4 * max(scale, 1))
    if several:
        pair = explain(model, X[:6], "tree_shap", target=(1, 2), background=background)
        other = explain(model, X[:6], "tree_shap", target=2, background=background)
        np.testing.assert_allclose(pair.values, e.values - other.values, atol=1e-5)


@SHAP_WARNS
def test_trees_refuse_what_they_do_not_explain():
    known = trees()
    with pytest.raises(CapabilityError, match="explain another number"):
        explain(wrap(known["xgboost binary"], output="probability"), X[:3], "tree_shap")
    with pytest.raises(CapabilityError, match="kernel_shap"):
        explain(LogisticRegression().fit(X, CLASSES), X[:3], "tree_shap")
    with pytest.raises(CapabilityError, match="callable model has none"):
        explain(lambda x: x.sum(axis=1), X[:3], "tree_shap")
    piped = make_pipeline(PCA(), RandomForestClassifier(3)).fit(X, CLASSES)
    with pytest.raises(CapabilityError, match="trees of this pipeline"):
        explain(piped, X[:3], "tree_shap")
    with pytest.raises(CapabilityError, match="another number"):
        explain(IsolationForest(n_estimators=5).fit(X), X[:3], "tree_shap")
    with pytest.raises(CapabilityError, match="not a function of them"):
        explain(known["forest"], X[:3], "tree_shap", target=lambda out: out[:, 0])


def test_trees_without_shap_say_what_to_install(monkeypatch):
    import sys

    from pellucid.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[shap\]"):
        explain(trees()["forest"], X[:3], "tree_shap")
    assert explain(trees()["xgboost numbers"], X[:3], "tree_shap").values.shape == (3, 4)


# Importance over a data set


def test_importance_is_the_mean_strength_and_its_intervals_hold():
    """95 % intervals of E|a| over 200 samples of a known law cover it 95 % of the time."""
    e = explain(LinearRegression().fit(X, NUMBERS), X, "occlusion")
    found = e.importance()
    means = np.abs(e.values).mean(axis=0)
    assert [r[0] for r in found] == [f"feature {i}" for i in np.argsort(-means)]
    np.testing.assert_allclose([r[1] for r in found], np.sort(means)[::-1], rtol=1e-6)
    assert all(low <= mean <= high for _, mean, low, high in found)
    assert e.importance(seed=0).rows == found.rows != e.importance(seed=1).rows
    truth, covered = np.sqrt(2 / np.pi), 0  # E|z| of a standard normal, and a_i = x_i
    for trial in range(200):
        x = np.random.default_rng([trial]).normal(size=(80, 1)).astype(np.float32)
        one = explain(lambda t: t[:, 0], x, "occlusion").importance(draws=400, seed=trial)
        covered += one.rows[0][2] <= truth <= one.rows[0][3]
    assert 0.90 <= covered / 200 <= 0.99
    assert "95% interval" in str(found)
    assert "<caption>over 60 samples" in found._repr_html_()
    assert len(found.top(2)) == 2


def test_importance_refuses():
    e = explain(lambda x: x.sum(axis=1), X, "occlusion")
    with pytest.raises(InputError, match="level"):
        e.importance(level=2.0)
    with pytest.raises(InputError, match="2 or more"):
        e[0].importance()
    picture = explain(lambda x: x.mean(axis=(1, 2)), np.ones((2, 8, 8, 1)), "occlusion", target=0)
    with pytest.raises(InputError, match="columns of a table"):
        picture.importance()


def test_what_is_of_the_whole_batch_is_not_cut_up(tmp_path):
    """Three columns and three rows: the length does not say which axis it is."""
    e = explain(lambda z: z @ np.ones(3), X[:3, :3], "feature_permutation", repeats=3)
    assert set(e.shared_extras) == {"importance", "importance_stderr"}
    saved = Explanation.load(e.save(tmp_path / "e.zarr"))
    for whole in (e, saved):
        np.testing.assert_array_equal(whole[1].extras["importance"], e.extras["importance"])
    units = explain(lambda z: z @ np.ones(3), X[:2, :3], "exact_shapley", features={"pair": [0, 2]})
    assert units.extras["unit_names"].tolist() == ["pair", "feature 1"]
    saved = Explanation.load(units.save(tmp_path / "units.zarr"))
    assert saved[1].extras["unit_names"].tolist() == ["pair", "feature 1"]
    np.testing.assert_array_equal(saved[1].extras["unit_values"], units.extras["unit_values"][1:])


def test_importance_asks_the_method_what_its_values_are():
    x = X[:20, :3]
    lost = explain(lambda z: z @ np.ones(3), x, "feature_permutation", repeats=3)
    assert lost.importance().statistic == "mean a"
    named = replace(explain(lambda z: z @ np.ones(3), x, "occlusion"), extras={"importance": x})
    assert named.importance().statistic == "mean |a|"


def test_slips_are_explained_not_raised_raw():
    x = X[:4, :3]

    def f(z):
        return z.sum(axis=1)

    with pytest.raises(InputError, match="No sample True"):
        explain(f, x, "occlusion").top(2, sample=True)
    with pytest.raises(InputError, match="two columns, got 1"):
        partial_dependence(f, x, (0, 1), grid=[[0.0, 1.0]])
    assert partial_dependence(f, x, (0, 1), grid=np.int64(3)).values.shape == (3, 3)
    with pytest.raises(InputError, match="is empty"):
        explain(f, x, "exact_shapley", features={"a": [0], "b": []})
    with pytest.raises(InputError, match="No column True"):
        explain(f, x, "exact_shapley", features=[[True], [0]])
    with pytest.raises(InputError, match="No column 7"):
        explain(f, x, "exact_shapley", features=[[0, 7]])
