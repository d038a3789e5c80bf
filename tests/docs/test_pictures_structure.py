"""The committed picture is the one that is drawn today."""

import importlib
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))


def test_the_graph_of_the_page_is_todays():
    pictures = importlib.import_module("pictures")
    made = pictures.encoded(pictures.pictures()["structure.svg"](), "structure.svg")
    assert made == (DOCS / "images" / "structure.svg").read_bytes()


def test_every_picture_that_can_be_drawn_is_there_and_small():
    known = importlib.import_module("pictures").pictures()
    for name in known:
        assert (DOCS / "images" / name).stat().st_size < 200_000, name
