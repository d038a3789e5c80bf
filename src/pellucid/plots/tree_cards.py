"""The cards of a tree: a question with the data it parts, and an answer with those it is given."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from pellucid.plain import readable
from pellucid.plots.marks import CHARACTER, Box, Curve, Group, Mark, Pixels, Shape, Words, fitting
from pellucid.plots.style import OKABE_ITO, Theme
from pellucid.plots.tree_layout import Place

SPLIT = 216.0
LEAF = 190.0
_PAD = 9.0
_HIGH = 40.0
_LINE = 15.0
_BIG, _SMALL = 12.0, 10.0
_BOLD = 0.63
"""The usual width of a bold character, in its size."""
_THUMB = 56.0
_LEAST = 2.0
"""No bar with rows in it is lower, so that few rows of many are seen."""


@dataclass(frozen=True)
class Palette:
    """Colours of a theme for classes, or for a score between `low` and `high`."""

    theme: Theme
    classes: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0

    def of_class(self, number: int) -> str:
        """The colour of a class; from the eighth on they come again."""
        return OKABE_ITO[number % 7]

    def of_score(self, score: float) -> str:
        """The colour of a score."""
        place = (score - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        # Neither end of the map is near black or white.
        return to_hex(self.theme.colour_map(False)(0.08 + 0.84 * float(np.clip(place, 0, 1))))

    @property
    def card(self) -> str:
        """The ground of a card."""
        return "#f6f7f9" if self.theme.ground == "#ffffff" else "#20242b"

    @property
    def tint(self) -> str:
        """The ground of the side that answers yes."""
        return "#e3e7ee" if self.theme.ground == "#ffffff" else "#333a46"

    @property
    def edge(self) -> str:
        return "#b9c0cb" if self.theme.ground == "#ffffff" else "#586273"

    @property
    def alarm(self) -> str:
        """The ink of a warning; 4.5 to 1 on the ground or more."""
        return "#a33000" if self.theme.ground == "#ffffff" else "#ffb37a"


def size_of(node: Any) -> tuple[float, float]:
    """Width and height of a node's card."""
    if not node.questions:
        return LEAF, 74.0 if node.drawn is not None else 52.0
    lines = len(question_lines(node))
    if node.drawn is None:
        return SPLIT, 2 * _PAD + lines * _LINE + 26
    return SPLIT, _PAD + lines * _LINE + _HIGH + (36 if node.drawn.picture is None else 38)


def question_lines(node: Any) -> list[str]:
    """What a node asks, on lines of its card: fewer categories are named where they do not fit."""
    room = int((SPLIT - 2 * _PAD) / (_BOLD * _BIG))
    found = []
    for i, question in enumerate(node.questions):
        lead = "and " if i else ""
        texts = [lead + question.words_for(limit) for limit in (6, 4, 3, 2, 1)]
        text = next((t for t in texts if len(t) <= 2 * room), texts[-1])
        found += _broken(text, room)
    return found


