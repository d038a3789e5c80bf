"""Data frames: what reaches the model is what the user has, swapped between rows and no more."""

import subprocess
import sys

import numpy as np
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from pellucid import Explanation, explain, wrap
from pellucid.errors import InputError, ModelError
from pellucid.inputs.frames import Frame, is_frame

rng = np.random.default_rng(3)
N = 40


def people(library=pandas):
    return library.DataFrame(
        {
            "age": rng.integers(18, 80, N),
            "job": rng.choice(["nurse", "cook", "pilot"], N),
            "hours": rng.normal(40, 8, N).round(1),
            "member": rng.random(N) > 0.5,
        }
    )


def pays(table) -> np.ndarray:
    """A function of a data frame's own columns: words, truth values, whole numbers."""
    assert is_frame(table), type(table)
    job = np.array(list(table["job"]))
    base = np.select([job == "nurse", job == "cook"], [3.0, 1.0], 7.0)
    return base * (1 + np.array(table["member"], dtype=float)) + 0.1 * np.array(table["age"])


@pytest.mark.parametrize("library", [pandas, polars], ids=lambda m: m.__name__)
def test_a_function_gets_the_frame_it_was_given_a_batch_of(library):
    table = people(library)
    seen = []

    def function(part):
        seen.append(part)
        return pays(part)

    e = explain(function, table, "occlusion", baseline=table[:1], batch_size=16)
    assert {type(part) for part in seen} == {type(table)}
    assert all(list(part.dtypes) == list(table.dtypes) for part in seen)
    np.testing.assert_allclose(e.score, pays(table), rtol=1e-6)
    # Closed form: the first row's value in the place of a row's own.
    first, rest = table[:1], table
    swapped = {name: np.array(rest[name]) for name in rest.columns}
    swapped["job"] = np.full(N, first["job"][0])
    without = pays(library.DataFrame(swapped))
    np.testing.assert_allclose(e.values[:, 1], pays(table) - without, rtol=1e-5, atol=1e-5)
    assert e.values[:, 2].tolist() == [0.0] * N
    assert e.data["feature_name"].values.tolist() == ["age", "job", "hours", "member"]


