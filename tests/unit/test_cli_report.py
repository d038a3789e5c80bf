"""`pellucid report`, on a table with labels and on folders of pictures."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from pellucid.cli.application import application, exit_code
from pellucid.cli.reporting import pictures_in

NETWORK = """
import torch

def build():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(784, 3)
    return torch.nn.Sequential(*layers)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    for name in ("0/a", "1/b", "1/c"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    table = pandas.DataFrame(rng.normal(size=(40, 3)), columns=["age", "dose", "height"])
    table["ill"] = np.where(table["dose"] > 0, "yes", "no")
    table.to_csv(tmp_path / "data.csv", index=False)
    import skops.io

    fitted = LogisticRegression().fit(table[["age", "dose", "height"]], table["ill"])
    skops.io.dump(fitted, tmp_path / "model.skops")
    (tmp_path / "report_test_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(application, ["report", *map(str, arguments)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        return exit_code(ran.exception), str(ran.exception)
    return ran.exit_code, ran.stdout


def test_a_table_with_labels(folder: Path) -> None:
    code, out = run("model.skops", "data.csv", "--labels", "ill", "--out", "a/page.html",
                    "--examples", "2", "--metrics", "I1", "--no-progress")  # fmt: skip
    assert code == 0
    assert "a scorecard, a board" in out
    assert out.splitlines()[-1] == "a/page.html"
    page = Path("a/page.html").read_text("utf-8")
    assert 'id="board"' in page
    assert "row " in page


def test_folders_are_labels(folder: Path) -> None:
    code, out = run("report_test_net:build", "photos", "--size", "16x16", "--preprocess", "zero1",
                    "--no-evaluate", "-m", "saliency", "--json", "--no-progress")  # fmt: skip
    assert code == 0
    record = json.loads(out)
    assert [i["name"] for i in record["items"]] == ["a.png", "b.png", "c.png"]
    assert record["data"]["labels"] == [["1", 2], ["0", 1]]
    assert record["board"] is not None
    assert Path("report.html").exists()


def test_pictures_in_folders(folder: Path) -> None:
    paths, labels = pictures_in([Path("photos")])
    assert ([p.name for p in paths], labels) == (["a.png", "b.png", "c.png"], ["0", "1", "1"])
    assert pictures_in([Path("photos/1")]) == (
        [Path("photos/1/b.png"), Path("photos/1/c.png")],
        None,
    )
    assert pictures_in([Path("photos"), Path("photos/0/a.png")])[1] is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("model.skops data.csv --labels il", 2, "Nearest: 'ill'"),
        ("model.skops no.csv", 1, "No file no.csv"),
        ("model.skops data.csv -m saliencyy", 2, "saliency"),
        ("report_test_net:build empty", 2, "no picture in empty"),
        ("report_test_net:build photos --labels l.txt --size 16x16", 2, "2 lines for 3"),
        ("model.skops data.csv --drop ill --size 4x4", 2, "--size is for pictures"),
    ],
)
def test_wrong_arguments(folder: Path, arguments: str, code: int, said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "l.txt").write_text("0\n1\n")
    got, words = run(*arguments.split(), "--no-progress")
    assert said in words
    assert got == code
