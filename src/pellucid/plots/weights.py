"""Weights as pictures: filters of any number of channels, and the units of dense layers."""

import math
import textwrap
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.plots.pixels import principal_colours
from pellucid.plots.style import Theme, ThemeName, elide, new_figure, number, settle, theme_of
from pellucid.plots.tiles import mosaic

if TYPE_CHECKING:
    from pellucid.inside.weights import Weights

Sharing = Literal["all", "each"]


def weights(found: "Weights", name: str | None = None, **options: object) -> Figure:
    """Draw the filters or the dense weights of one layer, by default the first; the figure."""
    if name is None:
        first = [w for w in found if w.role == "filters"] or [w for w in found if w.role == "dense"]
        if not first:
            raise InputError("There are neither filters nor dense weights to draw.")
        own = first[0]
    else:
        own = found[name]
    options = {"title": own.name, **options}
    if own.role == "filters":
        return filters(own.filters, **options)  # type: ignore[arg-type]
    if own.role == "dense":
        return dense_weights(own.matrix, **options)  # type: ignore[arg-type]
    raise InputError(f"{own.name} of shape {own.values.shape} is neither filters nor dense.")


def filters(
    kernels: np.ndarray,
    *,
    most: int = 64,
    columns: int | None = None,
    scale: Sharing = "all",
    title: str = "",
    theme: ThemeName = "light",
) -> Figure:
    """Draw filters `(filters, height, width, channels)` as tiles; returns the figure.

    One channel is drawn in signed colours, its scale from −v to v written below. Three channels
    are red, green and blue, grey where they are zero: ½ + w / 2v. Of any other number the first
    three principal components over all filters and places are the colours, and the variance that
    they show is written below. v is the largest |w|, of "all" filters or of "each". Filters of
    one axis are drawn as rows; those of three axes by the middle of the first. `most` of them are
    drawn, the first ones.

    Raises `InputError` for another shape, or values that are not finite.
    """
    array = np.asarray(kernels, np.float64)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim == 5:
        array = array[:, array.shape[1] // 2]
    if array.ndim != 4 or 0 in array.shape or not np.isfinite(array).all():
        raise InputError(
            "Expected finite filters (filters, height, width, channels), got shape"
            f" {np.shape(kernels)}."
        )
    if scale not in ("all", "each"):
        raise InputError(f"Expected scale to be 'all' or 'each', got {scale!r}.")
    count, channels = len(array), array.shape[-1]
    colours = theme_of(theme)
    shown = array[: max(1, int(most))]
    largest = np.abs(array).max(axis=None if scale == "all" else (1, 2, 3), keepdims=True)
    if scale == "each":
        largest = largest[: len(shown)]
    v = np.where(largest > 0, largest, 1.0)
    if channels == 1:
        tiles = colours.colour_map(True)(0.5 + 0.5 * (shown / v)[..., 0])[..., :3]
        below = f"from −v to v = {number(float(np.abs(array).max()))}"
    elif channels == 3:
        tiles = 0.5 + 0.5 * shown / v
        below = f"red, green, blue: ½ + w / 2v, v = {number(float(np.abs(array).max()))}"
    else:
        coloured, share = principal_colours(array)
        tiles = coloured[: len(shown)]
        below = (
            f"{channels} channels: colours are the first {min(3, channels)} principal components,"
            f" {100 * share:.0f} % of the variance"
        )
        scale = "all"
    if scale == "each":
        below = "each filter on its own scale"
    return _sheet(tiles, count, columns, below, title, "filters", theme)


def dense_weights(
    matrix: np.ndarray,
    shape: tuple[int, ...] | None = None,
    *,
    most: int = 64,
    columns: int | None = None,
    scale: Sharing = "all",
    channels: Literal["last", "first"] = "last",
    title: str = "",
    theme: ThemeName = "light",
) -> Figure:
    """Draw what goes into each unit of a dense layer as a picture; returns the figure.

    `matrix` `(inputs, units)`: every column becomes a picture of `shape` (height, width) or with
    channels. Without a shape it is guessed, and the guess written below: a square, a square of
    three channels, else the rectangle nearest to a square. Signed colours from −v to v for one
    channel, ½ + w / 2v for three, principal components for more, as in `filters`.

    Raises `InputError` where a column has not as many numbers as the shape.
    """
    array = np.asarray(matrix, np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"Expected a matrix (inputs, units), got shape {array.shape}.")
    guessed = shape is None
    given = _guess(len(array)) if shape is None else tuple(int(s) for s in shape)
    if len(given) not in (2, 3) or math.prod(given) != len(array):
        raise InputError(
            f"Expected a shape (height, width) or with channels that holds {len(array)} numbers,"
            f" got {given}, which holds {math.prod(given)}."
        )
    pictures = array.T.reshape(-1, *given)
    if len(given) == 2:
        pictures = pictures[..., None]
    elif channels == "first":
        pictures = np.moveaxis(pictures, 1, -1)
    figure = filters(
        pictures, most=most, columns=columns, scale=scale, title=title, theme=theme
    )  # fmt: skip
    size = " × ".join(map(str, given))
    words = f"{len(array)} inputs as {size}{' (a guess: shape= says otherwise)' * guessed}; "
    below = " ".join(figure.get_supxlabel().split())
    _caption(figure, words + below.replace("filter", "unit"), theme_of(theme))
    return settle(figure)


def _caption(figure: Figure, words: str, colours: Theme) -> None:
    """Words below a figure, on as many lines as its width asks for."""
    before = figure.get_supxlabel().count("\n")
    lines = textwrap.wrap(words, int(13 * figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.14 * (len(lines) - 1 - before))
    figure.supxlabel("\n".join(lines), color=colours.muted, fontsize=8)


def _guess(count: int) -> tuple[int, ...]:
    side = math.isqrt(count)
    if side * side == count:
        return side, side
    coloured = math.isqrt(count // 3)
    if count % 3 == 0 and coloured * coloured * 3 == count:
        return coloured, coloured, 3
    height = max(h for h in range(1, side + 1) if count % h == 0)
    return height, count // height


def _sheet(
    tiles: np.ndarray,
    count: int,
    columns: int | None,
    below: str,
    title: str,
    what: str,
    theme: ThemeName,
) -> Figure:
    colours = theme_of(theme)
    across = columns or max(1, math.ceil(math.sqrt(len(tiles) * 1.6)))
    gap = max(1, tiles.shape[2] // 12)
    ground = 1.0 if colours.ground == "#ffffff" else 0.09
    sheet = mosaic(tiles, min(across, len(tiles)), gap=gap, fill=ground)
    width = float(np.clip(0.55 * min(across, len(tiles)), 3.2, 9.0))
    proportion = float(np.clip(sheet.shape[0] / sheet.shape[1], 0.1, 2.5))
    figure = new_figure(width, width * proportion + 0.8, colours)
    axes = figure.add_subplot()
    axes.imshow(np.clip(sheet, 0, 1), interpolation="nearest")
    axes.set_axis_off()
    if title:
        axes.set_title(
            elide(title, int(11 * width)), color=colours.ink, fontsize=10, parse_math=False
        )
    some = f"the first {len(tiles)} of " * (len(tiles) < count)
    shown = f"{some}{count} {what}"
    _caption(figure, f"{shown}; {below}", colours)
    return settle(figure)