def test_a_pyarrow_table_goes_in_and_names_come_out(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = people()
    arrow, seen = pyarrow.Table.from_pandas(table), []

    def function(part):
        seen.append(part)
        return pays(part.to_pandas())

    e = explain(function, arrow, "kernel_shap", background=arrow[:5], batch_size=64)
    assert {type(part) for part in seen} == {pyarrow.Table}
    assert all(part.schema.equals(arrow.schema.remove_metadata()) for part in seen[:1])
    same = explain(pays, table, "kernel_shap", background=table[:5])
    np.testing.assert_allclose(e.values, same.values, atol=1e-5)
    assert e.parts[0].feature_names == ("age", "job", "hours", "member")
    assert [name for name, *_ in e.top(4)] == [name for name, *_ in same.top(4)]
    assert Explanation.load(e.save(tmp_path / "arrow.zarr")).parts[0].feature_names[1] == "job"
    row = explain(function, arrow, "occlusion", baseline=arrow[:1])
    np.testing.assert_allclose(
        row.values, explain(pays, table, "occlusion", baseline=table[:1]).values, atol=1e-5
    )


def test_an_estimator_takes_a_pyarrow_table_as_the_frame_it_knows():
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = people()
    y = (pays(table) > np.median(pays(table))).astype(int)
    pipeline = mixed_pipeline(table, y)
    arrow = pyarrow.Table.from_pandas(table)
    e = explain(pipeline, arrow, "kernel_shap", background=arrow[:5])
    same = explain(pipeline, table, "kernel_shap", background=table[:5])
    np.testing.assert_allclose(e.values, same.values, atol=1e-6)
    assert e.parts[0].feature_names == same.parts[0].feature_names


def test_every_kind_of_column_comes_back_as_it_was():
    table = pandas.DataFrame(
        {
            "whole": [1, 2, 3],
            "real": np.array([1.5, np.nan, 2.0], dtype="float32"),
            "nullable": pandas.array([1, None, 3], dtype="Int64"),
            "word": ["b", None, "a"],
            "mixed": np.array(["q", 1, None], dtype=object),
            "day": pandas.to_datetime(["2020-01-01", "2021-01-01", "2020-01-01"]),
            "kind": pandas.Categorical(["u", "v", "u"], categories=["w", "v", "u"]),
            "truth": [True, False, True],
        },
        index=[7, 7, 9],
    )
    frame = Frame(table)
    coded = frame.encode(table)
    assert coded.dtype == np.float64
    back = frame.decode(coded[[2, 0, 1]])
    pandas.testing.assert_frame_equal(back, table.iloc[[2, 0, 1]].reset_index(drop=True))
    assert back["kind"].cat.categories.tolist() == ["w", "v", "u"]
    assert dict(zip(frame.names, frame.categories, strict=True))["word"] == ("a", "b", "missing")
    # Categories of later rows get the numbers that follow; the earlier ones stay.
    more = table.assign(word=["new", "a", "b"])
    assert frame.encode(more)[:, 3].tolist() == [3.0, 0.0, 1.0]
    pandas.testing.assert_frame_equal(frame.decode(coded), table.reset_index(drop=True))
    half = coded.copy()
    half[:, 0] = 1.5  # a mean of whole numbers is real
    assert frame.decode(half)["whole"].tolist() == [1.5] * 3


MISSING_IN = {
    "object": np.array(["b", None, "a", "b"], dtype=object),
    "string": pandas.array(["b", pandas.NA, "a", "b"], dtype="string"),
    "category": pandas.Categorical(["b", None, "a", "b"]),
    "Int64": pandas.array([2, pandas.NA, 1, 2], dtype="Int64"),
    "boolean": pandas.array([True, pandas.NA, False, True], dtype="boolean"),
    "datetime": pandas.to_datetime(["2021-01-01", None, "2020-01-01", "2021-01-01"]),
}


@pytest.mark.parametrize("kind", MISSING_IN)
def test_what_is_missing_in_a_column_of_any_type_is_explained(kind):
    """A function that asks `isna`: missing counts 5, and the background is not missing."""
    table = pandas.DataFrame({"c": MISSING_IN[kind], "n": [1.0, 2.0, 3.0, 4.0]})
    frame = Frame(table)
    pandas.testing.assert_frame_equal(frame.decode(frame.encode(table)), table)
    row = frame.encode_row(dict(table.iloc[1]))
    np.testing.assert_array_equal(row, frame.encode(table)[1])

    def f(t):
        assert t["c"].dtype == table["c"].dtype
        return (5 * t["c"].isna() + t["n"]).to_numpy(dtype=float)

    e = explain(f, table, "exact_shapley", background=table[2:])
    np.testing.assert_allclose(e.values[:, 0], [0, 5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(e.values[:, 1], table["n"] - 3.5, atol=1e-6)


def mixed_pipeline(table, y):
    encode = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), ["job"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "hours"]),
        ],
        remainder="passthrough",
    )
    return make_pipeline(encode, LogisticRegression()).fit(table, y)


def test_words_and_missing_values_reach_a_pipeline():
    table = people()
    table.loc[[0, 5], "hours"] = np.nan
    table.loc[[1, 5], "job"] = None
    pipeline = mixed_pipeline(table, pays(table) > 8)
    # Rows as they are, and with a column taken from the first row: by hand, without pellucid.
    e = explain(pipeline, table, "occlusion", baseline=table.iloc[[0]])
    plain = pipeline.decision_function(table)
    np.testing.assert_allclose(e.score, plain, rtol=1e-5, atol=1e-6)
    for i, name in enumerate(table.columns):
        swapped = table.assign(**{name: table[name].iloc[0]})
        drop = plain - pipeline.decision_function(swapped.astype(table.dtypes))
        np.testing.assert_allclose(e.values[:, i], drop, atol=1e-5)
    row = e.top(4, sample=5)
    assert {"job", "age", "hours", "member"} == {name for name, _, _ in row}
    assert "missing" in str(row)
    assert "missing" in row._repr_html_()
    # A row by column, as a dict or a Series, is the same reference.
    for reference in (dict(table.iloc[0]), table.iloc[0]):
        same = explain(pipeline, table, "occlusion", baseline=reference)
        np.testing.assert_array_equal(same.values, e.values)


