"""The board's committed picture is the one that is drawn today."""

import importlib
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))


def test_the_boards_panels_are_todays():
    pictures = importlib.import_module("pictures")
    content = pictures.encoded(pictures.pictures()["board-adult.png"](), "board-adult.png")
    with (
        Image.open(io.BytesIO(content)) as drawn,
        Image.open(DOCS / "images" / "board-adult.png") as kept,
    ):
        size = kept.size
        pair = [np.asarray(i.convert("L").resize(size), float) for i in (drawn, kept)]
    # Fonts and rounding differ a little from machine to machine.
    assert np.abs(pair[0] - pair[1]).mean() < 3.0
