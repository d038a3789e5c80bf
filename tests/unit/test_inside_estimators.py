"""How estimators are built: steps and members as parts, with counts that the libraries give too."""

import numpy as np
import pandas
import pytest
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from pellucid.inside import Structure, inspect

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 5))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
TABLE = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": RNG.choice(["x", "y", "z"], 150)})


def named(found: Structure) -> dict[str, tuple[str, int | None]]:
    return {e.path: (e.kind, e.parameters) for e in found.layers}


def arrows(found: Structure) -> set[tuple[str, str]]:
    return {(found.nodes[a].name, found.nodes[b].name) for a, b in found.edges}


def test_a_pipeline_is_its_steps_in_their_order():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("num", numbers, ["a", "b"]), ("cat", OneHotEncoder(), ["c"])])
    boosting = GradientBoostingClassifier(n_estimators=7)
    fitted = Pipeline([("prep", columns), ("model", boosting)]).fit(TABLE, Y)
    found = inspect(fitted, TABLE)
    leaves = sum(tree.get_n_leaves() for tree in boosting.estimators_.ravel())
    assert list(named(found)) == [
        "prep", "prep/num", "prep/num/simpleimputer", "prep/num/standardscaler", "prep/cat", "model"
    ]  # fmt: skip
    assert found.parameters == 2 * leaves - 7
    model = found.layers[-1]
    assert model.detail.startswith(f"7 trees, {leaves:,} leaves, up to 3 deep")
    assert found.layers[4].shape == (None, 3)
    assert arrows(found) == {
        ("input", "prep/num/simpleimputer"), ("input", "prep/cat"),
        ("prep/num/simpleimputer", "prep/num/standardscaler"),
        ("prep/num/standardscaler", "model"), ("prep/cat", "model"), ("model", "output"),
    }  # fmt: skip
    assert found.multiply_adds is None
    assert "model of trees" in found.sentences[0]
    assert "nothing inside" not in str(found)
    assert f"{leaves:,} leaves" in found.to_svg()
    assert f"{leaves:,} leaves" in found.to_html()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_mlp_is_its_layers():
    network = MLPClassifier((8, 4), max_iter=9, random_state=0).fit(X, Y)
    found = inspect(network, X)
    kinds = {e.name: (e.kind, e.multiply_adds) for e in found.layers}
    assert kinds == {
        "MLPClassifier": ("MLPClassifier", 76), "hidden 1": ("dense, relu", 40),
        "hidden 2": ("dense, relu", 32), "output": ("dense, logistic", 4),
    }  # fmt: skip
    assert found.parameters == sum(a.size for a in (*network.coefs_, *network.intercepts_))
    assert found.multiply_adds == 76
    assert "fully connected network" in found.sentences[0]


def test_members_of_an_ensemble_stand_side_by_side():
    forest, kernel = RandomForestClassifier(6, random_state=0), SVC(probability=False)
    members = [("lr", LogisticRegression()), ("rf", forest), ("svc", kernel)]
    voting = VotingClassifier(members[:2], voting="soft").fit(X, Y)
    found = inspect(voting, X)
    trees = voting.named_estimators_["rf"].estimators_
    counts = sum(t.tree_.node_count - t.get_n_leaves() + 2 * t.get_n_leaves() for t in trees)
    assert named(found)["VotingClassifier/rf"] == ("RandomForestClassifier", counts)
    assert found.parameters == counts + 6
    assert ("input", "VotingClassifier/lr") in arrows(found)
    assert ("VotingClassifier/rf", "output") in arrows(found)
    assert "ensemble of models" in found.sentences[0]
    stacked = StackingClassifier([("lr", LogisticRegression()), ("nb", GaussianNB())]).fit(X, Y)
    assert ("StackingClassifier/nb", "StackingClassifier/final") in arrows(inspect(stacked, X))
    bagged = inspect(BaggingClassifier(LogisticRegression(), 20).fit(X, Y), X)
    assert [(e.detail, e.parameters) for e in bagged.layers] == [("20 × LogisticRegression", 120)]


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (KNeighborsClassifier(3), "3 neighbours of 150 rows"),
        (SVC(), "support vectors"),
        (SVC(kernel="linear"), "5 coefficients"),
        (GaussianNB(), "20 numbers by class"),
        (HistGradientBoostingRegressor(max_iter=4), "4 trees"),
        (GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3]}, cv=2), "3 neighbours"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_an_estimator_has_learned_is_said(estimator, words: str):
    found = inspect(sklearn.base.clone(estimator).fit(X, Y), X)
    assert words in found.layers[-1].detail


@pytest.mark.parametrize("kind", [OneVsRestClassifier, BaggingClassifier])
def test_pipelines_in_an_ensemble_stay_whole(kind):
    x, y = load_iris(return_X_y=True)
    inner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    fitted = kind(inner).fit(x, y)
    found = inspect(fitted, x)
    whole = [layer for layer in found.layers if layer.kind == "Pipeline"]
    assert len(whole) == len(fitted.estimators_)


def test_boosters_of_the_libraries_own_have_their_trees():
    xgboost = pytest.importorskip("xgboost", reason="a peer of the sklearn extra")
    lightgbm = pytest.importorskip("lightgbm", reason="a peer of the sklearn extra")
    own = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 5)
    light = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, Y), 6)
    wrapped = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(X, Y)
    leaves = int((own.trees_to_dataframe()["Feature"] == "Leaf").sum())
    assert inspect(own, X).layers[0].detail == f"5 trees, {leaves} leaves"
    assert inspect(own, X).layers[0].kind == "xgboost Booster"
    table = light.trees_to_dataframe()
    leaves = int(table["split_feature"].isna().sum())
    assert inspect(light, X).layers[0].detail == f"6 trees, {leaves} leaves"
    assert inspect(light, X).parameters == 2 * leaves - 6
    assert inspect(wrapped, X).layers[0].detail.startswith("3 trees")


def test_a_method_of_a_model_says_whose_it_is():
    fitted = LogisticRegression().fit(X, Y)
    found = inspect(fitted.predict_proba, X)
    assert "It is a method of a LogisticRegression: pass that itself" in str(found)

    class Rule:
        def answers(self, x):
            return x[:, :1] > 0

    found = inspect(Rule().answers, X)
    assert "nothing inside of it can be seen" in str(found)


def test_nothing_of_a_search_is_changed():
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5]}, cv=2).fit(X, Y)
    before = sorted(vars(search))
    inspect(search, X)
    assert sorted(vars(search)) == before
