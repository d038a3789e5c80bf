"""`pellucid evaluate`: inputs in, a scorecard out, and exit code 3 for what is not good."""

import json

import numpy as np
import pandas
import pytest
import skops.io
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from pellucid.cli import main
from pellucid.cli.evaluating import parse_limits
from pellucid.demo import demo_photos
from pellucid.errors import InputError


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in ("evaluate", *arguments)])
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
    return ("model.skops", "data.csv", "--rows", "0:8", "--method", "kernel_shap",
            "--background", "data.csv", "--background-rows", "10", "--no-progress")  # fmt: skip


def test_a_table_is_judged(run, table, tmp_path):
    code, out, _ = run(*table, "--metrics", "I1,C1", "--out", "judged")
    assert code == 0
    assert "kernel_shap" in out
    assert "srg (dataset)" in out
    document = json.loads((tmp_path / "judged" / "scorecard.json").read_text("utf-8"))
    assert document["samples"] == 8
    assert len(document["scores"]["kernel_shap"]["srg"]["dataset"]) == 8
    assert (tmp_path / "judged" / "scorecard.png").stat().st_size > 10_000


def test_what_is_not_reached_ends_with_three(run, table):
    code, out, err = run(*table, "--metrics", "I1", "--fail-under", "I1=0.01,controls", "--json")
    assert code == 3
    assert json.loads(out)["samples"] == 8
    assert "asked was 0.01" in err
    assert "controls" in err
    code, _, _ = run(*table, "--metrics", "I1", "--fail-under", "effective_fraction=1")
    assert code == 0


def test_a_picture_is_judged(run):
    photo = demo_photos()[0].path
    code, out, _ = run("demo", photo, "--method", "saliency", "--metrics", "I1", "--no-progress")
    assert code == 0
    assert "saliency" in out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--metrics", "srgg"), "srg"),
        (("--fail-under", "C1=high"), "no number"),
        (("--metrics", "I1", "--fail-under", "srg=1"), "no such score"),
        (("--imputers", "blurr"), "blur"),
    ],
)
def test_wrong_words_are_usage_errors(run, table, more, words):
    code, _, err = run(*table, *more)
    assert code == 2
    assert words in err


def test_limits_are_read():
    assert parse_limits("srg=0.2, controls") == {"srg": 0.2, "controls": None}
    assert parse_limits(None) == {}
    with pytest.raises(InputError):
        parse_limits("srg=x")


def test_a_table_without_anything_more_is_judged_against_rows_of_its_own(run, table):
    code, out, err = run(*table[:2], "--no-progress", "--rows", "0:6")
    assert code == 0
    assert "kernel_shap" in out
    assert "could not be made" not in out
    assert "10 of the 30 rows of data.csv" in err


def masks_of(folder, photo, box):
    mask = np.zeros((60, 90), np.uint8)
    mask[box] = 255
    folder.mkdir()
    Image.fromarray(mask).save(folder / f"{photo.stem}.png")
    return folder


def test_masks_of_a_folder_or_an_array_are_what_localisation_is_judged_by(run, tmp_path):
    photo = demo_photos()[0].path
    folder = masks_of(tmp_path / "masks", photo, np.s_[:, 30:60])
    array = np.zeros((1, 224, 224), bool)
    array[:, :112] = True
    np.save(tmp_path / "masks.npy", array)
    asked = ("demo", photo, "--method", "edges", "--metrics", "recall,I4", "--json",
             "--no-progress")  # fmt: skip
    found = []
    for masks in (folder, tmp_path / "masks.npy"):
        code, out, _ = run(*asked, "--masks", masks)
        assert code == 0
        found.append(json.loads(out)["scores"]["edges"]["recall"][""][0])
    assert 0 < found[0] < 1
    assert 0 < found[1] < 1
    assert found[0] != found[1]
    for masks, words in ((tmp_path / "none", "no file or folder"), (photo, "no array of NumPy")):
        code, _, err = run(*asked, "--masks", masks)
        assert code in {1, 2}
        assert words in err


def test_masks_are_for_pictures(run, table, tmp_path):
    code, _, err = run(*table, "--masks", tmp_path)
    assert code == 2
    assert "--masks is for pictures" in err
