"""A whole report in a real browser: nothing requested, no script needed, nothing hostile runs."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parent))

from axe import violations
from test_report_browser import CHROMIUM, HOSTILE, browse, requested

import pellucid

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"
)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A table and pictures whose every name is hostile, and the page of a model alone."""
    folder = tmp_path_factory.mktemp("whole")
    table = pandas.DataFrame(RNG.normal(size=(80, 3)), columns=[HOSTILE, "b", HOSTILE + "2"])
    labels = np.where(table["b"] + RNG.normal(size=80) / 2 > 0, HOSTILE, "other")
    estimator = LogisticRegression().fit(table, labels)
    pellucid.report(
        estimator, table, labels, out=folder / "table.html", examples=3, title=HOSTILE,
        names=[f"{HOSTILE}{i}" for i in range(80)], evaluate={"standard": ["I1", "C1"]},
    )  # fmt: skip
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 900, 2),
    )  # fmt: skip
    network[0].__class__ = type(HOSTILE, (torch.nn.Conv2d,), {})
    x = RNG.random((6, 3, 32, 32)).astype(np.float32)
    model = pellucid.wrap(network, class_names=[HOSTILE, "b"])
    pellucid.report(
        model, x, [0, 1, 0, 1, 0, 1], out=folder / "pictures.html", examples=3, evaluate=False,
        names=[f"{HOSTILE}{i}" for i in range(6)],
    )  # fmt: skip
    (folder / "model.html").write_text(pellucid.inspect(model, x).to_html(), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in NAMES}


NAMES = ("table", "pictures", "model")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_requested_and_nothing_hostile_runs(pages, name: str, tmp_path: Path):
    document = browse(pages[name], tmp_path, "--dump-dom")
    assert "data-pwned" not in document
    assert requested(pages[name], tmp_path) <= {pages[name].as_uri()}


@pytest.mark.parametrize("name", NAMES)
def test_it_says_the_same_without_scripts(pages, name: str, tmp_path: Path):
    page = pages[name].read_text("utf-8")
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r"<script.*?</script>", "", page, flags=re.S), encoding="utf-8")
    off, on = (browse(p, tmp_path, "--dump-dom") for p in (bare, pages[name]))
    assert "<script" not in off
    assert text_of(off) == text_of(on)


def text_of(document: str) -> str:
    body = re.sub(r"<(script|style).*?</\1>", "", document, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(pages, name: str, tmp_path: Path):
    assert violations(pages[name], tmp_path) == []


@pytest.mark.parametrize("flags", [(), ("--force-dark-mode",)], ids=["light", "dark"])
def test_axe_finds_nothing_in_a_long_structure(tmp_path: Path, flags: tuple[str, ...]):
    layers = [layer for _ in range(40) for layer in (torch.nn.Linear(3, 3), torch.nn.ReLU())]
    page = tmp_path / "long.html"
    built = pellucid.inspect(torch.nn.Sequential(*layers), np.zeros((1, 3), np.float32))
    page.write_text(built.to_html(), encoding="utf-8")
    assert violations(page, tmp_path, *flags) == []
