"""The method surrogate_tree: what it says of a row is the way of that row through an own tree."""

from itertools import pairwise

import numpy as np
import pandas
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeRegressor

import pellucid
from pellucid import explain
from pellucid.errors import CapabilityError, InputError, MethodError
from pellucid.inputs.summaries import WeightedRows
from pellucid.methods.inside.fidelity import split
from pellucid.methods.inside.imitation import Examples
from pellucid.testing import build, check_method

rng = np.random.default_rng(5)
ROWS = rng.normal(size=(300, 4))
X = rng.normal(size=(12, 4))


def step(z):
    return np.where(z[:, 0] > 0.3, 2.0, np.where(z[:, 2] > -0.5, 1.0, -1.0))


def learned(scores, seed=0):
    """The rows of the background that a tree is grown on."""
    examples = Examples(ROWS, scores, tuple("abcd"), (None,) * 4, 0)
    return split(examples, 0.3, seed)[0]


def walked(tree, x):
    """Saabas's values by scikit-learn's own decision path: an oracle with none of our code."""
    found = np.zeros(x.shape)
    inner = tree.tree_
    for row, way in enumerate(tree.decision_path(x).toarray()):
        nodes = np.flatnonzero(way)  # numbered parents first
        for here, after in pairwise(nodes):
            found[row, inner.feature[here]] += inner.value[after, 0, 0] - inner.value[here, 0, 0]
    return found


@pytest.mark.parametrize("depth", [2, 4])
def test_values_are_those_of_the_way_through_a_tree(depth):
    def f(z):
        return np.tanh(z[:, 0]) + 2 * z[:, 1] * (z[:, 2] > 0)

    e = explain(f, X, "surrogate_tree", background=ROWS, max_depth=depth)
    rows = ROWS[learned(f(ROWS))]
    tree = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(rows, f(rows))
    np.testing.assert_allclose(e.values, walked(tree, X), atol=1e-5)
    np.testing.assert_allclose(e.extras["tree_score"], tree.predict(X), atol=1e-5)
    np.testing.assert_allclose(e.extras["root_score"], f(rows).mean(), atol=1e-5)
    np.testing.assert_allclose(
        e.values.sum(axis=1), e.extras["tree_score"] - e.extras["root_score"], atol=1e-5
    )
    assert e.gap is None, "it explains the tree: no gap to the model is claimed"
    assert e.evaluations.forward == len(X) + len(ROWS) == e.provenance["expected_rows"]


def test_it_is_the_tree_of_the_public_function():
    model, _ = build("dense", "torch")
    x = rng.normal(size=(40, build("dense", "torch")[1].shape[1])).astype(np.float32)
    whole = pellucid.inside.surrogate_tree(model, x, target=1, max_depth=3, seed=2)
    e = explain(model, x, "surrogate_tree", background=x, target=1, max_depth=3, seed=2)
    np.testing.assert_allclose(e.values, whole.contributions(x), atol=1e-5)
    np.testing.assert_allclose(e.extras["fidelity"], whole.fidelity.value, atol=1e-5)


def test_a_model_that_is_a_tree_is_imitated_exactly():
    e = explain(step, X, "surrogate_tree", background=ROWS)
    np.testing.assert_allclose(e.extras["tree_score"], step(X), atol=1e-6)
    assert (e.values[:, [1, 3]] == 0).all(), "columns it does not look at"
    np.testing.assert_allclose(e.extras["fidelity"], 1)
    assert not e.warnings


def test_a_tree_that_is_not_the_model_says_so():
    e = explain(
        lambda z: np.sin(9 * z).prod(axis=1), X, "surrogate_tree", background=ROWS, max_depth=2
    )
    assert (e.extras["fidelity"] < 0.2).all()
    assert len(e.warnings) == 1
    assert "one and the same answer" in e.warnings[0]
    low = explain(lambda z: z @ np.ones(4), X, "surrogate_tree", background=ROWS, max_depth=1)
    assert "misses more than half" in low.warnings[0]


