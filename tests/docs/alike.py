"""How far apart two pictures are: block by block and in colour, or mark by mark of an SVG.

Another release of a font or a drawing library moves an edge by a pixel; that is allowed for.
An average over the whole page is not looked at: a panel that is missing hardly moves it.
"""

import base64
import io
import itertools
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

BLOCKS = 16
# Of 255, in the worst block: ink that is elsewhere, and colour that is another.
SHAPE, COLOUR = 10.0, 5.0
# Of an SVG, in its own units; of a colour, of 255; of a written number, of its size.
PLACE, SHADE, WRITTEN = 1.5, 12, 0.02
_NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")


def apart(made: bytes, kept: bytes, name: str) -> str | None:
    """What is not alike in two files of that name, or `None`."""
    if name.endswith(".svg"):
        return marks_apart(made.decode("utf-8"), kept.decode("utf-8"))
    return pixels_apart(_opened(made), _opened(kept))


def pixels_apart(made: Image.Image, kept: Image.Image) -> str | None:
    """What is not alike in two pictures: their size, or a block of one of them."""
    sizes = np.array([made.size, kept.size], float)
    if (np.abs(sizes[0] / sizes[1] - 1) > 0.02).any():
        return f"The size is {made.size}, it was {kept.size}."
    shape, colour = distances(made.resize(kept.size), kept)
    for what, found, most in (("shape", shape, SHAPE), ("colour", colour, COLOUR)):
        if found.max() > most:
            row, column = np.unravel_index(found.argmax(), found.shape)
            where = f"block {row}, {column} of {BLOCKS} by {BLOCKS}"
            return f"The {what} differs by {found.max():.1f} (at most {most}) in {where}."
    return None


def distances(made: Image.Image, kept: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """The difference of shape and of colour in each block, (16, 16) each, of 255.

    Shape is the mean absolute difference of slightly smoothed pixels, colour the difference of the
    block's mean in red and blue beside green; each the least over moves of up to two pixels.
    """
    new, old = _smooth(made), _smooth(kept)
    tint = _blocks(_beside_green(old))
    shapes, colours = [], []
    for down, right in itertools.product(range(-2, 3), repeat=2):
        moved = np.roll(new, (down, right), (0, 1))
        shapes.append(_blocks(np.abs(moved - old)).max(-1))
        colours.append(np.abs(_blocks(_beside_green(moved)) - tint).max(-1))
    return np.min(shapes, axis=0), np.min(colours, axis=0)


def _beside_green(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., [0, 2]] - pixels[..., [1]]


def _opened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def _smooth(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image, np.float32)
    for axis in (0, 1):
        pixels = (np.roll(pixels, 1, axis) + pixels + np.roll(pixels, -1, axis)) / 3
    return pixels


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """The mean of each of 16 by 16 blocks, of any size of picture."""
    for axis in (0, 1):
        starts = np.linspace(0, pixels.shape[axis], BLOCKS + 1).astype(int)
        sums = np.add.reduceat(pixels, starts[:-1], axis)
        shape = [-1 if a == axis else 1 for a in range(pixels.ndim)]
        pixels = sums / np.diff(starts).reshape(shape)
    return pixels


def marks_apart(made: str, kept: str) -> str | None:
    """What is not alike in two drawings: a mark, its place, colour, words or numbers."""
    new, old = (list(ElementTree.fromstring(text).iter()) for text in (made, kept))
    kinds = [[e.tag.rpartition("}")[2] for e in marks] for marks in (new, old)]
    if kinds[0] != kinds[1]:
        return f"There are {len(new)} marks of other kinds or in another order, not {len(old)}."
    for number, (one, other) in enumerate(zip(new, old, strict=True)):
        found = _words_apart(one.text or "", other.text or "", WRITTEN, 0.0)
        found = found or _words_apart(one.tail or "", other.tail or "", WRITTEN, 0.0)
        if set(one.attrib) != set(other.attrib):
            found = f"attributes {sorted(one.attrib)}, not {sorted(other.attrib)}"
        for key in one.attrib:
            found = found or _attribute_apart(one.attrib[key], other.attrib[key])
        if found:
            return f"Mark {number} ({kinds[0][number]}): {found}."
    return None


def _attribute_apart(one: str, other: str) -> str | None:
    if one == other:
        return None
    if one.startswith("data:image/") and other.startswith("data:image/"):
        pictures = (_opened(base64.b64decode(text.partition(",")[2])) for text in (one, other))
        return pixels_apart(*pictures)
    shades = [_COLOUR.findall(text) for text in (one, other)]
    if len(shades[0]) != len(shades[1]):
        return f"{one!r}, not {other!r}"
    for new, old in zip(*shades, strict=True):
        channels = [np.frombuffer(bytes.fromhex(c[1:]), np.uint8).astype(int) for c in (new, old)]
        if np.abs(channels[0] - channels[1]).max() > SHADE:
            return f"the colour {new}, not {old}"
    return _words_apart(_COLOUR.sub("#", one), _COLOUR.sub("#", other), 0.0, PLACE)


def _words_apart(one: str, other: str, relative: float, absolute: float) -> str | None:
    """The words must be the same, the numbers between them nearly."""
    if _NUMBER.sub("0", one) != _NUMBER.sub("0", other):
        return f"{one!r}, not {other!r}"
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    for new, old in ((float(a.replace("−", "-")), float(b.replace("−", "-"))) for a, b in pairs):
        if abs(new - old) > absolute + relative * abs(old):
            return f"{one!r}, not {other!r}"
    return None