def test_categories_are_saved_and_read_again(tmp_path):
    table = people()
    e = explain(pays, table, "occlusion", baseline=table.iloc[[0]])
    again = Explanation.load(e.save(tmp_path / "e.zarr"))
    assert again.parts[0].categories == e.parts[0].categories == (
        None, ("cook", "nurse", "pilot"), None, None,
    )  # fmt: skip
    assert str(again.top(3, sample=2)) == str(e.top(3, sample=2))
    assert table["job"][2] in str(e.top(4, sample=2))
    assert table["job"][2] in e.to_html()


def test_columns_are_found_by_name_in_every_order():
    table = people()
    model = wrap(mixed_pipeline(table, pays(table) > 8))
    e = explain(model, table, "occlusion", baseline=table.iloc[[3]])
    turned = table.assign(more=1.0)[["member", "more", "hours", "job", "age"]]
    f = explain(model, turned, "occlusion", baseline=turned.iloc[[3]])
    np.testing.assert_array_equal(f.values, e.values)
    assert f.parts[0].feature_names == ("age", "job", "hours", "member")
    assert f.parts[0].categories == e.parts[0].categories


def test_a_model_without_missing_values_says_which_rows():
    table = people()[["age", "hours"]].astype(float)
    model = LogisticRegression().fit(table, table["age"] > 40)
    table.loc[[2, 5], "hours"] = np.nan
    with pytest.raises(ModelError, match=r"rows \[2, 5\].*NaN[\s\S]*imputes"):
        explain(model, table, "occlusion")
    boosted = HistGradientBoostingClassifier(max_iter=3).fit(table, table["age"] > 40)
    assert np.isfinite(explain(boosted, table, "occlusion").values).all()
    table.loc[4, "age"] = np.inf
    with pytest.raises(InputError, match=r"infinity in the rows \[4\]"):
        explain(boosted, table, "occlusion")


def test_what_does_not_fit_is_named():
    table = people()
    pipeline = mixed_pipeline(table, pays(table) > 8)
    with pytest.raises(InputError, match=r"no column 'job'[\s\S]*jobs"):
        explain(pipeline, table.rename(columns={"job": "jobs"}), "occlusion")
    with pytest.raises(InputError, match=r"'job' holds categories.*'zeros'[\s\S]*frame.iloc"):
        explain(pipeline, table, "occlusion")
    wrong = table.assign(hours="many")
    with pytest.raises(InputError, match=r"'hours' holds .*String.* and numbers"):
        explain(pipeline, table, "occlusion", baseline=wrong.iloc[[0]])
    with pytest.raises(InputError, match="no category 'COOK'; those of the data are 'cook'"):
        explain(pays, table, "occlusion", baseline={**table.iloc[0], "job": "COOK"})
    with pytest.raises(InputError, match="1 or 40 rows, got 3"):
        explain(pays, table, "occlusion", baseline=table[:3])
    with pytest.raises(InputError, match="x as an array of numbers"):
        explain(lambda x: x[:, 0], np.zeros((2, 4)), "kernel_shap", background=table)
    with pytest.raises(InputError, match="same name"):
        explain(pays, pandas.concat([table, table], axis=1), "occlusion")
    with pytest.raises(InputError, match=r"iloc\[\[0\]\]"):
        explain(pipeline, table.iloc[0], "occlusion")
    with pytest.raises(InputError, match="empty"):
        explain(pays, table[:0], "occlusion")


def test_functions_of_frames_inside_pipelines():
    """A first step that checks nothing still knows names, and is given a frame."""
    table = people()[["age", "hours"]]
    ratio = FunctionTransformer(lambda t: t.assign(ratio=t["age"] / t["hours"]))
    pipeline = make_pipeline(ratio, LogisticRegression()).fit(table, table["age"] > 40)
    e = explain(pipeline, table, "occlusion", baseline=table.iloc[[0]])
    np.testing.assert_allclose(e.score, pipeline.decision_function(table), rtol=1e-5, atol=1e-5)


def test_torch_takes_frames_of_numbers():
    import torch

    table = people()[["age", "hours"]]
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3))
    for passed in (table, polars.DataFrame(table.to_dict("list"))):
        e = explain(network, passed, "gradient_x_input", target=1)
        weights = network[0].weight[1].detach().numpy()
        np.testing.assert_allclose(e.values, weights * table.to_numpy(), rtol=1e-4)
        assert e.parts[0].feature_names == ("age", "hours")


