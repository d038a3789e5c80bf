"""A small tree that imitates a model: exact for a tree, honest where it is not, safe to show."""

import importlib
import importlib.util
import json
import pkgutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pandas
import polars
import pytest
import sklearn.datasets
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import pellucid
from pellucid.errors import InputError, TargetError
from pellucid.inside import surrogate_tree
from pellucid.methods.inside.fidelity import Fidelity
from pellucid.shares import wilson

rng = np.random.default_rng(7)
N = 600
KINDS = np.array(["clerk", "sales", "guard", "driver", "cook"])
TABLE = pandas.DataFrame(
    {
        "age": rng.integers(20, 40, N),
        "hours": rng.integers(0, 12, N),
        "kind": KINDS[rng.integers(0, 5, N)],
        "noise": rng.integers(0, 6, N),
    }
)
NUMBERS = TABLE[["age", "hours", "noise"]]


def truth(table):
    kind = table["kind"].isin(["sales", "cook"]) if "kind" in table else False
    return np.where(kind, table["age"] > 29, (table["hours"] <= 4) & (table["noise"] != 3))


def splits(tree):
    """Column and threshold of every question of a fitted tree of scikit-learn."""
    there = tree.tree_.feature >= 0
    return set(
        zip(tree.tree_.feature[there], np.round(tree.tree_.threshold[there], 6), strict=True)
    )


def asked(found):
    return {
        (q.column, round(q.threshold, 6)) for n in found.nodes for q in n.questions
    }  # fmt: skip


@pytest.mark.parametrize("scaled", [False, True], ids=["tree", "pipeline"])
def test_the_tree_of_a_classification_tree_is_exact(scaled):
    """Same questions, and right on all rows that it has not seen; in the table's own units."""
    tree = DecisionTreeClassifier(random_state=0).fit(NUMBERS, truth(NUMBERS))
    model = tree
    if scaled:
        model = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
        model.fit(NUMBERS, truth(NUMBERS))
    found = surrogate_tree(model, NUMBERS, max_depth=12)
    assert found.fidelity.value == 1
    assert found.fidelity.verdict == "exact"
    assert found.fidelity.low > 0.97
    assert asked(found) == splits(tree)
    assert found.evaluations.forward == N
    np.testing.assert_array_equal(found.predict(NUMBERS), model.predict(NUMBERS).astype(str))


@pytest.mark.parametrize("scaled", [False, True], ids=["tree", "pipeline"])
def test_the_tree_of_a_regression_tree_is_exact(scaled):
    y = 3.0 * (NUMBERS["age"] > 27) + (NUMBERS["hours"] <= 5) * (1 + 2.0 * (NUMBERS["noise"] <= 2))
    tree = DecisionTreeRegressor(random_state=0).fit(NUMBERS, y)
    model = tree
    if scaled:
        model = make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0))
        model.fit(NUMBERS, y)
    found = surrogate_tree(model, NUMBERS, max_depth=12)
    assert found.kind == "regression"
    assert found.fidelity.value == pytest.approx(1, abs=1e-12)
    assert asked(found) == splits(tree)
    np.testing.assert_allclose(found.predict(NUMBERS), y, atol=1e-6)


def beyond(table, seed):
    """Rows of each column's own range and a little more, which no model has seen."""
    low, high = table.min(axis=0), table.max(axis=0)
    spread = np.random.default_rng(seed).uniform(-0.1, 1.1, size=(500, table.shape[1]))
    return (low + spread * (high - low)).astype(np.float32)


