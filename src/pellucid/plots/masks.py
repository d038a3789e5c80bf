"""Segmentation masks over a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from pellucid.errors import InputError
from pellucid.plots.pixels import Channels, to_pixels
from pellucid.plots.style import OKABE_ITO, ThemeName, axes_or_new, elide, theme_of


def masks(
    image: np.ndarray,
    found: np.ndarray,
    names: Mapping[int, str] | Sequence[str] | None = None,
    *,
    background: int | None = 0,
    alpha: float = 0.5,
    channels: Channels = "last",
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw segments over a picture, each in its colour with its border; returns the axes.

    `found` is a map of whole numbers `(height, width)`, where `background` is left as it is; or one
    mask for each segment `(k, height, width)`, of true and false or of probabilities, which count
    from ½ on: segments may then overlap, and are numbered from 0. `names` says what the numbers
    mean, in a legend. Colours repeat after eight, hatched in the legend.

    Raises `InputError` for masks of another size than the picture, or that are not finite.
    """
    pixels = to_pixels(image, channels=channels)
    numbers, parts = _parts(np.asarray(found), pixels.shape[:2], background)
    drawn = pixels.astype(np.float64) / 255
    for place, part in enumerate(parts):
        colour = np.array(to_rgb(OKABE_ITO[(5, 0, 2, 1, 3, 4, 6, 7)[place % 8]]))
        drawn[part] = (1 - alpha) * drawn[part] + alpha * colour
        drawn[_border(part)] = colour
    colours, (height, width) = theme_of(theme), pixels.shape[:2]
    axes = axes_or_new(ax, 4.0, 4.0 * float(np.clip(height / width, 0.3, 2.0)) + 0.4, colours)
    axes.imshow(np.clip(drawn, 0, 1), interpolation="nearest" if height < 64 else "antialiased")
    axes.set_axis_off()
    if numbers:
        handles = [
            Patch(
                facecolor=OKABE_ITO[(5, 0, 2, 1, 3, 4, 6, 7)[i % 8]],
                hatch="//" * (i // 8), label=elide(_name(n, names), 24),
            )
            for i, n in enumerate(numbers[:16])
        ]  # fmt: skip
        legend = axes.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), fontsize=7,
            frameon=False, ncols=min(3, len(handles)),
        )  # fmt: skip
        for text in legend.get_texts():
            text.set(color=colours.ink, parse_math=False)
    return axes


def _parts(
    found: np.ndarray, size: tuple[int, int], background: int | None
) -> tuple[list[int], list[np.ndarray]]:
    if found.ndim not in (2, 3) or found.shape[-2:] != size:
        raise InputError(
            f"Expected masks (height, width) or (k, height, width) of the picture's size {size},"
            f" got shape {found.shape}."
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise InputError("Expected masks of finite numbers; some are NaN or infinite.")
    if found.ndim == 3:
        switched = found if found.dtype == np.bool_ else found >= 0.5
        return list(range(len(found))), list(switched)
    if found.dtype == np.bool_:
        return [1], [found]
    if found.dtype.kind == "f" and not (found == np.round(found)).all():
        raise InputError(
            "Expected a map of whole numbers; probabilities come as (k, height, width)."
        )
    numbers = [int(n) for n in np.unique(found) if background is None or n != background]
    return numbers, [found == n for n in numbers]


def _border(part: np.ndarray) -> np.ndarray:
    """The places of a part that have a neighbour outside of it."""
    padded = np.pad(part, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return part & ~inside


def _name(number: int, names: Any) -> str:
    if names is None:
        return f"segment {number}"
    try:
        return str(names[number])
    except (KeyError, IndexError) as error:
        raise InputError(f"There is no name for the segment {number} in names=.") from error
