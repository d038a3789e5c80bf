"""Many pictures on one sheet: mosaics of pixels, and grids with a caption under each."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.plots.pixels import Channels, range_of, to_pixels
from pellucid.plots.style import (
    ThemeName,
    axes_or_new,
    elide,
    new_figure,
    settle,
    theme_of,
    wrap,
)

Sharing = Literal["each", "all"]


def mosaic(
    tiles: Sequence[np.ndarray] | np.ndarray,
    columns: int | None = None,
    *,
    gap: int = 1,
    fill: float = 255,
) -> np.ndarray:
    """Arrays of one shape side by side, row after row, with `gap` places of `fill` between them.

    `tiles (k, height, width, ...)`; about as many rows as columns where `columns` is None.
    Returns `(rows · height + gaps, columns · width + gaps, ...)`, of the tiles' type.

    >>> mosaic(np.zeros((5, 4, 6)), columns=3, gap=1, fill=1.0).shape
    (9, 20)
    """
    arrays = [np.asarray(tile) for tile in tiles]
    if not arrays or arrays[0].ndim < 2 or {a.shape for a in arrays} != {arrays[0].shape}:
        shapes = ", ".join(str(a.shape) for a in arrays[:6])
        raise InputError(
            f"Expected tiles of one shape (height, width, ...), got {shapes or 'none'}."
        )
    columns = _columns(len(arrays), columns)
    rows = -(-len(arrays) // columns)
    height, width, *rest = arrays[0].shape
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, *rest)
    sheet = np.full(size, fill, dtype=np.result_type(*arrays))
    for index, tile in enumerate(arrays):
        top, left = (height + gap) * (index // columns), (width + gap) * (index % columns)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def image_grid(
    images: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[Any] | None = None,
    *,
    columns: int | None = None,
    scale: Sharing = "each",
    channels: Channels = "last",
    title: str = "",
    theme: ThemeName = "light",
) -> Figure:
    """Draw pictures of any sizes and numbers of channels as a grid; returns the figure.

    `images` `(k, height, width)` or with channels, or a list; `labels` stand above them. A range
    other than 0 to 1, −1 to 1 or 8 bits is stretched, for each picture, or for "all" alike.
    See `to_pixels` for what becomes of channels.

    Raises `InputError` where there are no pictures, or labels for another number of them.
    """
    arrays = [np.asarray(image) for image in images]
    if not arrays:
        raise InputError("Expected one picture or more to draw.")
    if scale not in ("each", "all"):
        raise InputError(f"Expected scale to be 'each' or 'all', got {scale!r}.")
    if labels is not None and len(labels) != len(arrays):
        raise InputError(f"{len(labels)} labels for {len(arrays)} pictures: one each is expected.")
    limits = None
    if scale == "all":
        ends = [range_of(a) for a in arrays]
        low, high = min(a for a, _ in ends), max(b for _, b in ends)
        limits = (low, high) if high > low else None
    pixels = [to_pixels(a, channels=channels, limits=limits) for a in arrays]
    colours, across = theme_of(theme), _columns(len(arrays), columns)
    down = -(-len(arrays) // across)
    tallest = max(p.shape[0] / p.shape[1] for p in pixels)
    side = float(np.clip(11.0 / across, 0.7, 2.6))
    words = 0.22 if labels is not None else 0.0
    height = down * (side * float(np.clip(tallest, 0.3, 2.5)) + words) + (0.35 if title else 0.0)
    figure = new_figure(max(across * side, 2.0), max(height, 1.0), colours)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for index, (axes, picture) in enumerate(zip(panels, pixels, strict=False)):
        axes.imshow(picture, interpolation="nearest" if picture.shape[0] < 64 else "antialiased")
        if labels is not None:
            words_above = wrap(labels[index], max(8, int(side * 11)))
            axes.set_title(words_above, fontsize=8, color=colours.ink, parse_math=False)
    if title:
        figure.suptitle(elide(title, 90), color=colours.ink, fontsize=11, parse_math=False)
    return settle(figure)


def frame(
    image: np.ndarray,
    title: str = "",
    *,
    channels: Channels = "last",
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw one picture of any range and number of channels, in its own proportions; the axes.

    `limits` says which values are black and white. See `to_pixels`.
    """
    pixels = to_pixels(image, channels=channels, limits=limits)
    colours, height = (
        theme_of(theme),
        4.0 * float(np.clip(pixels.shape[0] / pixels.shape[1], 0.3, 2)),
    )
    axes = axes_or_new(ax, 4.0, height, colours)
    axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 64 else "antialiased")
    axes.set_axis_off()
    if title:
        axes.set_title(wrap(title, 44), color=colours.ink, fontsize=10, parse_math=False)
    return axes


def _columns(count: int, given: int | None) -> int:
    whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if given is not None and not (whole and given > 0):
        raise InputError(f"Expected columns to be a whole number of 1 or more, got {given!r}.")
    return min(count, int(given) if given is not None else int(np.ceil(np.sqrt(count))))
