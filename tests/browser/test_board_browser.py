"""The board in a real browser with the network cut off."""

from pathlib import Path

import numpy as np
import pandas
import pytest
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