def _broken(text: str, room: int) -> list[str]:
    """Text on one line or two, between words where there are any."""
    line = " ".join(text.split())
    if len(line) <= room:
        return [line]
    cut = line.rfind(" ", room // 2, room + 1)
    if cut < 0:
        return [fitting(line, room * CHARACTER, 1)]
    return [line[:cut], fitting(line[cut + 1 :], room * CHARACTER, 1)]


def split_card(node: Any, place: Place, palette: Palette, title: str) -> Group:
    """The question, and how the rows here lie along the column it asks about."""
    marks: list[Mark] = [
        Box(place.x, place.y, place.width, place.height, palette.card, palette.edge, radius=6)
    ]
    y = place.y + _PAD + 10
    for line in question_lines(node):
        marks.append(Words(place.x + _PAD, y, line, _BIG, palette.theme.ink, bold=True))
        y += _LINE
    inside = Place(place.x + _PAD, y - 6, place.width - 2 * _PAD, _HIGH)
    below = inside.y + _PAD + 4
    if node.drawn is not None:
        if node.drawn.picture is not None:
            marks.append(_thumbnail(node.drawn.picture, inside))
            inside = Place(inside.x + _THUMB + 8, inside.y, inside.width - _THUMB - 8, _HIGH)
        marks += _histogram(node, inside, palette)
        below = inside.y + _HIGH + 24
    else:
        marks += _class_bar(node, Place(inside.x, inside.y, inside.width, 8), palette)
        below = inside.y + 22
    rows = "1 row" if node.count == 1 else f"{node.count} rows"
    marks.append(Words(inside.x, below, rows, _SMALL, palette.theme.muted))
    if node.drawn is not None and node.drawn.missing:
        marks.append(
            Words(inside.right, below, f"{node.drawn.missing} missing", _SMALL,
                  palette.theme.muted, "end")
        )  # fmt: skip
    return Group(title, marks)


def _thumbnail(picture: np.ndarray, room: Place) -> Mark:
    """Where the question looks, in a square at the left of the bars."""
    rows, columns = picture.shape[:2]
    scale = _THUMB / max(rows, columns)
    wide, high = columns * scale, rows * scale
    return Pixels(room.x + (_THUMB - wide) / 2, room.y + (_THUMB - high) / 2, wide, high, picture)


def _histogram(node: Any, area: Place, palette: Palette) -> list[Mark]:
    """Bars of the rows, those that answer yes on a tinted ground, the threshold marked."""
    drawn, question = node.drawn, node.questions[0]
    bars = len(drawn.counts)
    if drawn.edges is not None:
        span = drawn.edges[-1] - drawn.edges[0]
        cut = float(np.clip((question.threshold - drawn.edges[0]) / span, 0, 1))
    else:
        cut = drawn.yes / bars
    border = area.x + cut * area.width
    start, end = (border, area.right) if question.negated else (area.x, border)
    marks: list[Mark] = [Box(start, area.y, end - start, area.height, palette.tint)]
    step = area.width / bars
    for i in range(bars):
        marks += _bar(drawn, i, Place(area.x + i * step, area.y, step, area.height), palette)
    floor = area.y + area.height
    marks.append(Curve(area.x, floor, area.right, floor, palette.edge, straight=True))
    marks.append(Curve(border, area.y - 2, border, floor, palette.theme.ink, 1.2, straight=True))
    marks.append(
        Shape(((border, floor), (border - 4, floor + 6), (border + 4, floor + 6)),
              palette.theme.ink)
    )  # fmt: skip
    presence = question.presence and bars == 2
    return marks + _bar_labels(drawn, area, palette, border, presence=presence)


def _bar(drawn: Any, number: int, room: Place, palette: Palette) -> list[Mark]:
    """One bar: classes on each other, or one colour for the mean score."""
    counts = drawn.counts[number]
    scale = (room.height - 4) / max(float(drawn.counts.sum(axis=1).max()), 1.0)
    inset = min(1.0, room.width * 0.1)
    y, marks = room.y + room.height, []
    for number_of_class, count in enumerate(counts):
        if not count:
            continue
        high = max(float(count) * scale, _LEAST)
        y -= high
        if drawn.means is not None:
            fill = palette.of_score(float(drawn.means[number]))
        elif len(counts) == 1 and not palette.classes:
            middle = (drawn.edges[number] + drawn.edges[number + 1]) / 2
            fill = palette.of_score(float(middle))
        else:
            fill = palette.of_class(number_of_class)
        marks.append(Box(room.x + inset, y, max(room.width - 2 * inset, 0.5), high, fill))
    return marks


def _bar_labels(
    drawn: Any, area: Place, palette: Palette, border: float, *, presence: bool
) -> list[Mark]:
    y = area.y + area.height + 11
    if drawn.edges is None:
        step = area.width / len(drawn.words)
        return [
            Words(area.x + (i + 0.5) * step, y, fitting(word, 0.85 * step - 2, 8), 8,
                  palette.theme.muted, "middle")
            for i, word in enumerate(drawn.words)
            if step >= 28
        ]  # fmt: skip
    if presence:
        step = area.width / 2
        return [
            Words(area.x + (i + 0.5) * step, y, word, 9, palette.theme.muted, "middle")
            for i, word in enumerate(("hidden", "there"))
        ]
    low, high = readable(float(drawn.edges[0])), readable(float(drawn.edges[-1]))
    if len(drawn.edges) > 1 and drawn.edges[1] - drawn.edges[0] == 1:  # bins around whole numbers
        low = readable(float(drawn.edges[0] + 0.5))
        high = readable(float(drawn.edges[-1] - 0.5))
    marks: list[Mark] = []
    for text, x, anchor in ((low, area.x, "start"), (high, area.right, "end")):
        # Beside the border the value goes under its arrow, which hangs from the axis.
        below = 0 if abs(border - x) > len(text) * CHARACTER * 9 + 6 else 2
        marks.append(Words(x, y + below, text, 9, palette.theme.muted, anchor))
    return marks


def leaf_card(node: Any, place: Place, palette: Palette, said: str | float, title: str) -> Group:
    """The answer, the rows it was learned from, and how right it is on held-out ones."""
    colour = (
        palette.of_class(int(node.values.argmax()))
        if palette.classes
        else palette.of_score(float(node.values[0]))
    )
    marks: list[Mark] = [
        Box(place.x, place.y, place.width, place.height, palette.card, palette.edge, radius=6),
        Box(place.x, place.y + 6, 5, place.height - 12, colour),
    ]
    x, wide = place.x + _PAD + 5, place.width - 2 * _PAD - 5
    text = readable(said)
    if not palette.classes:
        text += f" ± {readable(float(node.values[1]))}"
    ink = palette.theme.ink
    marks.append(Words(x, place.y + 18, fitting(text, 0.88 * wide, _BIG), _BIG, ink, bold=True))
    if palette.classes:
        marks += _class_bar(node, Place(x, place.y + 24, wide, 8), palette)
    elif node.drawn is not None:
        marks += _scores(node, Place(x, place.y + 24, wide, 28), palette)
    foot = place.y + place.height - 8
    marks.append(Words(x, foot, _told(node, palette), _SMALL, palette.theme.muted))
    return Group(title, marks)


def _told(node: Any, palette: Palette) -> str:
    if not palette.classes:
        off = f" · off by {readable(node.error)}" if node.fresh else ""
        return f"{node.count} rows{off}"
    share = node.values.max() / max(node.count, 1)
    held = f" · {node.right} of {node.fresh} held out" if node.fresh else " · none held out"
    return f"{share:.0%} of {node.count}{held}"


def _class_bar(node: Any, area: Place, palette: Palette) -> list[Mark]:
    """The classes of the rows, side by side; of a score nothing."""
    if not palette.classes:
        return []
    marks, x = [], area.x
    for number, count in enumerate(node.values):
        width = area.width * float(count) / max(node.count, 1)
        if width:
            marks.append(Box(x, area.y, width, area.height, palette.of_class(number)))
        x += width
    return marks


def _scores(node: Any, area: Place, palette: Palette) -> list[Mark]:
    """The scores of the rows of a leaf, on the same axis in all leaves, the mean marked."""
    drawn = node.drawn
    step = area.width / len(drawn.counts)
    marks: list[Mark] = []
    for i in range(len(drawn.counts)):
        marks += _bar(drawn, i, Place(area.x + i * step, area.y, step, area.height), palette)
    floor = area.y + area.height
    place = (node.values[0] - drawn.edges[0]) / (drawn.edges[-1] - drawn.edges[0])
    mean = area.x + area.width * float(np.clip(place, 0, 1))
    ink = palette.theme.ink
    return [
        *marks,
        Curve(area.x, floor, area.right, floor, palette.edge, straight=True),
        Curve(mean, area.y, mean, floor, ink, 1.2, straight=True),
    ]
