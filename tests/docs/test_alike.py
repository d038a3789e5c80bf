"""The comparison of pictures finds a panel that is missing and lets a moved edge pass."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from alike import apart, marks_apart, pixels_apart

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DRAWN = ["activation-statistics.png", "board-adult.png", "embedding-digits.png", "filters.png"]


def picture(name: str) -> Image.Image:
    with Image.open(IMAGES / name) as image:
        return image.convert("RGB")


def erased(image: Image.Image, rows: slice, columns: slice) -> Image.Image:
    pixels = np.asarray(image).copy()
    height, width = pixels.shape[:2]
    top, bottom = (int(height * edge) for edge in (rows.start, rows.stop))
    left, right = (int(width * edge) for edge in (columns.start, columns.stop))
    pixels[top:bottom, left:right] = pixels[1, 1]
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_missing_or_without_colour_is_found(name: str):
    kept = picture(name)
    white = Image.new("RGB", kept.size, "white")
    assert pixels_apart(white, kept)
    assert pixels_apart(kept.convert("L").convert("RGB"), kept)
    for columns in (slice(0, 0.5), slice(0.5, 1)):
        assert pixels_apart(erased(kept, slice(0, 1), columns), kept), columns
    for rows in (slice(0, 0.5), slice(0.5, 1)):
        assert pixels_apart(erased(kept, rows, slice(0, 1)), kept), rows
    assert pixels_apart(kept.resize((kept.width, kept.height * 9 // 10)), kept)


PANELS = [(row, column) for row in range(2) for column in range(3)]


@pytest.mark.parametrize(("row", "column"), PANELS)
def test_one_panel_of_a_board_that_is_missing_is_found(row: int, column: int):
    kept = picture("board-adult.png")
    rows = slice(row / 2, row / 2 + 0.5)
    assert pixels_apart(erased(kept, rows, slice(column / 3, (column + 1) / 3)), kept)


@pytest.mark.parametrize("name", DRAWN)
def test_a_pixel_aside_and_the_noise_of_a_jpeg_pass(name: str):
    kept = picture(name)
    assert pixels_apart(kept, kept) is None
    aside = Image.fromarray(np.roll(np.asarray(kept), (1, -1), (0, 1)))
    assert pixels_apart(aside, kept) is None
    stream = io.BytesIO()
    kept.save(stream, format="jpeg", quality=85)
    assert apart(stream.getvalue(), (IMAGES / name).read_bytes(), name) is None
    assert pixels_apart(kept.resize((kept.width + 3, kept.height)), kept) is None


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg"><rect x="10" y="20" fill="#1f5fa0"/>'
    '<text x="12" y="30">age ≤ 30.5, 120 rows</text></svg>'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('x="10"', 'x="40"'),
        ("#1f5fa0", "#5f5f5f"),
        ("age", "sex"),
        ("30.5", "35.5"),
        ("≤", ">"),
        ('<rect x="10" y="20" fill="#1f5fa0"/>', ""),
        ("rect", "path"),
        (' fill="#1f5fa0"', ""),
    ],
)
def test_another_mark_is_found(old: str, new: str):
    assert marks_apart(SVG.replace(old, new), SVG)


def test_a_mark_half_a_unit_aside_passes():
    near = SVG.replace('x="10"', 'x="10.5"').replace("#1f5fa0", "#205ea1").replace("120", "121")
    assert marks_apart(near, SVG) is None


@pytest.mark.parametrize("name", ["tree.svg", "tree-rules.svg", "structure.svg"])
def test_a_drawing_without_one_of_its_marks_is_found(name: str):
    kept = (IMAGES / name).read_text("utf-8")
    assert marks_apart(kept, kept) is None
    at = kept.index("<text")
    assert marks_apart(kept[:at] + kept[kept.index("</text>", at) + 7 :], kept)
