"""Arrays of any number of channels and any range as pictures that a person can see."""

from typing import Literal

import numpy as np

from pellucid.errors import InputError

Channels = Literal["last", "first"]


def to_pixels(
    image: np.ndarray,
    *,
    channels: Channels = "last",
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """An array `(height, width)` or `(height, width, channels)` as uint8 `(height, width, 3)`.

    One channel is grey, three are colours, four colours and opacity (on white); of any other
    number the first three principal components are the colours (see `principal_colours`). Whole
    numbers of 8 bits stay as they are; fractions within 0 to 1, else within −1 to 1, span that
    range, and anything else the range that it has, unless `limits` says which one.

    Raises `InputError` for another shape, an empty picture, or values that are not finite.
    """
    array = _checked(image, channels)
    if array.shape[-1] not in (1, 3, 4):
        array = principal_colours(array)[0]
        limits = (0.0, 1.0)
    pixels = _in_8_bits(array, limits)
    if pixels.shape[-1] == 4:
        opacity = pixels[..., 3:].astype(np.float64) / 255
        blended = pixels[..., :3] * opacity + 255 * (1 - opacity)
        return np.round(blended).astype(np.uint8)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def range_of(image: np.ndarray) -> tuple[float, float]:
    """The range that an array spans as a picture: (0, 255), (0, 1), (−1, 1) or its own."""
    array = np.asarray(image)
    if array.dtype == np.uint8:
        return 0.0, 255.0
    if array.dtype == np.bool_:
        return 0.0, 1.0
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f":
        for ends in ((0.0, 1.0), (-1.0, 1.0)):
            if ends[0] <= low and high <= ends[1] and high > low:
                return ends
    return low, high


def principal_colours(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Vectors `(..., channels)` as colours `(..., 3)` of 0 to 1, and the variance that they show.

    c = ½ + V₃ᵀ (v − mean v) / (2 s),  V₃ the first three principal directions, s the largest |·|

    One scale s for all three, so that a stronger component is a stronger colour. A direction has
    no sign of its own: its largest part is turned to be above zero. With fewer than three channels
    the rest stays grey.
    """
    array = np.asarray(values, np.float64)
    flat = array.reshape(-1, array.shape[-1])
    centred = flat - flat.mean(axis=0)
    sizes, directions = np.linalg.eigh(centred.T @ centred)
    sizes, directions = sizes[::-1][:3], directions[:, ::-1][:, :3]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    projected = centred @ (directions * np.where(largest < 0, -1.0, 1.0))
    total = float(np.square(centred).sum())
    scale = float(np.abs(projected).max(initial=0.0)) or 1.0
    colours = np.full((len(flat), 3), 0.5)
    colours[:, : projected.shape[1]] += projected / (2 * scale)
    share = float(sizes.sum()) / total if total else 1.0
    return colours.reshape(*array.shape[:-1], 3), min(max(share, 0.0), 1.0)


def _checked(image: np.ndarray, channels: Channels) -> np.ndarray:
    array = np.asarray(image)
    if channels not in ("last", "first"):
        raise InputError(f"Expected channels to be 'last' or 'first', got {channels!r}.")
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiub" or 0 in array.shape:
        raise InputError(
            "Expected a picture of numbers, (height, width) or (height, width, channels), got"
            f" {array.dtype} of shape {array.shape}."
        )
    if array.ndim == 2:
        array = array[..., None]
    elif channels == "first":
        array = np.moveaxis(array, 0, -1)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        missing = int((~np.isfinite(array)).sum())
        raise InputError(f"Expected a picture of finite numbers; {missing} are NaN or infinite.")
    return array


def _in_8_bits(array: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    if limits is None and array.dtype == np.uint8:
        return array
    low, high = range_of(array) if limits is None else limits
    if not np.isfinite([low, high]).all() or (limits is not None and high <= low):
        raise InputError(f"Expected limits (low, high) with low below high, got {limits!r}.")
    if high == low:
        return np.full(array.shape, 128, np.uint8)
    place = (array.astype(np.float64) - low) / (high - low)
    return np.round(np.clip(place, 0, 1) * 255).astype(np.uint8)
