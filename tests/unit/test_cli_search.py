"""`pellucid search`: a goal in, a verdict out, and exit code 3 where nothing meets it."""

import json

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
