"""Pictures from and to files: lists of them read side by side, arrays of any range written."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pellucid.errors import InputError
from pellucid.inputs.image import read_image
from pellucid.plots.pixels import Channels, range_of, to_pixels
from pellucid.plots.tiles import mosaic

AnyPath = str | PathLike[str]

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
"""What is written, by the end of a file's name."""


def read_images(
    paths: Sequence[AnyPath], folder: AnyPath | None = None, *, threads: int = 8
) -> list[np.ndarray]:
    """Read pictures side by side in threads: uint8 `(height, width, 3)` each, in the order given.

    `folder` is put before every name. See `read_image`.

    Raises `InputError` that names the first file of the list that cannot be read.
    """
    if isinstance(paths, str | bytes | PathLike):
        raise InputError(f"Expected a list of file names, got one: {paths!r}; see read_image.")
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if not whole or threads < 1:
        raise InputError(f"Expected threads to be a whole number of 1 or more, got {threads!r}.")
    named = [Path(fspath(p)) if folder is None else Path(folder) / fspath(p) for p in paths]
    if not named:
        return []
    with ThreadPoolExecutor(min(threads, len(named))) as pool:
        return list(pool.map(read_image, named))


def save_image(
    image: np.ndarray,
    path: AnyPath,
    *,
    channels: Channels = "last",
    limits: tuple[float, float] | None = None,
) -> Path:
    """Write an array of any range and number of channels as a picture; returns the path.

    The format is that of the name's end: png, jpg, webp, bmp or tif. What happens to ranges and
    channels is that of `to_pixels`: one channel is grey, more than four become colours.

    Raises `InputError` that names the file where it cannot be written.
    """
    target = Path(path)
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        known = ", ".join(FORMATS)
        raise InputError(f"{target} ends in none of {known}, so there is no format to write.")
    pixels = to_pixels(image, channels=channels, limits=limits)
    try:
        Image.fromarray(pixels).save(target, format=kind)
    except (OSError, ValueError) as error:
        raise InputError(f"{target} cannot be written: {error}.") from error
    return target


def save_images(
    images: Sequence[np.ndarray] | np.ndarray,
    path: AnyPath,
    *,
    columns: int | None = None,
    gap: int = 1,
    scale: Literal["each", "all"] = "all",
    channels: Channels = "last",
) -> Path:
    """Write pictures of one size as the tiles of one; returns the path.

    Ranges other than 8 bits, 0 to 1 and −1 to 1 are stretched for "all" alike, or for "each".
    Rows of `columns` tiles, about a square where it is None, with `gap` white pixels between.

    Raises `InputError` for pictures of several sizes, and as `save_image`.
    """
    if scale not in ("all", "each"):
        raise InputError(f"Expected scale to be 'all' or 'each', got {scale!r}.")
    arrays = [np.asarray(image) for image in images]
    if not arrays:
        raise InputError("Expected one picture or more to write.")
    limits = None
    if scale == "all":
        ends = [range_of(a) for a in arrays]
        low, high = min(a for a, _ in ends), max(b for _, b in ends)
        limits = (low, high) if high > low else None
    pixels = [to_pixels(a, channels=channels, limits=limits) for a in arrays]
    return save_image(mosaic(pixels, columns, gap=gap), path)