@pytest.mark.parametrize("data", ["breast_cancer", "iris", "wine"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_tree_of_a_tree_is_exact_on_data_of_real_numbers(data, depth):
    x, y = getattr(sklearn.datasets, f"load_{data}")(return_X_y=True, as_frame=True)
    tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(x, y)
    found = surrogate_tree(tree, x)
    assert found.fidelity.value == 1
    assert found.fidelity.verdict == "exact"
    assert asked(found) <= splits(tree)
    # Nodes of scikit-learn's whose branches say the same are one leaf here.
    assert len(found.leaves) <= tree.get_n_leaves()
    fresh = x.iloc[:0].reindex(range(500))
    fresh[:] = beyond(x.to_numpy(), depth)
    np.testing.assert_array_equal(found.predict(fresh), tree.predict(fresh).astype(str))
    assert "<svg" in found.to_svg()
    assert str(found)


def test_the_tree_of_a_regression_tree_is_exact_on_real_numbers():
    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(x, y)
    found = surrogate_tree(tree, x)
    assert found.fidelity.value == pytest.approx(1, abs=1e-12)
    assert asked(found) == splits(tree)
    fresh = beyond(x, 0)
    np.testing.assert_allclose(found.predict(fresh), tree.predict(fresh), rtol=1e-7)


def test_a_leaf_without_rows_says_what_the_model_says_there():
    x = np.linspace(0, 1, 40)[:, None]
    tree = DecisionTreeRegressor(max_depth=2, random_state=0).fit(x, np.round(3 * x[:, 0]))
    half = x[x[:, 0] < 0.45]
    found = surrogate_tree(tree, half)
    assert min(node.count for node in found.leaves) == 0
    np.testing.assert_allclose(found.predict(x), tree.predict(x))
    assert "<svg" in found.to_svg()
    assert found.to_html()
    chosen = surrogate_tree(tree, half, min_rows=5)  # leaves of five rows are none of its own
    assert min(node.count for node in chosen.leaves) >= 5


def test_a_tree_deeper_than_asked_for_is_imitated():
    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0).fit(x, y)
    found = surrogate_tree(tree, x, max_depth=2)
    assert max(node.depth for node in found.nodes) == 2
    assert found.fidelity.value < 1
    assert surrogate_tree(tree, x, max_depth=20).fidelity.value == 1


@pytest.mark.parametrize("library", [pandas.DataFrame, polars.DataFrame], ids=["pandas", "polars"])
def test_categories_are_asked_for_by_their_words(library):
    table = library(TABLE.to_dict("list"))

    def right(t):
        kind, age = np.array(list(t["kind"])), np.array(list(t["age"]))
        return np.isin(kind, ["sales", "cook"]) & (age > 29)

    model = pellucid.wrap(lambda t: np.eye(2)[right(t).astype(int)], class_names=["no", "yes"])
    found = surrogate_tree(model, table, max_depth=3)
    assert found.fidelity.value == 1
    assert {q.words for n in found.nodes for q in n.questions} == {(), ("cook", "sales")}
    assert found.predict(table).tolist() == np.where(right(TABLE), "yes", "no").tolist()
    row = TABLE.iloc[[5]].to_dict("records")[0]
    assert found.predict(row)[0] == ("yes" if right(TABLE)[5] else "no")
    assert "kind is" in str(found.path(table, 5))


def test_missing_numbers_have_a_side_and_missing_words_a_category():
    table = TABLE.assign(age=TABLE["age"].astype(float))
    table.loc[::7, "age"] = np.nan
    table.loc[::5, "kind"] = None
    model = lambda t: np.where(  # noqa: E731
        t["age"].isna(), 5.0, np.where(t["kind"].isna(), 2.0, (t["age"] > 30) * 1.0)
    )
    found = surrogate_tree(pellucid.wrap(model, missing_values=True), table, max_depth=4)
    assert found.fidelity.value == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found.predict(table), model(table), atol=1e-9)
    assert "age is missing" in str(found)
    assert "kind is missing" in str(found)
    beside = lambda t: np.where(t["age"].isna() | (t["age"] > 30), 5.0, 0.0)  # noqa: E731
    found = surrogate_tree(pellucid.wrap(beside, missing_values=True), table, max_depth=1)
    assert found.fidelity.value == pytest.approx(1, abs=1e-12)
    assert "age > 30.5 or missing: 5" in str(found)
    new = table[:3].assign(kind=["never seen"] * 3)
    assert np.isfinite(found.predict(new)).all()


