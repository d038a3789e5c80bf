"""Every committed picture is, within a tolerance, the one that is drawn today."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from alike import apart
from pictures_pages import CHROMIUM
from pictures_pages import PICTURES as PAGES

DOCS = Path(__file__).parents[2] / "docs"

SLOW = {
    "board-page.jpg": "a screenshot: Chromium and this machine's fonts",
    "report-whole.jpg": "a screenshot: Chromium and this machine's fonts",
    "report.jpg": "a screenshot, and the whole demo takes half a minute",
    "chickadee-five-methods.jpg": "five methods on MobileNetV2 take a quarter of a minute",
    "class-activation-maps.jpg": "24 maps of MobileNetV2 take half a minute",
    "embedding-digits.png": "another machine lays t-SNE out differently",
    "features-mobilenet.jpg": "an ascent of many steps takes long, and another machine rounds it",
    "feature-maps.jpg": "MobileNetV2 in Keras takes long to start",
    "filters.png": "MobileNetV2 in Keras takes long to start",
    "tree-photo.svg": "400 photographs with pieces left out go through MobileNetV2",
}
"""Which pictures `make test` leaves out, and why; `make test-all` has them."""
ELSEWHERE = {"agreement.svg"}
"""Drawn by `make agreement`, and compared with its own page by `tests/docs/test_page.py`."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else [])
        for n in sorted(importlib.import_module("pictures").pictures())
    ],
)
def test_the_picture_is_todays(name: str):
    if name in PAGES and CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    pictures = importlib.import_module("pictures")
    made = pictures.encoded(pictures.pictures()[name](), name)
    assert apart(made, (DOCS / "images" / name).read_bytes(), name) is None


def test_every_picture_of_the_pages_is_made_by_a_command_and_small():
    known = set(importlib.import_module("pictures").pictures())
    assert known | ELSEWHERE == {path.name for path in (DOCS / "images").iterdir()}
    for name in known:
        assert (DOCS / "images" / name).stat().st_size < 280_000, name
