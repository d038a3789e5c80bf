"""The committed drawings of trees are, within a tolerance, those that are drawn today."""

import importlib
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))


def places(drawing):
    """What kinds of marks there are, and where."""
    marks = [e for e in ElementTree.fromstring(drawing).iter() if e.get("x") or e.get("points")]
    kinds = [e.tag.rpartition("}")[2] for e in marks]
    return kinds, np.array([float(e.get("y", 0)) for e in marks])


@pytest.mark.parametrize(
    "name",
    ["tree.svg", "tree-rules.svg", pytest.param("tree-photo.svg", marks=pytest.mark.slow)],
)
def test_the_drawing_is_todays(name):
    made = importlib.import_module("pictures_tree").PICTURES[name]()
    committed = (DOCS / "images" / name).read_text("utf-8")
    assert len(committed) < 60_000
    (kinds, now), (kinds_then, then) = places(made), places(committed)
    assert kinds == kinds_then
    assert np.abs(now - then).mean() < 1
