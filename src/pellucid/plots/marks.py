"""A picture as a list of boxes, lines and words in pixels, for SVG and for matplotlib alike."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from PIL import Image

from pellucid.plots.style import elide

CHARACTER = 0.56
"""The usual width of a character of a sans-serif face, in its size."""

_COLOURS = 64
"""A picture of more colours, and not tiny, is a photo: JPEG takes less room than PNG."""

_NO_XML = re.compile(
    "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True)
class Box:
    """A rectangle, rounded by `radius`."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    radius: float = 0.0
    line: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Curve:
    """A line from one point to another that starts and ends level."""

    x0: float
    y0: float
    x1: float
    y1: float
    stroke: str
    line: float = 1.0
    straight: bool = False


@dataclass(frozen=True)
class Shape:
    """A filled polygon."""

    points: tuple[tuple[float, float], ...]
    fill: str


@dataclass(frozen=True)
class Words:
    """One line of text; `anchor` is "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    size: float
    fill: str
    anchor: str = "start"
    bold: bool = False


@dataclass(frozen=True)
class Pixels:
    """A picture, uint8 `(rows, columns, 3)`, stretched over a rectangle."""

    x: float
    y: float
    width: float
    height: float
    pixels: np.ndarray


Mark = Box | Curve | Shape | Words | Pixels


@dataclass
class Group:
    """Marks that belong together, with what they stand for in full."""

    title: str = ""
    marks: list[Mark] = field(default_factory=list)


@dataclass
class Drawing:
    """A picture of `width` by `height` pixels on a ground of one colour."""

    width: float
    height: float
    ground: str
    title: str
    description: str
    groups: list[Group] = field(default_factory=list)


def fitting(text: object, width: float, size: float) -> str:
    """`text` on one line of so many pixels, its middle cut out where it is longer."""
    return elide(text, max(4, int(width / (CHARACTER * size))))


def clean(text: object) -> str:
    """Text without what XML does not allow or what turns the direction of writing."""
    return _NO_XML.sub("\ufffd", str(text))


def to_svg(drawing: Drawing, *, scale: float = 1.0) -> str:
    """The drawing as one SVG element: no script, no style sheet, no outside file."""
    width, height = drawing.width * scale, drawing.height * scale
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_n(width)}"'
        f' height="{_n(height)}" viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}"'
        ' font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif">'
        f"<title>{_text(drawing.title)}</title><desc>{_text(drawing.description)}</desc>"
        f'<rect width="100%" height="100%" fill="{drawing.ground}"/>'
    )
    return head + "".join(map(_group, drawing.groups)) + "</svg>\n"


def _group(group: Group) -> str:
    title = f"<title>{_text(group.title)}</title>" if group.title else ""
    return f"<g>{title}{''.join(map(_mark, group.marks))}</g>\n"


def _mark(mark: Mark) -> str:
    if isinstance(mark, Words):
        weight = ' font-weight="600"' if mark.bold else ""
        return (
            f'<text x="{_n(mark.x)}" y="{_n(mark.y)}" font-size="{_n(mark.size)}"'
            f' fill="{mark.fill}" text-anchor="{mark.anchor}"{weight}>{_text(mark.text)}</text>'
        )
    if isinstance(mark, Box):
        stroke = f' stroke="{mark.stroke}" stroke-width="{_n(mark.line)}"' if mark.stroke else ""
        radius = f' rx="{_n(mark.radius)}"' if mark.radius else ""
        clear = f' opacity="{_n(mark.opacity)}"' if mark.opacity < 1 else ""
        return (
            f'<rect x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}"'
            f' height="{_n(mark.height)}" fill="{mark.fill or "none"}"{stroke}{radius}{clear}/>'
        )
    if isinstance(mark, Pixels):
        return (
            f'<image x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}"'
            f' height="{_n(mark.height)}" preserveAspectRatio="none"'
            f' href="data:image/{_encoded(mark)}"/>'
        )
    if isinstance(mark, Shape):
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in mark.points)
        return f'<polygon points="{points}" fill="{mark.fill}"/>'
    return (
        f'<path d="{_way(mark)}" fill="none" stroke="{mark.stroke}"'
        f' stroke-width="{_n(mark.line)}"/>'
    )


def _encoded(mark: Pixels) -> str:
    """The picture, no finer than twice what is shown, in the format that suits it."""
    picture = Image.fromarray(mark.pixels)
    wanted = (round(2 * mark.width), round(2 * mark.height))
    if picture.width > wanted[0]:
        picture = picture.resize(wanted)
    stream = io.BytesIO()
    if min(picture.size) > 32 and picture.getcolors(_COLOURS) is None:
        picture.save(stream, format="jpeg", quality=80, optimize=True)
        return "jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    picture.quantize(_COLOURS).save(stream, format="png", optimize=True)
    return "png;base64," + base64.b64encode(stream.getvalue()).decode()


def _way(curve: Curve) -> str:
    if curve.straight:
        return f"M{_n(curve.x0)} {_n(curve.y0)}L{_n(curve.x1)} {_n(curve.y1)}"
    (ax, ay), (bx, by) = _bends(curve)
    return (
        f"M{_n(curve.x0)} {_n(curve.y0)}C{_n(ax)} {_n(ay)} {_n(bx)} {_n(by)}"
        f" {_n(curve.x1)} {_n(curve.y1)}"
    )


def _bends(curve: Curve) -> tuple[tuple[float, float], tuple[float, float]]:
    middle = (curve.x0 + curve.x1) / 2
    return (middle, curve.y0), (middle, curve.y1)


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _text(text: object) -> str:
    return escape(clean(text))


def on_axes(drawing: Drawing, axes: Axes) -> None:
    """The drawing on axes, whose own frame goes; letters have the size that fits them."""
    axes.set_axis_off()
    room = axes.get_position()
    wide, high = (axes.figure.get_figwidth(), axes.figure.get_figheight())  # type: ignore[union-attr]
    inches = min(room.width * wide / drawing.width, room.height * high / drawing.height)
    points = 72 * inches
    for order, mark in enumerate(m for group in drawing.groups for m in group.marks):
        _on_axes(mark, axes, points, 1 + order * 1e-4)
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.height, 0)
    axes.set_aspect("equal", adjustable="box")


def _on_axes(mark: Mark, axes: Axes, points: float, order: float) -> None:
    style: dict[str, Any] = {"zorder": order, "clip_on": False}
    if isinstance(mark, Words):
        axes.text(
            mark.x, mark.y, clean(mark.text), fontsize=mark.size * points, color=mark.fill,
            ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor], va="baseline",
            fontweight="bold" if mark.bold else "normal", parse_math=False, **style,
        )  # fmt: skip
        return
    if isinstance(mark, Pixels):
        extent = (mark.x, mark.x + mark.width, mark.y + mark.height, mark.y)
        axes.imshow(mark.pixels, extent=extent, aspect="auto", zorder=order, clip_on=False)
        return
    if isinstance(mark, Box):
        look = style | {
            "facecolor": mark.fill or "none", "edgecolor": mark.stroke or "none",
            "linewidth": mark.line * points if mark.stroke else 0, "alpha": mark.opacity,
        }  # fmt: skip
        if mark.radius:
            shape: Any = FancyBboxPatch(
                (mark.x, mark.y), mark.width, mark.height, mutation_scale=1,
                boxstyle=f"round,pad=0,rounding_size={mark.radius}", **look,
            )  # fmt: skip
        else:
            shape = Rectangle((mark.x, mark.y), mark.width, mark.height, **look)
    elif isinstance(mark, Shape):
        shape = Polygon(mark.points, closed=True, facecolor=mark.fill, linewidth=0, **style)
    else:
        shape = PathPatch(
            _path(mark), facecolor="none", edgecolor=mark.stroke, linewidth=mark.line * points,
            **style,
        )  # fmt: skip
    axes.add_patch(shape)


def _path(curve: Curve) -> Path:
    start, end = (curve.x0, curve.y0), (curve.x1, curve.y1)
    points: Sequence[tuple[float, float]] = (start, end)
    if not curve.straight:
        points = (start, *_bends(curve), end)
    codes = [Path.MOVETO, *([Path.CURVE4] * 3 if not curve.straight else [Path.LINETO])]
    return Path(points, codes)