def test_each_target_has_its_tree():
    """Of the predicted classes each sample has the tree of its own, whoever is beside it."""
    outputs = np.array([[2.0, -1, 0.5], [0, 1, -1], [1, 0, 2], [0, 0, 1]])
    e = explain(lambda z: np.tanh(z @ outputs), X, "surrogate_tree", background=ROWS)
    assert len(set(e.target)) == 3
    for number in set(e.target):
        own = np.flatnonzero(e.target == number)
        alone = explain(
            lambda z: np.tanh(z @ outputs), X[own], "surrogate_tree", background=ROWS,
            target=int(number),
        )  # fmt: skip
        np.testing.assert_array_equal(e.values[own], alone.values)
        for name in ("fidelity", "tree_score", "root_score"):
            np.testing.assert_array_equal(e.extras[name][own], alone.extras[name])


def test_words_and_missing_numbers_of_a_data_frame():
    jobs = np.array(["clerk", "cook", "guard"])[rng.integers(0, 3, 200)]
    table = pandas.DataFrame({"age": rng.integers(0, 9, 200) / 1.0, "job": jobs})
    table.loc[::7, "age"] = np.nan

    def f(t):
        return 3.0 * (t["job"] == "cook") + (t["age"].isna() | (t["age"] > 4))

    model = pellucid.wrap(f, missing_values=True)
    x = table[table["job"] != "guard"][:6]  # one category comes with the background alone
    e = explain(model, x, "surrogate_tree", background=table[20:])
    assert (e.extras["fidelity"] > 0.999).all()
    np.testing.assert_allclose(e.extras["tree_score"], f(x), atol=1e-6)
    assert (np.sign(e.values[:, 1]) == np.where(x["job"] == "cook", 1, -1)).all()


def test_of_a_pipeline_and_with_a_depth_of_its_own():
    forest = RandomForestClassifier(20, random_state=0).fit(ROWS, step(ROWS) > 0)
    e = explain(forest, X, "surrogate_tree", background=ROWS, max_depth="auto", target=1)
    assert np.abs(e.values[:, [0, 2]]).sum() > 20 * np.abs(e.values[:, [1, 3]]).sum()
    assert "surrogate_tree" in str(e)
    e.plot()


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax", "keras", "tensorlayer"])
def test_every_law_holds_on_every_framework(framework):
    report = check_method(
        "surrogate_tree", framework=framework,
        parameters=lambda x: {"background": rows_like(x), "max_depth": 3},
    )  # fmt: skip
    assert {"a_sample_does_not_know_its_batch", "the_seed_decides"} <= set(report.passed)


def rows_like(x):
    width = (x[0] if isinstance(x, tuple) else x).shape[1]
    return np.random.default_rng(0).normal(size=(60, width)).astype(np.float32)


def test_what_is_refused():
    def told(match, error: type[Exception] = InputError, model=step, x=X, **options):
        with pytest.raises(error, match=match):
            explain(model, x, "surrogate_tree", **{"background": ROWS, **options})

    told("background=rows", MethodError, background=None)
    told("10 rows or more, got 9", MethodError, background=ROWS[:9])
    told("max_depth to be 1", max_depth=0)
    told("max_leaves to be 2", max_leaves=1)
    told("between 0 and 1", held_out=1.0)
    told("to be a number", held_out=ROWS)
    told("nothing for a tree to imitate", model=lambda z: np.ones(len(z)))
    told("another shape", MethodError, background=ROWS[:, :3])
    told("weighted", MethodError, background=WeightedRows(ROWS, np.ones(300)))
    told("NaN", background=np.where(ROWS > 2, np.nan, ROWS))
    told("table", CapabilityError, model=lambda z: z.sum(axis=(1, 2, 3)), x=np.ones((2, 8, 8, 3)))


def test_held_out_rows_of_one_score_tell_nothing():
    rows = np.zeros((40, 2))
    rows[0] = 1.0  # drawn to be learned from by this seed
    e = explain(lambda z: z[:, 0], rows[:3], "surrogate_tree", background=rows, seed=1)
    assert np.isnan(e.extras["fidelity"]).all()
    assert e.warnings
