"""A search that was killed, whose file is damaged or another's, or whose disk is full."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import skops.io
from adult_model import adult_and_model

from pellucid import Goal, explain, search
from pellucid.cli import main
from pellucid.counting import Tally, tallied
from pellucid.errors import InputError, LoadError

GOAL = """
methods = ["kernel_shap", "permutation_shap", "lime", "random", "edges"]
metrics = ["C1", "C2", "I1"]
[weights]
credibility = 2
interpretability = 1
"""
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(12, 3)).astype(np.float32)


@pytest.fixture
def command(tmp_path):
    """`pellucid search` on sixteen rows of Adult, but for the file it keeps."""
    table, fitted = adult_and_model()
    skops.io.dump(fitted, tmp_path / "model.skops")
    table.to_csv(tmp_path / "adult.csv", index=False)
    (tmp_path / "goal.toml").write_text(GOAL, encoding="utf-8")
    names = [str(tmp_path / n) for n in ("model.skops", "adult.csv")]
    return ["search", *names, "--rows", "400:416", "--background", names[1], "--background-rows",
            "5", "--goal", str(tmp_path / "goal.toml"), "--batch-size", "64", "--json",
            "--no-progress"]  # fmt: skip


def finished(command, capsys):
    """What the command prints as JSON, and the rows of the model that ran."""
    with tallied(Tally()) as ran, pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    return json.loads(capsys.readouterr().out), ran.spent


def test_a_search_of_adult_that_was_killed_asks_nothing_twice(command, tmp_path, capsys):
    file = tmp_path / "held.json"
    process = subprocess.Popen([sys.executable, "-m", "pellucid", *command, "--resume", str(file)],
                               stdout=subprocess.DEVNULL)  # fmt: skip
    until = time.monotonic() + 120
    while not (file.exists() and len(json.loads(file.read_text("utf-8"))["records"]) >= 3):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    held = json.loads(file.read_text("utf-8"))["records"]
    before = sum(record["spent"] for record in held.values())
    again, ran = finished([*command, "--resume", str(file)], capsys)
    whole, all_of_it = finished(command, capsys)
    assert 0 < before < all_of_it
    assert ran == all_of_it - before
    assert again.pop("seconds") > 0
    assert whole.pop("seconds") > 0
    assert again.pop("notes") == [*whole.pop("notes"), f"{len(held)} of the records are from an"
                                  " earlier run."]  # fmt: skip
    assert again == whole


def model(x):
    return np.tanh(np.asarray(x) @ WEIGHTS)


def other(x):
    return np.tanh(np.asarray(x) @ WEIGHTS[::-1])


X = RNG.normal(size=(12, 12)).astype(np.float32)
SMALL = Goal({"credibility": 1}, methods=["occlusion", "constant"], metrics=["C1"])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    file = tmp_path_factory.mktemp("kept") / "search.json"
    search(model, X, SMALL, batch_size=64, file=file)
    return file.read_text("utf-8")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_said_to_be_no_search(kept, tmp_path, share):
    file = tmp_path / "search.json"
    file.write_text(kept[: int(share * len(kept))], encoding="utf-8")
    with pytest.raises(LoadError, match="no file of a search"):
        search(model, X, SMALL, batch_size=64, file=file)


def test_a_record_that_lost_a_part_is_said_to_be_none(kept, tmp_path):
    document = json.loads(kept)
    del next(iter(document["records"].values()))["spent"]
    file = tmp_path / "search.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(LoadError, match="no file of a search"):
        search(model, X, SMALL, batch_size=64, file=file)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ((other, X, SMALL), {}),
        ((model, X + 1, SMALL), {}),
        ((model, X, Goal({"credibility": 1}, methods=["occlusion", "constant"],
                         metrics=["C1", "C2"])), {}),
        ((model, X, SMALL), {"seed": 1}),
    ],
    ids=["model", "data", "goal", "seed"],
)  # fmt: skip
def test_a_file_of_another_model_data_goal_or_seed_is_refused(kept, tmp_path, given, options):
    file = tmp_path / "search.json"
    file.write_text(kept, encoding="utf-8")
    with pytest.raises(InputError, match="another search"):
        search(*given, batch_size=64, file=file, **options)
    assert file.read_text("utf-8") == kept


@pytest.mark.parametrize("lost", ["gates", "certify"])
def test_a_search_killed_while_it_certifies_makes_one_explanation_again(tmp_path, lost):
    file, goal = tmp_path / "search.json", replace(SMALL, budget=40_000)
    whole = search(model, X, goal, batch_size=64, file=file)
    document = json.loads(file.read_text("utf-8"))
    records = document["records"]
    gone = [key for key in records if key.startswith("gates")]
    if lost == "certify":  # all but the first, which is the control's
        gone += [key for key in records if key.startswith("certify")][1:]
    assert gone
    left = sum(records[key]["spent"] for key in gone)
    for key in gone:
        del records[key]
    file.write_text(json.dumps(document), encoding="utf-8")
    with tallied(Tally()) as ran:
        again = search(model, X, goal, batch_size=64, file=file)
    # Explanations are not kept: one of six samples, of 13 rows and its own prediction each.
    assert left <= ran.spent <= left + 6 * 15
    assert str(again.certificate) == str(whole.certificate)


def of_words(ids):
    """A plain function of whole numbers, which refuses others."""
    ids = np.asarray(ids)
    assert ids.dtype.kind in "iu"
    return np.tanh(np.eye(12)[ids].sum(axis=1) @ WEIGHTS)


def test_a_search_over_words_by_number_goes_on_as_it_began(tmp_path):
    file, ids = tmp_path / "search.json", RNG.integers(0, 12, (12, 5))
    whole = search(of_words, ids, SMALL, batch_size=64, file=file)
    document = json.loads(file.read_text("utf-8"))
    kinds = ("gates", "certify", "race | occlusion")
    gone = [key for key in document["records"] if key.startswith(kinds)]
    assert gone
    for key in gone:
        del document["records"][key]
    file.write_text(json.dumps(document), encoding="utf-8")
    again = search(of_words, ids, SMALL, batch_size=64, file=file)
    assert str(again.certificate) == str(whole.certificate)
    assert again.verdict == whole.verdict


def test_a_model_of_maps_is_searched_and_goes_on(tmp_path):
    """Outputs that are no rows of numbers are not kept, and are asked for again."""
    x = RNG.normal(size=(12, 4, 4, 1)).astype(np.float32)
    file = tmp_path / "search.json"

    def maps(a):
        return np.asarray(a) * WEIGHTS[0, 0]

    goal = Goal({"credibility": 1}, methods=["occlusion"], metrics=["C1"])
    asked = {"target": lambda out: out.sum(axis=(1, 2, 3)), "batch_size": 64, "file": file}
    whole = search(maps, x, goal, **asked)
    assert "outputs" not in file.read_text("utf-8")
    assert search(maps, x, goal, **asked).verdict == whole.verdict


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_what_was_found_and_the_search_goes_on(tmp_path, monkeypatch):
    file = tmp_path / "search.json"
    real, calls = os.replace, []

    def twice(*names):
        calls.append(names)
        return real(*names) if len(calls) <= 2 else full()

    monkeypatch.setattr("os.replace", twice)
    with pytest.raises(InputError, match=r"No space left(.|\n)*still holds 2 records"):
        search(model, X, SMALL, batch_size=64, file=file)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["search.json"]
    whole, again = (search(model, X, SMALL, batch_size=64, file=f) for f in (None, file))
    assert again.verdict == whole.verdict
    assert again.spent == whole.spent


@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
def test_a_full_disk_is_a_reason_for_no_saved_explanation(tmp_path, monkeypatch, suffix):
    e = explain(model, X[:2], "occlusion")
    path = tmp_path / f"e{suffix}"
    monkeypatch.setattr("pellucid.store._write", full)
    with pytest.raises(LoadError, match=r"No space left(.|\n)*nothing was left there"):
        e.save(path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    e.save(path)
    monkeypatch.setattr("pellucid.store._write", full)
    with pytest.raises(LoadError, match="what stood there is as it was"):
        e.save(path)
    np.testing.assert_array_equal(type(e).load(path).values, e.values)
