"""`pellucid explain` on a table: a model trained on the spot, files out, exit codes."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from pellucid import explain
from pellucid.cli import main

DATA = Path(__file__).parents[1] / "data" / "adult" / "adult-480.csv"
WORDS = ["workclass", "marital-status", "occupation", "relationship", "sex"]
NUMBERS = ["age", "education-num", "capital-gain", "hours-per-week"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The Adult table in two parts, and a pipeline fitted on the first, saved with skops."""
    where = tmp_path_factory.mktemp("adult")
    table = pandas.read_csv(DATA)
    train, rest = table.iloc[:400], table.iloc[400:]
    train.to_csv(where / "train.csv", index=False)
    rest.iloc[:12].to_csv(where / "data.csv", index=False)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), WORDS), (StandardScaler(), NUMBERS)
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=500))
    model.fit(train[WORDS + NUMBERS], train["income"])
    skops.io.dump(model, where / "model.skops")
    return where


@pytest.fixture
def run(capsys, monkeypatch, folder):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(folder)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run_command


COMMAND = ("explain", "model.skops", "data.csv", "--method", "kernel_shap", "--background",
           "train.csv", "--background-rows", "20")  # fmt: skip


def test_a_table_goes_in_and_attributions_and_pictures_come_out(run, folder):
    code, out, err = run(*COMMAND, "--out", "why")
    assert code == 0, err
    assert "Background: 20 of the 400 rows of train.csv." in err
    names = {path.name for path in (folder / "why").iterdir()}
    assert {"report.html", "result.json", "kernel_shap-top.csv"} <= names
    assert {
        f"kernel_shap-top-{kind}.png" for kind in ("importance", "beeswarm", "waterfall-0")
    } <= names
    with (folder / "why" / "kernel_shap-top.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert set(WORDS + NUMBERS) <= set(rows[0])
    for row in rows:  # what is in the file adds up, and is what Python gives
        total = sum(float(row[name]) for name in WORDS + NUMBERS)
        assert float(row["base"]) + total == pytest.approx(float(row["score"]), abs=1e-3)
    assert "importance" in out
    assert "workclass" in out
    assert "why/kernel_shap-top.csv" in out
    document = json.loads((folder / "why" / "result.json").read_text())
    assert len(document["explanations"][0]["rows"]) == 12
    table, train = pandas.read_csv("data.csv"), pandas.read_csv("train.csv")
    draw = np.random.default_rng([0, 13]).choice(400, 20, replace=False)
    model = skops.io.load("model.skops")
    e = explain(model, table, "kernel_shap", background=train.iloc[np.sort(draw)])
    for name, column in zip(e.parts[0].feature_names, e.values.T, strict=True):
        np.testing.assert_allclose([float(row[name]) for row in rows], column, atol=1e-4)


def test_json_rows_and_a_plan(run):
    code, out, _ = run(*COMMAND, "--rows", "2:4", "--json", "--target", "label:<=50K")
    assert code == 0
    entry = json.loads(out)["explanations"][0]
    assert [row["row"] for row in entry["rows"]] == [2, 3]
    assert {row["target_name"] for row in entry["rows"]} == {"<=50K"}
    assert any(isinstance(top["value"], str) for top in entry["rows"][0]["top"])
    assert entry["parameters"]["background"] == "array of shape (20, 15)"
    code, out, _ = run(*COMMAND, "--dry-run", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 12)
    code, out, _ = run(*COMMAND, "--rows", "1", "--format", "json")
    assert code == 0
    assert "kernel_shap, 1 row:" in out


def test_parquet_tables(run, folder):
    polars = pytest.importorskip("polars", reason="Parquet is read with polars here")
    frame = pandas.read_csv(folder / "data.csv")
    polars.DataFrame(frame.astype(object).where(frame.notna(), None).to_dict("list")).write_parquet(
        folder / "data.parquet"
    )
    arguments = list(COMMAND)
    arguments[2] = "data.parquet"
    _, by_parquet, _ = run(*arguments, "--json")
    _, by_csv, _ = run(*COMMAND, "--json")
    first, second = (json.loads(o)["explanations"][0]["importance"] for o in (by_parquet, by_csv))
    assert first == second


def test_trees_and_columns_that_are_no_input(run, folder):
    table = pandas.read_csv(folder / "train.csv")[[*NUMBERS, "income"]]
    table.to_csv(folder / "numbers.csv", index=False)
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    forest.fit(table[NUMBERS].to_numpy(), table["income"])
    skops.io.dump(forest, folder / "forest.skops")
    shap = pytest.importorskip("shap", reason="shap has no wheel here")
    assert shap
    code, out, err = run(
        "explain", "forest.skops", "numbers.csv", "--drop", "income", "--method", "tree_shap",
        "--rows", "3", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert len(json.loads(out)["explanations"][0]["rows"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("model.skops", "nothing.csv"), 1, "No file"),
        (("model.skops", "data.csv", "data.csv"), 2, "explained alone"),
        (("model.skops", "data.csv", "--background", "none.csv"), 1, "No file"),
        (("model.skops", "data.csv", "--drop", "incom"), 2, "Nearest: 'income'"),
        (("model.skops", "data.csv", "--rows", "90:95"), 2, "leaves nothing"),
        (("model.skops", "data.csv", "--rows", "a"), 2, "START:STOP"),
        (("model.skops", "data.csv"), 2, "holds categories"),
        (("model.skops", "data.csv", "--drop", "age"), 2, "no column 'age'"),
        (("model.skops", "data.csv", "--size", "8"), 2, "--size is for pictures"),
        (("model.skops", "photo.png", "--background", "data.csv"), 2, "is for tables"),
        (("model.skops", "broken.csv"), 1, "cannot be read as a table"),
        (("model.skops", "data.csv", "--method", "kernel_shapp"), 2, "kernel_shap"),
    ],
)
def test_wrong_commands_say_what_is_wrong(run, folder, arguments, code, message):
    (folder / "broken.csv").write_bytes(b"\xff\xfe\x00\x01,\n\x80\n")
    method = () if "--method" in arguments else ("--method", "kernel_shap")
    ended, out, err = run("explain", *arguments, *method, "--json")
    assert (ended, out) == (code, ""), err
    assert message in err


def test_a_method_without_a_background_refuses_one(run):
    code, _, err = run("explain", "model.skops", "data.csv", "--method", "occlusion",
                       "--background", "train.csv")  # fmt: skip
    assert code == 2
    assert "occlusion takes none" in err


def test_without_pandas_the_line_to_install_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, _, err = run(*COMMAND)
    assert code == 5
    assert "pip install 'pellucid[tables]'" in err


def test_a_table_without_a_method_gets_one_that_runs(run):
    code, out, _ = run("explain", "model.skops", "data.csv", "--rows", "0:3", "--no-progress",
                       "--drop", "income")  # fmt: skip
    assert code == 0
    assert "feature_permutation, 3 rows" in out
    # What a loss rises by has no sign, and no waterfall.
    assert "(+" not in out
    assert "bars-0.png" in out
    assert "waterfall" not in out


def test_what_a_table_lacks_is_said_before_the_model_runs(run, folder):
    code, _, err = run("explain", "model.skops", "data.csv", "--method", "lime")
    assert code == 2
    assert "--background" in err
    (folder / "header.csv").write_text((folder / "data.csv").read_text().split("\n")[0] + "\n")
    code, _, err = run("explain", "model.skops", "header.csv")
    assert code == 2
    assert "no rows" in err
    assert "--rows" not in err
