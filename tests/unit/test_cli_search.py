"""`pellucid search`: a goal in, a verdict out, and exit code 3 where nothing meets it."""

import json

import numpy as np
import pandas
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from pellucid.cli import main
from pellucid.demo import demo_photos


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in ("search", *arguments, "--no-progress")])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run_command


@pytest.fixture
def table(tmp_path):
    frame = pandas.DataFrame({"age": range(30), "job": ["cook", "smith", "clerk"] * 10})
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["job"]), ("passthrough", ["age"])
    )
    fitted = make_pipeline(columns, LogisticRegression()).fit(frame, frame["age"] > 15)
    skops.io.dump(fitted, tmp_path / "model.skops")
    frame.to_csv(tmp_path / "data.csv", index=False)
    goal = 'methods = ["kernel_shap", "random"]\nmetrics = ["C1"]\n[weights]\ncredibility = 1\n'
    (tmp_path / "goal.toml").write_text(goal)
    return ("model.skops", "data.csv", "--rows", "0:24", "--background", "data.csv",
            "--background-rows", "10", "--goal", "goal.toml")  # fmt: skip


def test_a_table_is_searched_written_and_gone_on_with(run, table, tmp_path):
    code, out, _ = run(*table, "--out", "found", "--resume", "held.json")
    assert code == 0
    assert "kernel_shap is the winner" in out
    assert "evaluations of the model of a budget" in out
    document = json.loads((tmp_path / "found" / "search.json").read_text("utf-8"))
    assert document["chosen"] == "kernel_shap"
    assert (tmp_path / "found" / "search.png").stat().st_size > 10_000
    assert "pellucid.explain" in (tmp_path / "found" / "explain.py").read_text("utf-8")
    code, again, _ = run(*table, "--resume", "held.json", "--json")
    assert code == 0
    assert json.loads(again)["spent"] == document["spent"]


def test_a_goal_that_nothing_meets_ends_with_three(run, table, tmp_path):
    (tmp_path / "goal.toml").write_text('methods = ["kernel_shap"]\nminimum = {srg = 9}\n')
    code, out, err = run(*table)
    assert code == 3
    assert "at least 9 asked" in err
    assert "kernel_shap" in out


@pytest.mark.parametrize(
    ("goal", "words"),
    [("weights = 3\n", "dict"), ("methods = ['salience']\n", "saliency"), ("[", "TOML")],
)
def test_a_wrong_goal_is_a_wrong_command(run, table, tmp_path, goal, words):
    (tmp_path / "goal.toml").write_text(goal)
    code, _, err = run(*table)
    assert code == 2
    assert words in err


def test_too_few_pictures_are_a_wrong_command(run):
    code, _, err = run("demo", demo_photos()[0].path)
    assert code == 2
    assert "4 samples" in err


def test_labels_of_a_table_are_a_column_that_is_no_input(run, table, tmp_path):
    frame = pandas.read_csv(tmp_path / "data.csv")
    frame.assign(old=frame["age"] > 15).to_csv(tmp_path / "labelled.csv", index=False)
    given = ("model.skops", "labelled.csv", *table[2:])
    code, out, _ = run(*given, "--labels", "old")
    assert code == 0
    assert "model is right on 100.0% of the samples" in out
    code, _, err = run(*given, "--labels", "odl")
    assert code == 2
    assert "no such column" in err


def test_pictures_are_searched_with_masks_for_the_recall_that_is_asked(run, tmp_path):
    photos = [demo_photos()[0].path] * 4
    masks = np.zeros((4, 224, 224), bool)
    masks[:, 56:168, 56:168] = True
    np.save(tmp_path / "masks.npy", masks)
    (tmp_path / "labels.txt").write_text("258\n" * 4)
    (tmp_path / "goal.toml").write_text(
        'methods = ["edges", "constant"]\nmetrics = ["I4"]\nminimum = {recall = 0.99}\n'
    )
    code, _, err = run("demo", *photos, "--masks", "masks.npy", "--labels", "labels.txt",
                       "--goal", "goal.toml")  # fmt: skip
    assert code == 3
    assert "recall" in err
    assert "at least 0.99 asked" in err
