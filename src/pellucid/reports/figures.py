"""Drawn figures inside a page."""

import io
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pellucid.reports.images import BEST, Quality, png_uri


def figure_uri(drawn: Axes | Figure, quality: Quality = BEST) -> str:
    """A figure as a PNG data URI of 64 colours, sharp on dense screens at the best quality."""
    figure = cast(Figure, drawn.get_figure(root=True)) if isinstance(drawn, Axes) else drawn
    stream = io.BytesIO()
    dots = 70 + 80 * quality.map_side / BEST.map_side
    figure.savefig(stream, format="png", dpi=dots, facecolor=figure.get_facecolor())
    with Image.open(stream) as image:
        few = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small = io.BytesIO()
    few.save(small, format="png", optimize=True)
    return png_uri(small.getvalue())