def test_fidelity_is_that_of_rows_not_seen_and_beside_the_trivial_answer():
    """Against scikit-learn's own measures, and what the one best answer gets."""
    y = (truth(TABLE) | (rng.uniform(size=N) < 0.02)).astype(int)
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    forest = make_pipeline(encode, RandomForestClassifier(20, random_state=0)).fit(
        TABLE[:300], y[:300]
    )
    fresh = TABLE[300:]
    found = surrogate_tree(forest, TABLE[:300], max_depth=2, held_out=fresh)
    said = forest.predict(fresh).astype(str)
    value = np.mean(found.predict(fresh) == said)
    assert found.fidelity.value == pytest.approx(value)
    assert found.fidelity.balanced == pytest.approx(
        balanced_accuracy_score(said, found.predict(fresh))
    )
    assert found.fidelity.balanced_low <= found.fidelity.balanced <= found.fidelity.balanced_high
    most = pandas.Series(forest.predict(TABLE[:300])).mode()[0]
    assert found.fidelity.trivial == pytest.approx(np.mean(said == str(most)))
    assert (found.fidelity.low, found.fidelity.high) == wilson(round(value * 300), 300)
    assert found.rows == (300, 300)
    boosted = HistGradientBoostingRegressor(max_iter=10).fit(NUMBERS, NUMBERS.sum(axis=1))
    found = surrogate_tree(boosted, NUMBERS[:300], max_depth=3, held_out=NUMBERS[300:])
    expected = r2_score(boosted.predict(NUMBERS[300:]), found.predict(NUMBERS[300:]))
    assert found.fidelity.value == pytest.approx(expected, rel=1e-6)
    assert found.fidelity.low < expected < found.fidelity.high


def test_wilson_is_statsmodels():
    """Wilson's interval of 114 out of 150 and of 0 out of 10, by statsmodels 0.14."""
    np.testing.assert_allclose(wilson(114, 150), (0.68558, 0.82138), atol=2e-4)
    np.testing.assert_allclose(wilson(0, 10), (0, 0.2775328), atol=1e-6)


def test_a_tree_no_better_than_the_largest_class_shows_nothing_and_says_so():
    """Classes drawn by lot, 76 of 100 the same: the tree gets about that, which is nothing."""
    lot = np.random.default_rng(3).uniform(size=N) < 0.24
    known = dict(zip(TABLE.itertuples(index=False, name=None), lot.astype(int), strict=True))
    model = lambda t: np.eye(2)[[known[tuple(r)] for r in t.itertuples(index=False)]]  # noqa: E731
    found = surrogate_tree(model, TABLE, max_depth=3)
    assert found.fidelity.value > 0.65
    assert found.fidelity.verdict == "nothing"
    for text in (str(found), found.to_svg(), found.to_html(), json.dumps(found.to_dict())):
        assert "shows nothing of the model" in text


def test_a_gain_of_few_rows_is_not_shown_rather_than_none():
    """30 of 36 right against 25 by one answer: better here, and not beyond chance."""
    found = Fidelity("accuracy", 30 / 36, 0.68, 0.92, 25 / 36, -0.03, 36, "ill")
    assert found.verdict == "nothing"
    assert found.warning.startswith("Not shown to be better than one and the same answer")
    assert "36 held-out rows" in found.warning
    assert "starts at -3.0%" in found.warning
    assert "no better" in replace(found, value=found.trivial).warning


def test_what_each_level_buys_is_told():
    tree = DecisionTreeClassifier(random_state=0).fit(NUMBERS, truth(NUMBERS))
    found = surrogate_tree(tree, NUMBERS, max_depth=20)
    rows = found.trade_off
    assert [r.depth for r in rows] == list(range(len(rows)))
    assert rows[0].leaves == 1
    assert rows[0].fidelity == pytest.approx(found.fidelity.trivial)
    assert rows[-1].fidelity == found.fidelity.value
    assert str(rows).count("\n") == len(rows)
    best = surrogate_tree(tree, NUMBERS, max_depth="auto")
    assert 2 <= best.depth <= 4
    assert best.fidelity.value > 0.99
    assert surrogate_tree(tree, NUMBERS, max_depth=20, max_leaves=3).leaves[2].leaf
    small = surrogate_tree(tree, NUMBERS, max_depth=20, min_rows=40)
    assert min(node.count for node in small.leaves) >= 40


