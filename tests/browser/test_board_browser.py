"""The board in a real browser with the network cut off."""

from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from axe import violations
from test_report_browser import CHROMIUM, HOSTILE, browse, requested

import pellucid

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"
)


def hostile_board():
    rng = np.random.default_rng(0)
    x = pandas.DataFrame({HOSTILE: rng.normal(size=150), "b": rng.choice([HOSTILE, "c"], 150)})
    turned = (x["b"] == HOSTILE) & (rng.random(150) < 0.4)
    labels = np.where((x[HOSTILE] > 0) ^ turned, HOSTILE, "no")
    return pellucid.board(
        lambda t: 4 * t[HOSTILE].to_numpy(), x, labels, class_names=["no", HOSTILE],
        title=HOSTILE, examples=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def of_strangers():
    return hostile_board()


def test_hostile_names_do_not_execute_and_nothing_is_requested(of_strangers, tmp_path: Path):
    page = of_strangers.save(tmp_path / "board.html")
    assert "data-pwned" not in browse(page, tmp_path, "--dump-dom")
    assert requested(page, tmp_path) <= {page.as_uri()}


def test_a_notebooks_frame_does_not_execute_either(of_strangers, tmp_path: Path):
    page = tmp_path / "cell.html"
    cell = of_strangers._repr_html_()
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8>{cell}", encoding="utf-8")
    assert "data-pwned" not in browse(page, tmp_path, "--dump-dom")


def board_of_pictures():
    """Pictures of three classes, some labels of one site turned."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 900, 3)
    )
    x = rng.random((120, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        labels = net(torch.from_numpy(x)).argmax(dim=1).numpy()
    site = rng.choice(["north", "south"], 120)
    turned = (site == "south") & (rng.random(120) < 0.6)
    labels = np.where(turned, (labels + 1) % 3, labels)
    return pellucid.board(net, x, labels, examples=2, slices={"site": site})


def board_of_numbers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3)).astype(np.float32)
    return pellucid.board(lambda a: 9 * a[:, 0], x, 9 * x[:, 0] + rng.normal(size=150), examples=2)


BOARDS = {"strangers": hostile_board, "pictures": board_of_pictures, "numbers": board_of_numbers}


@pytest.mark.parametrize("name", BOARDS)
def test_axe_finds_nothing_light_or_dark(name: str, tmp_path: Path):
    page = BOARDS[name]().save(tmp_path / f"{name}.html")
    assert violations(page, tmp_path) == []
    assert violations(page, tmp_path, "--force-dark-mode") == []


def test_axe_finds_what_is_wrong(tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<!DOCTYPE html><html><head><title>a</title></head><body><main><h1>a</h1>"
        "<img src='data:,'></main></body></html>",
        encoding="utf-8",
    )
    found = {rule for rule, *_ in violations(page, tmp_path)}
    assert found == {"html-has-lang", "image-alt"}
