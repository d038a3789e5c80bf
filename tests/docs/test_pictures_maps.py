"""The committed pictures of layers and weights are those that are drawn today."""

import importlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
SLOW = {"feature-maps.jpg", "boxes-and-more.jpg", "filters.png"}
NAMES = sorted(importlib.import_module("pictures_maps").PICTURES)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES]
)
def test_the_picture_is_todays(name):
    """Fonts and matplotlib's releases move a line by a pixel; the mean difference stays small."""
    pictures = importlib.import_module("pictures")
    made = pictures.encoded(pictures.pictures()[name](), name)
    drawn, kept = (
        Image.open(source).convert("RGB") for source in (io.BytesIO(made), DOCS / "images" / name)
    )
    difference = np.abs(np.asarray(drawn.resize(kept.size), float) - np.asarray(kept, float))
    assert difference.mean() < 6
