"""A surrogate tree as a drawing: what it imitates and how well, the cards, and what joins them."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.plain import readable
from pellucid.plots.marks import CHARACTER, Box, Curve, Drawing, Group, Mark, Words, fitting
from pellucid.plots.style import ThemeName, theme_of
from pellucid.plots.tree_cards import Palette, leaf_card, size_of, split_card
from pellucid.plots.tree_layout import Place, placed

if TYPE_CHECKING:
    from pellucid.inside.surrogate_result import SurrogateTree

_MARGIN = 16.0
_NARROWEST = 560.0


def drawing_of(found: "SurrogateTree", theme: ThemeName = "light") -> Drawing:
    """The whole picture, its size as the tree needs it."""
    places = placed(found.nodes, size_of)
    width = max(max(p.right for p in places) + 2 * _MARGIN, _NARROWEST)
    palette = _palette(found, theme)
    head, y = _head(found, palette, width)
    moved = [Place(p.x + _MARGIN, p.y + y + 14, p.width, p.height) for p in places]
    height = max(p.y + p.height for p in moved) + _MARGIN
    drawing = Drawing(width, height, palette.theme.ground, found.title, str(found))
    drawing.groups.append(Group(marks=head))
    drawing.groups += _edges(found, moved, palette)
    for node, place in zip(found.nodes, moved, strict=True):
        title = _title(found, node)
        if node.questions:
            drawing.groups.append(split_card(node, place, palette, title))
        else:
            drawing.groups.append(leaf_card(node, place, palette, _said(found, node), title))
    return drawing


def _palette(found: "SurrogateTree", theme: ThemeName) -> Palette:
    if found.classes:
        return Palette(theme_of(theme), found.classes)
    means = [float(node.values[0]) for node in found.leaves]
    return Palette(theme_of(theme), (), min(means), max(means))


def _said(found: "SurrogateTree", node: Any) -> str | float:
    return found.classes[int(node.values.argmax())] if found.classes else float(node.values[0])


def _head(found: "SurrogateTree", palette: Palette, width: float) -> tuple[list[Mark], float]:
    """Title, fidelity, warning and legend; and how far down they reach."""
    marks: list[Mark] = []
    y = _MARGIN + 12
    lines = [(found.title, 15.0, palette.theme.ink, True)]
    lines.append((f"{found.fidelity}.", 11.5, palette.theme.ink, False))
    if found.fidelity.warning:
        lines.append((found.fidelity.warning, 12.0, palette.alarm, True))
    for text, size, ink, bold in lines:
        room = int((width - 2 * _MARGIN) / ((0.63 if bold else CHARACTER) * size))
        for line in textwrap.wrap(text[:1].upper() + text[1:], room) or [""]:
            marks.append(Words(_MARGIN, y, line, size, ink, bold=bold))
            y += size + 6
    return marks + _legend(found, palette, y, width), y + 14


def _legend(found: "SurrogateTree", palette: Palette, y: float, width: float) -> list[Mark]:
    marks: list[Mark] = []
    x = _MARGIN
    if not found.classes:
        score = found.score_name.removeprefix("the ")
        ends = f"{readable(palette.low)} to {readable(palette.high)}"
        text = fitting(f"mean {score}, {ends}", width - 200, 11)
        for i, value in enumerate(np.linspace(palette.low, palette.high, 9)):
            marks.append(Box(x + 12 * i, y - 9, 12, 10, palette.of_score(float(value))))
        return [*marks, Words(x + 116, y, text, 11, palette.theme.ink)]
    for number, name in enumerate(found.classes):
        text = fitting(name, 150, 11)
        wide = 34 + len(text) * 1.1 * CHARACTER * 11
        if x + wide > width - 110 and number + 1 < len(found.classes):
            rest = f"and {len(found.classes) - number} more classes"
            return [*marks, Words(x, y, rest, 11, palette.theme.muted)]
        marks.append(Box(x, y - 9, 10, 10, palette.of_class(number)))
        marks.append(Words(x + 14, y, text, 11, palette.theme.ink))
        x += wide
    return marks


def _edges(found: "SurrogateTree", places: list[Place], palette: Palette) -> list[Group]:
    """Lines from questions to answers, as thick as rows go there, with their words."""
    groups = []
    for node in found.nodes:
        if not node.questions:
            continue
        own = places[node.number]
        for child, word in ((node.yes, "yes"), (node.no, "no")):
            other, share = places[child], found.nodes[child].count / found.nodes[0].count
            line = 1.0 + 7.0 * share
            if node.listed and word == "no" and found.nodes[child].questions:
                down = own.x + own.width / 2
                marks: list[Mark] = [
                    Curve(down, own.y + own.height, down, other.y, palette.edge, line,
                          straight=True),
                    Words(down + 6 + line / 2, own.y + own.height + 15, "no", 10.5,
                          palette.theme.ink),
                ]  # fmt: skip
            else:
                marks = [Curve(own.right, own.middle, other.x, other.middle, palette.edge, line)]
                marks.append(_answer(own, other, word, palette, level=node.listed))
            groups.append(Group(f"{word}: {found.nodes[child].count} rows", marks))
    return groups


def _answer(own: Place, other: Place, word: str, palette: Palette, *, level: bool) -> Mark:
    """Yes or no, at the end of the line where lines are apart."""
    upper = word == "yes" or level
    y = other.middle - 7 if upper else other.middle + 15
    return Words(other.x - 6, y, word, 10.5, palette.theme.ink, "end")


def _title(found: "SurrogateTree", node: Any) -> str:
    """All of what a card says, unshortened."""
    parts = [" and ".join(map(str, node.questions))] if node.questions else []
    if found.classes:
        pairs = zip(found.classes, node.values, strict=True)
        counts = ", ".join(f"{name}: {int(count)}" for name, count in pairs if count)
        parts.append(f"{node.count} rows: {counts}")
        parts.append(f"{node.right} of {node.fresh} held-out rows are {_said(found, node)}")
    else:
        mean, spread = map(float, node.values)
        parts.append(f"{node.count} rows, mean {readable(mean)}, deviation {readable(spread)}")
    return "; ".join(parts)