def test_rules_are_the_leaves_in_words_and_numbers():
    found = surrogate_tree(lambda t: 2.0 * (t["age"] > 27) + t["hours"], TABLE, max_depth=3)
    table = found.read(TABLE)
    rules = found.rules()
    assert len(rules) == len(found.leaves)
    assert sum(rule.held_out for rule in rules) == found.rows[1]
    assert sum(rule.coverage for rule in rules) == pytest.approx(1)
    leaves = found.apply(TABLE)
    for rule in rules:
        mine = np.ones(N, dtype=bool)
        for condition in rule.conditions:
            column, sign, bound = condition.rsplit(" ", 2)
            own = table[:, found.columns.index(column)]
            mine &= own <= float(bound) if sign == "≤" else own > float(bound)
        np.testing.assert_array_equal(mine, leaves == rule.leaf)
        assert rule.sentence.startswith("If ")
        assert len({c.rsplit(" ", 1)[0] for c in rule.conditions}) == len(rule.conditions)


def test_the_same_seed_gives_the_same_tree_and_a_budget_bounds_the_rows():
    tree = DecisionTreeClassifier(random_state=0).fit(NUMBERS, truth(NUMBERS))
    first, second = (surrogate_tree(tree, NUMBERS, budget=100, seed=4).to_dict() for _ in range(2))
    assert first == second
    assert first["evaluations"]["forward"] == 100
    assert first["rows"] == {"learned": 70, "held_out": 30}


def test_only_the_columns_named_are_asked_about():
    found = surrogate_tree(lambda t: t["age"] + 9.0 * t["hours"], TABLE, features=["age", "kind"])
    assert {q.name for n in found.nodes for q in n.questions} <= {"age", "kind"}
    own = pandas.DataFrame({"half": TABLE["hours"] > 5})
    found = surrogate_tree(lambda t: t["hours"] > 5.0, TABLE, features=own, max_depth=1)
    assert found.fidelity.value == 1
    np.testing.assert_array_equal(found.predict(own) > 0.5, TABLE["hours"] > 5)
    with pytest.raises(InputError, match="each of the 600 samples, got 599"):
        surrogate_tree(lambda t: t["hours"] > 5.0, TABLE, features=own[1:])


def test_a_column_of_names_takes_no_room():
    """A word of its own in every row: asked for as a set, and for the commonest by themselves."""
    table = TABLE.assign(name=[f"person {i}" for i in range(N)])
    found = surrogate_tree(lambda t: t["age"] * 1.0, table, features=["age", "name"], max_depth=2)
    assert len(found.to_svg()) < 60_000
    assert found.predict(table.assign(name="nobody known")).shape == (N,)


HOSTILE = "</title><script>alert(1)</script>\"'&\x00\u202e<img onerror=x src=y>" + "long " * 40


def test_hostile_names_are_shown_and_never_run():
    table = NUMBERS.rename(columns={"age": HOSTILE})
    model = pellucid.wrap(
        lambda t: np.stack([29.5 - t[HOSTILE], t[HOSTILE] - 29.5], axis=1),
        class_names=["<b>" + HOSTILE, "$x^2$ other"],
    )
    found = surrogate_tree(model, table, max_depth=2)
    drawn = ElementTree.fromstring(found.to_svg())
    kinds = {element.tag.rpartition("}")[2] for element in drawn.iter()}
    assert kinds <= {"svg", "g", "rect", "path", "polygon", "text", "title", "desc"}
    titles = [e.text for e in drawn.iter() if e.tag.endswith("}title")]
    assert any("<script>alert(1)</script>" in (t or "") for t in titles)
    html = found.to_html()
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert max(len(e.text or "") for e in drawn.iter() if e.tag.endswith("}text")) < 120
    found.plot().figure.draw_without_rendering()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("target", [None, 1])
