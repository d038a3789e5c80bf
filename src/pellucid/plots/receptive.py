"""What a unit of a layer sees, drawn over the input."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from pellucid.errors import InputError
from pellucid.plots.pixels import to_pixels
from pellucid.plots.style import OKABE_ITO, ThemeName, axes_or_new, theme_of, wrap

if TYPE_CHECKING:
    from pellucid.inside.receptive import ReceptiveField


def receptive_field(
    found: "ReceptiveField",
    unit: tuple[int, ...] | None = None,
    *,
    sample: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the box that a unit sees over the input, by default the middle one; returns the axes.

    Of a picture, over it; of a series, the steps that are seen. A neighbour's box is dashed.
    """
    colours = theme_of(theme)
    place = tuple(p // 2 for p in found.places) if unit is None else tuple(unit)
    box = found.box(place)
    if len(found.axes) > 2:
        raise InputError(f"Expected one or two axes to draw, got {', '.join(found.axes)}.")
    height = found.input_size[0] if len(found.axes) == 2 else 1
    width = found.input_size[-1]
    axes = axes_or_new(ax, 4.2, 4.2 * float(np.clip(height / width, 0.25, 2.0)) + 0.5, colours)
    if found.pictures is not None:
        pixels = to_pixels(found.pictures[sample])
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(pixels, interpolation="nearest", extent=extent)
    neighbour = tuple(p + 1 if p + 1 < n else p for p, n in zip(place, found.places, strict=True))
    for where, style in ((found.box(neighbour), "--"), (box, "-")):
        (top, bottom), (left, right) = where if len(where) == 2 else ((0, 0), where[0])
        if min(top, left) < 0:  # nothing of this input is seen
            continue
        axes.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False,
                edgecolor=OKABE_ITO[5], linewidth=2 if style == "-" else 1.2, linestyle=style,
            )
        )  # fmt: skip
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_aspect("equal" if len(found.axes) == 2 else "auto")
    axes.tick_params(labelsize=7, colors=colours.muted, labelcolor=colours.ink)
    if len(found.axes) == 1:
        axes.set_yticks([])
    title = f"unit {place} of {found.places}\n" + wrap(found.said, 60, 3)
    axes.set_title(title, fontsize=8, color=colours.ink, parse_math=False)
    return axes
