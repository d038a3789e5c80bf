"""Pictures from files: read safely, as upright 8-bit RGB, and brought to a model's size."""

import struct
import warnings
import zlib
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pellucid.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Pixel formats only: no SVG, PDF or PostScript, which are programs."""

MAX_IMAGE_PIXELS = 89_478_485
"""A quarter of a gigabyte once decoded; Pillow warns from the same number on."""

# What Pillow's decoders raise on damaged files, beside OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Read a picture as uint8 `(height, width, 3)`, turned upright, transparency on white.

    Of an animation or a document of several pages, the first. 16-bit grey is cut to 8 bits.
    """
    path = Path(path)
    _require_file(path)
    try:
        with _open(path) as image:
            _require_size(image, path)
            image.load()
            return np.array(_as_rgb(ImageOps.exif_transpose(image), path))
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is not a picture in a format pellucid reads ({', '.join(FORMATS)})."
        ) from error
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged or incomplete: {error}.") from error


def fit_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut uint8 `(h, w, 3)` to the wanted shape around its centre, then resize (bicubic)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"a picture is uint8 of shape (height, width, 3), not {image.dtype} {image.shape}."
        )
    if height < 1 or width < 1 or 0 in image.shape:
        raise InputError(f"cannot fit a picture of shape {image.shape} to {height} by {width}.")
    if image.shape[:2] == (height, width):
        return image.copy()
    # Cut first: `ImageOps.fit` lets pixels beyond the cut bleed into the border.
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    cut = Image.fromarray(image[top : top + rows, left : left + columns])
    return np.array(cut.resize((width, height), Image.Resampling.BICUBIC))


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a picture.")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes).")


def _open(path: Path) -> Image.Image:
    """Read the header only."""
    with warnings.catch_warnings():
        # Said below as an error, in words that name the file.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(path, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_large(path, str(error)) from error


def _require_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_large(path, f"{image.width} by {image.height} pixels")


def _too_large(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} is too large to decode safely: {found}; the limit is {MAX_IMAGE_PIXELS:,} "
        f"pixels. Resize it first."
    )


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise InputError(
            f"{path} holds 32-bit values of unknown range; save it with 8 bits per channel."
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    drawn = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")
