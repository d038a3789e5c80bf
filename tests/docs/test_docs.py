"""Every Python block of README and docs runs, and every command line in them is one."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import pandas
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sybil import Sybil
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from pellucid.demo import demo_photos
from pellucid.methods import registry

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [p for p in sorted((ROOT / "docs").glob("*.md")) if "```python" in p.read_text("utf-8")]
SYBIL = Sybil(parsers=[PythonCodeBlockParser()])


def parse(path: Path) -> Document:
    return SYBIL.parse(path)


def readme_blocks() -> list:
    blocks = list(parse(README).examples())
    return [pytest.param(i, id=f"line {b.line}") for i, b in enumerate(blocks)]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    known = set(sys.modules)
    yield
    plt.close("all")
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) in {str(p) for p in tmp_path.glob("*.py")}:
            del sys.modules[name]


@pytest.mark.parametrize("number", readme_blocks())
def test_readme_block_runs_by_itself(number):
    list(parse(README).examples())[number].evaluate()


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES])
def test_page_runs_from_top_to_bottom(page):
    for example in parse(page).examples():
        example.evaluate()


def commands() -> list[str]:
    found = []
    for path in (README, *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"^```sh\n(.*?)^```", path.read_text("utf-8"), re.S | re.M):
            lines = [line.split("   #")[0].strip() for line in block.splitlines()]
            found += [line for line in lines if line.startswith("pellucid ")]
    return list(dict.fromkeys(found))


def test_there_are_commands():
    assert len(commands()) > 5


@pytest.fixture
def _files(tmp_path):
    """What the commands name: a photo, models, labels, tables, a module with a factory."""
    (tmp_path / "photo.jpg").write_bytes(demo_photos()[0].path.read_bytes())
    layers = [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    factory = "import keras\n\n\ndef build():\n    return keras.models.load_model('model.keras')\n"
    (tmp_path / "goal.toml").write_text('methods = ["lime", "random"]\nmetrics = ["C1"]\n')
    (tmp_path / "my_models.py").write_text(factory)
    table = pandas.read_csv(ROOT / "tests" / "data" / "adult" / "adult-480.csv")
    table[:400].to_csv(tmp_path / "train.csv", index=False)
    table[400:420].to_csv(tmp_path / "data.csv", index=False)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["occupation", "education"])
    )
    pipeline = make_pipeline(encode, LogisticRegression()).fit(
        table[["occupation", "education"]], table["income"]
    )
    skops.io.dump(pipeline, tmp_path / "model.skops")


@pytest.mark.slow
@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("line", commands())
def test_command_runs(line):
    words = shlex.split(line) + (["--quick"] if line.startswith("pellucid demo") else [])
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False,
        timeout=600, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_pictures_are_there_and_small():
    for path in (README, *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text("utf-8")):
            picture = path.parent / target
            assert picture.is_file(), f"{path.name}: {target}"
            assert picture.stat().st_size < 300_000, target
