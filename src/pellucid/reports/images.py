"""Pictures inside a page: base64, as small as they can be without looking so."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pellucid.plots.image import faded_grey
from pellucid.plots.scale import Scale
from pellucid.plots.style import LIGHT


@dataclass(frozen=True)
class Quality:
    """How much of each picture a page can afford: sides in pixels, JPEG quality, map levels."""

    photo_side: int
    photo_quality: int
    map_side: int
    levels: int


BEST = Quality(photo_side=448, photo_quality=88, map_side=336, levels=24)
LADDER = (
    BEST,
    Quality(photo_side=360, photo_quality=82, map_side=224, levels=14),
    Quality(photo_side=288, photo_quality=76, map_side=160, levels=10),
    Quality(photo_side=224, photo_quality=70, map_side=112, levels=8),
    Quality(photo_side=160, photo_quality=60, map_side=80, levels=6),
)
"""Tried from the best down until a page fits its budget."""


SMALL = 64
"""Below so many pixels a picture is shown as the squares it is made of."""


def is_small(pixels: np.ndarray) -> bool:
    """Whether a browser would blur this picture beyond recognition by enlarging it."""
    return max(pixels.shape[:2]) < SMALL


def photo_uri(pixels: np.ndarray, quality: Quality) -> str:
    """A picture as a JPEG data URI; a small one as a PNG, which keeps every pixel."""
    if is_small(pixels):
        return _uri(Image.fromarray(np.ascontiguousarray(pixels)), "png", optimize=True)
    image = _shrunk(Image.fromarray(np.ascontiguousarray(pixels)), quality.photo_side)
    return _uri(image, "jpeg", quality=quality.photo_quality, optimize=True)


def ground_uri(pixels: np.ndarray, quality: Quality) -> str:
    """The picture in pale grey, for maps to lie on.

    Made here and not by a CSS filter, so that page, print and plot show the same grey.
    """
    grey = Image.fromarray(np.round(faded_grey(pixels) * 255).astype(np.uint8))
    if is_small(pixels):
        return _uri(grey, "png", optimize=True)
    shrunk = _shrunk(grey, quality.photo_side)
    return _uri(shrunk, "jpeg", quality=quality.photo_quality, optimize=True)


def thumbnail_uri(pixels: np.ndarray) -> str:
    """The whole picture made small, for the table of contents."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if is_small(pixels):
        return _uri(image, "png", optimize=True)
    return _uri(_shrunk(image, 256), "jpeg", quality=72, optimize=True)


def overlay_uri(values: np.ndarray, scale: Scale, quality: Quality) -> str:
    """A map as a transparent PNG, to lie on its photo.

    Colour and opacity follow from one number a pixel, so a palette of a few dozen levels
    holds them: a quarter of the size of full RGBA.
    """
    clean = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    small = np.asarray(_shrunk(Image.fromarray(clean, mode="F"), quality.map_side))
    place = np.clip(small / scale.top, -1.0 if scale.signed else 0.0, 1.0)
    low = -quality.levels if scale.signed else 0
    index = np.round(place * quality.levels).astype(np.int16) - low
    steps = np.arange(low, quality.levels + 1) / quality.levels * scale.top
    palette = np.round(scale.overlay(steps, LIGHT) * 255).astype(np.uint8)
    image = Image.fromarray(index.astype(np.uint8), mode="P")
    image.putpalette(palette[:, :3].tobytes())
    return _uri(image, "png", optimize=True, transparency=palette[:, 3].tobytes())


def composed_uri(pixels: np.ndarray, values: np.ndarray, scale: Scale, side: int = 224) -> str:
    """Photo and map in one picture, for places that keep no style sheet.

    A small one is enlarged here by whole squares, since a browser would blur it.
    """
    if is_small(pixels):
        times = max(1, side // max(pixels.shape[:2]))
        pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    height, width = pixels.shape[:2]
    shrink = min(1.0, side / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    grey = Image.fromarray(np.round(faded_grey(pixels) * 255).astype(np.uint8))
    ground = grey.resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    rgba = np.round(scale.overlay(np.asarray(values), LIGHT) * 255).astype(np.uint8)
    cover = Image.fromarray(rgba).resize(size, Image.Resampling.NEAREST)
    return _uri(Image.alpha_composite(ground, cover).convert("RGB"), "jpeg", quality=88)


def png_uri(data: bytes) -> str:
    """A finished PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    """The picture with its longer side at most `side`; never enlarged."""
    longest = max(image.size)
    if longest <= side:
        return image
    size = tuple(max(1, round(n * side / longest)) for n in image.size)
    method = Image.Resampling.BOX if image.mode == "F" else Image.Resampling.LANCZOS
    return image.resize((size[0], size[1]), method)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
