"""The committed pictures of embeddings and features are those that are drawn today."""

import importlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

# Another machine lays t-SNE out differently and rounds an ascent of many steps differently.
NAMES = [
    "embedding-neighbours.png",
    pytest.param("embedding-digits.png", marks=pytest.mark.slow),
    pytest.param("features-mobilenet.jpg", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_todays(name):
    pictures = importlib.import_module("pictures")
    made = pictures.encoded(pictures.pictures()[name](), name)
    kept = (DOCS / "images" / name).read_bytes()
    new, old = (np.asarray(Image.open(io.BytesIO(b)).convert("RGB"), float) for b in (made, kept))
    assert new.shape == old.shape
    assert np.abs(new - old).mean() < 12