def test_the_drawing_has_every_node_and_no_card_on_another(theme, target):
    model = lambda t: np.stack(  # noqa: E731
        [np.zeros(len(t)), np.sin(t["age"] / 3) + t["hours"] / 9 - 0.5], axis=1
    )
    found = surrogate_tree(model, TABLE, max_depth=5, target=target)
    drawn = ElementTree.fromstring(found.to_svg(theme=theme))
    cards = [
        [float(e.get(k)) for k in ("x", "y", "width", "height")]
        for e in drawn.iter()
        if e.get("rx") == "6"
    ]
    assert len(cards) == len(found.nodes)
    for i, (x, y, w, h) in enumerate(cards):
        assert x >= 0
        assert x + w <= float(drawn.get("width"))
        assert y + h <= float(drawn.get("height"))
        for a, b, c, d in cards[:i]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
    axes = found.plot(theme=theme)
    assert len(axes.texts) == sum(e.tag.endswith("}text") for e in drawn.iter())
    text = [e.text for e in drawn.iter() if e.tag.endswith("}text")]
    inner = sum(1 for n in found.nodes if not n.leaf)
    assert text.count("yes") == text.count("no") == inner


def test_what_cannot_be_imitated_is_refused_in_words():
    names = pellucid.wrap(lambda t: np.eye(2)[[0] * len(t)], class_names=["a", "b"])
    with pytest.raises(InputError, match=r"(?s)'a' for all 600 rows.*target='a'"):
        surrogate_tree(names, TABLE)
    with pytest.raises(InputError, match="nothing to imitate"):
        surrogate_tree(lambda t: np.ones(len(t)), TABLE)
    model = lambda t: t["age"] * 1.0  # noqa: E731
    with pytest.raises(InputError, match="10 rows or more, got 3"):
        surrogate_tree(model, TABLE[:3])
    with pytest.raises(InputError, match=r"No column 'agee'.*\n.*'age'"):
        surrogate_tree(model, TABLE, features=["agee"])
    with pytest.raises(InputError, match="held_out"):
        surrogate_tree(model, TABLE, held_out=1.0)
    with pytest.raises(InputError, match="max_depth"):
        surrogate_tree(model, TABLE, max_depth=0)
    with pytest.raises(InputError, match="max_leaves"):
        surrogate_tree(model, TABLE, max_leaves=1)
    with pytest.raises(InputError, match="No row 600"):
        surrogate_tree(model, TABLE).path(TABLE, 600)
    numbers = NUMBERS.to_numpy(np.float32)
    with pytest.raises(InputError, match="NaN"):
        surrogate_tree(lambda t: t[:, 0], np.where(numbers == 3, np.nan, numbers))
    with pytest.raises(InputError, match="beyond what trees compare"):
        surrogate_tree(lambda t: t["age"] * 1.0, TABLE.assign(far=TABLE["age"] * 1e300))
    with pytest.raises(TargetError, match="one target"):
        surrogate_tree(lambda t: np.stack([t[:, 0], t[:, 1]], 1), numbers,
                       target=[0, 1] * (N // 2))  # fmt: skip


def test_a_list_of_rules_is_read_from_the_top():
    """Three rules in an order: young first, then long hours, then guards; all others no."""
    right = lambda t: np.select(  # noqa: E731
        [t["age"] < 24, t["hours"] > 8, t["kind"] == "guard"], [1, 0, 1], 0
    )
    model = pellucid.wrap(lambda t: np.eye(2)[right(t)], class_names=["no", "yes"])
    found = surrogate_tree(model, TABLE, rules=True, max_depth=2)
    assert found.fidelity.value == 1
    np.testing.assert_array_equal(found.predict(TABLE) == "yes", right(TABLE) == 1)
    rules = found.rules()
    assert [r.sentence.split(" ")[0] for r in rules[:2]] == ["If", "Else"]
    assert rules[-1].sentence.startswith("Otherwise: ")
    assert all(len(r.conditions) <= 2 for r in rules)
    # Each row is decided by the first rule that holds, read as it is written.
    table, left = found.read(TABLE), np.ones(N, dtype=bool)
    leaves = found.apply(TABLE)
    for node in found.nodes:
        if not node.leaf:
            taken = left & node.answers(table)
            np.testing.assert_array_equal(taken, leaves == node.yes)
            left &= ~taken
    assert sum(r.count for r in rules) == found.rows[0]
    assert found.trade_off[0].leaves == 1
    assert "rules, the first that holds decides" in str(found)
    drawn = ElementTree.fromstring(found.to_svg())
    cards = [e for e in drawn.iter() if e.get("rx") == "6"]
    assert len(cards) == len(found.nodes)
    scores = surrogate_tree(lambda t: 1.0 * right(t), TABLE, rules=6, max_depth=2)
    assert scores.fidelity.value > 0.95
    assert len(scores.leaves) <= 7
    with pytest.raises(InputError, match="rules"):
        surrogate_tree(model, TABLE, rules=0)
    with pytest.raises(InputError, match="max_depth"):
        surrogate_tree(model, TABLE, rules=True, max_depth="auto")


@pytest.mark.parametrize("rules", [False, 4])
def test_contributions_of_columns_add_up_to_what_the_tree_says(rules):
    score = lambda t: 2.0 * (t["age"] > 27) + 0.5 * t["hours"] * (t["kind"] == "cook")  # noqa: E731
    found = surrogate_tree(score, TABLE, max_depth=3, rules=rules)
    parts = found.contributions(TABLE)
    assert parts.shape == (N, len(found.columns))
    root = found.nodes[0].values[0]
    np.testing.assert_allclose(parts.sum(axis=1), found.predict(TABLE) - root, atol=1e-12)
    asked_about = {q.column for n in found.nodes for q in n.questions}
    assert set(np.flatnonzero(np.abs(parts).max(axis=0))) <= asked_about
    np.testing.assert_array_equal(found.contributions(TABLE[40:47]), parts[40:47])
    model = pellucid.wrap(
        lambda t: np.eye(2)[(score(t) > 2).astype(int)], class_names=["no", "yes"]
    )
    classes = surrogate_tree(model, TABLE, max_depth=3, rules=rules)
    leaf = np.array([n.values.max() / n.count for n in classes.nodes])[classes.apply(TABLE)]
    said = np.where(classes.predict(TABLE) == "yes", 1, 0)
    root = (classes.nodes[0].values / classes.nodes[0].count)[said]
    np.testing.assert_allclose(classes.contributions(TABLE).sum(axis=1), leaf - root, atol=1e-12)


def test_contributions_to_one_question_are_the_step_from_the_mean():
    """Of a step of 4 that a quarter of the rows take: +3 for them, −1 for the others."""
    table = pandas.DataFrame({"a": np.repeat([0, 1, 2, 3], 25), "b": np.tile(range(5), 20)})
    found = surrogate_tree(lambda t: 4.0 * (t["a"] > 2), table, held_out=table, max_depth=2)
    expected = np.where(table["a"] > 2, 3.0, -1.0)
    np.testing.assert_allclose(found.contributions(table), np.stack([expected, 0 * expected], 1))


def test_no_module_hides_a_function_of_its_name():
    """Whatever is imported later, `pellucid.inside.surrogate_tree` is the function."""
    before = {name: getattr(pellucid.inside, name) for name in pellucid.inside.__all__}
    for module in pkgutil.iter_modules(pellucid.inside.__path__):
        importlib.import_module(f"pellucid.inside.{module.name}")
    assert all(getattr(pellucid.inside, name) is own for name, own in before.items())
    assert all(callable(own) for own in before.values())
    assert importlib.util.find_spec("pellucid.inside.surrogate_tree") is None


def test_held_out_rows_have_the_border_of_the_learned_ones():
    """Margins that happen to lie within 0 and 1 in the held-out rows are still margins."""
    margins = np.linspace(-2, 2, 200)
    table = pandas.DataFrame({"a": margins, "b": np.arange(200) % 3})
    model = pellucid.wrap(lambda t: np.asarray(t)[:, 0], class_names=("no", "yes"))
    held_out = table[(table["a"] > 0) & (table["a"] < 1)]
    found = surrogate_tree(model, table, held_out=held_out, max_depth=1)
    assert found.classes == ("no", "yes")
    assert found.fidelity.value == 1.0