def test_frames_are_optional_and_lazy():
    code = (
        "import sys, numpy as np, pellucid;"
        "pellucid.explain(lambda x: x.sum(axis=1), np.ones((2, 3)), 'occlusion');"
        "assert not {'pandas', 'polars', 'narwhals'} & set(sys.modules), sys.modules;"
        "sys.modules['narwhals'] = None; import pandas;"
        "pellucid.explain(lambda x: x.sum(axis=1), pandas.DataFrame({'a': [1.0]}), 'occlusion')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "pip install 'pellucid[tables]'" in done.stderr


words = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=8)


@given(words, st.randoms(use_true_random=False))
def test_any_words_come_back_in_any_order(column, draw):
    """Round trip of arbitrary words and missing ones, rows repeated and swapped."""
    rows = [draw.randrange(len(column)) for _ in range(5)]
    for library in (pandas, polars):
        if library is pandas:
            table = pandas.DataFrame({"w": pandas.Series(column, dtype=object), "n": 1.5})
        else:
            table = polars.DataFrame({"w": column}, schema={"w": polars.String})
        frame = Frame(table)
        back = frame.decode(frame.encode(table)[rows])
        found = [None if w is None or w != w else w for w in back["w"]]
        assert found == [column[i] for i in rows]


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_boosted_trees_with_categories_of_their_own(package):
    """The categories' numbers inside the model are those of the data frame's type."""
    module = pytest.importorskip(package, reason=f"{package} is no dependency of pellucid's tests")
    table = people().assign(job=lambda t: t["job"].astype("category"))
    y = (pays(table) > 8).astype(int)
    if package == "xgboost":
        model = module.XGBClassifier(n_estimators=5, enable_categorical=True).fit(table, y)
    else:
        model = module.LGBMClassifier(n_estimators=5, verbosity=-1, min_child_samples=3)
        model.fit(table, y)
    x, background = table[:6], table[20:35]
    e = explain(model, x, "exact_shapley", background=background)
    p = model.predict_proba(x)[:, 1]
    np.testing.assert_allclose(e.score, np.log(p / (1 - p)), rtol=1e-3, atol=1e-4)
    own = model.predict_proba(background)[:, 1]
    np.testing.assert_allclose(
        e.baseline_score, np.log(own / (1 - own)).mean(), rtol=1e-3, atol=1e-4
    )
    # The job alone from the background: by hand.
    swapped = [x.assign(job=pandas.Categorical([job] * 6, table["job"].cat.categories))
               for job in background["job"]]  # fmt: skip
    q = np.stack([model.predict_proba(t)[:, 1] for t in swapped])
    without = np.log(q / (1 - q)).mean(axis=0)
    others = {"features": [["job"], ["age", "hours", "member"]]}
    pair = explain(model, x, "exact_shapley", background=background, **others)
    rest = [background.assign(job=pandas.Categorical([job] * 15, table["job"].cat.categories))
            for job in x["job"]]  # fmt: skip
    r = np.stack([model.predict_proba(t)[:, 1] for t in rest])
    alone = np.log(r / (1 - r)).mean(axis=1)
    expected = ((alone - e.baseline_score) + (e.score - without)) / 2
    np.testing.assert_allclose(pair.extras["unit_values"][:, 0], expected, rtol=2e-3, atol=2e-4)


def test_a_row_does_not_depend_on_its_batch():
    table = people()
    table.loc[[0, 5], "hours"] = np.nan
    pipeline = mixed_pipeline(table, pays(table) > 8)
    whole = explain(pipeline, table[:7], "kernel_shap", background=table[20:30]).values
    for size in (1, 7):
        found = explain(
            pipeline, table[:7], "kernel_shap", background=table[20:30], batch_size=size
        )
        np.testing.assert_allclose(found.values, whole, atol=1e-6)
    one = explain(pipeline, table[3:4], "kernel_shap", background=table[20:30]).values
    np.testing.assert_allclose(one, whole[3:4], atol=1e-6)


def test_nothing_of_the_users_table_changes():
    table = people()
    before = table.copy()
    background = table[10:20].copy()

    def spoils(part):
        part["age"] = 0
        return pays(part)

    explain(spoils, table, "kernel_shap", background=background)
    pandas.testing.assert_frame_equal(table, before)
    pandas.testing.assert_frame_equal(background, before[10:20])
