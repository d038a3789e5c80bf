"""A model's run as a picture of boxes and arrows, in SVG that is only text."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pellucid.errors import InputError
from pellucid.plots.layered import Edge, place
from pellucid.plots.style import ThemeName, elide, theme_of

if TYPE_CHECKING:
    from pellucid.inside.structure import Node

WIDE, HIGH, GAP_X, GAP_Y, MARGIN = 232, 44, 26, 24, 12
MOST = 2000
"""Boxes of one picture: more, and no browser enjoys it."""

_FOLLOWERS = frozenset({"activation", "norm", "bias", "softmax"})
_COLOURS = {
    "light": {"convolution": "#d5e5f7", "linear": "#d5e5f7", "attention": "#f6dcea",
              "rnn": "#f6dcea", "pool": "#e3e3ea", "add": "#fbe6c3", "mul": "#fbe6c3",
              "ends": "#d7efe4", "": "#f1f2f4"},
    "dark": {"convolution": "#1d3a57", "linear": "#1d3a57", "attention": "#512c42",
             "rnn": "#512c42", "pool": "#33343c", "add": "#574017", "mul": "#574017",
             "ends": "#1b4435", "": "#25282e"},
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """What one box says, and the numbers of the nodes in it."""

    title: str
    words: str
    full: str
    colour: str
    nodes: tuple[int, ...]


def graph_svg(
    nodes: "Sequence[Node]",
    edges: Sequence[Edge],
    *,
    theme: ThemeName = "light",
    join: bool = True,
) -> str:
    """The graph of a run as one SVG document, from inputs (top) to outputs.

    A norm or activation that alone follows a layer stands in its box if `join`. Names are cut in
    the middle where they are long and whole in the box's title; all text is escaped. A dashed box
    is a further call of a layer that was used before. Raises `InputError` without any node, as
    for a model that cannot be looked into, and for more than 2 000 boxes.

    >>> structure = inspect(model, x)
    >>> graph_svg(structure.nodes, structure.edges)[:4]
    '<svg'
    """
    if not nodes:
        raise InputError(
            "There is no graph to draw: the model's operations were not seen. Where it does not say"
            " which shape it takes, one input helps: inspect(model, x), or --shape in a command."
            " A model that can only be run, such as an estimator, has none."
        )
    boxes, lines = boxes_of(nodes, edges, join=join)
    if len(boxes) > MOST:
        raise InputError(f"A graph of {len(boxes)} boxes; at most {MOST} are drawn.")
    placed = place(len(boxes), lines)
    step_x, step_y = WIDE + GAP_X, HIGH + GAP_Y
    xs = [x for route in placed.routes.values() for x, _ in route] + list(placed.column)
    left = min(xs)
    width = (max(xs) - left) * step_x + WIDE + 2 * MARGIN
    height = max(placed.row) * step_y + HIGH + 2 * MARGIN
    look = theme_of(theme)
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
            "role": "img",
            "aria-label": f"The model as a graph of {len(boxes)} steps",
            "font-family": "system-ui, sans-serif",
        },
    )

    def centre(x: float, row: float) -> tuple[float, float]:
        return MARGIN + WIDE / 2 + (x - left) * step_x, MARGIN + HIGH / 2 + row * step_y

    for (_, b), route in placed.routes.items():
        points = [centre(x, row) for x, row in route]
        ElementTree.SubElement(
            root, "path",
            {"d": _curve(points), "fill": "none", "stroke": look.muted, "stroke-width": "1.4"},
        )  # fmt: skip
        _arrow(root, *centre(placed.column[b], placed.row[b]), look.muted)
    for box, x, row in zip(boxes, placed.column, placed.row, strict=True):
        _draw(root, box, *centre(x, row), nodes, theme)
    return ElementTree.tostring(root, encoding="unicode")


def boxes_of(
    nodes: "Sequence[Node]", edges: Sequence[Edge], *, join: bool = True
) -> tuple[list[Box], list[Edge]]:
    """Nodes put into boxes, and the edges between the boxes."""
    into: dict[int, list[int]] = {}
    out_of: dict[int, list[int]] = {}
    for a, b in edges:
        into.setdefault(b, []).append(a)
        out_of.setdefault(a, []).append(b)
    member: dict[int, int] = {}
    groups: list[list[int]] = []
    for i, node in enumerate(nodes):
        before = into.get(i, [])
        alone = len(before) == 1 and len(out_of.get(before[0], [])) == 1
        follows = (
            bool(node.kinds) and node.kinds <= _FOLLOWERS | {"linear"} and not node.multiply_adds
        )
        if join and alone and follows and nodes[before[0]].kind != "input":
            member[i] = member[before[0]]
            groups[member[i]].append(i)
        else:
            member[i] = len(groups)
            groups.append([i])
    lines = dict.fromkeys((member[a], member[b]) for a, b in edges if member[a] != member[b])
    return [_box(g, nodes) for g in groups], list(lines)


_LEARNED = frozenset({"trees", "kernel", "neighbours", "coefficients", "naive"})
"""What parts of an estimator hold weights of."""


def _box(group: list[int], nodes: "Sequence[Node]") -> Box:
    first, last = nodes[group[0]], nodes[group[-1]]
    again = f" (call {first.call})" if first.call > 1 else ""
    kinds = [n.kind for i in group for n in [nodes[i]] if n.layer or n is not first]
    shape = "" if last.shape is None else " × ".join(map(str, last.shape)) or "a number"
    said = elide(" · ".join(dict.fromkeys(kinds)), 24)
    words = f"{said} · {shape}" if said and shape else said or shape
    if first.detail:  # what it has learned says more than the shape of what it returns
        words = f"{elide(first.kind, 19)}: {', '.join(first.detail.split(', ')[:2])}"
    kind = "ends" if first.kind in {"input", "output"} else ""
    if first.kinds & _LEARNED:
        kind = "linear"
    for name in ("rnn", "attention", "convolution", "add", "mul", "pool", "linear"):
        if not kind and name in first.kinds:
            kind = name
    full = "\n".join(
        f"{nodes[i].name}: {nodes[i].kind}, {nodes[i].shape}"
        + (f", {nodes[i].detail}" if nodes[i].detail else "")
        + (f", {nodes[i].multiply_adds:,} multiply-adds" if nodes[i].multiply_adds else "")
        for i in group
    )
    return Box(f"{first.name}{again}", words, full, kind, tuple(group))


def _draw(
    root: ElementTree.Element,
    box: Box,
    x: float,
    y: float,
    nodes: "Sequence[Node]",
    theme: ThemeName,
) -> None:
    look = theme_of(theme)
    group = ElementTree.SubElement(root, "g")
    ElementTree.SubElement(group, "title").text = _printable(box.full)
    frame = {
        "x": f"{x - WIDE / 2:.1f}", "y": f"{y - HIGH / 2:.1f}", "width": str(WIDE),
        "height": str(HIGH), "rx": "7", "fill": _COLOURS[theme][box.colour],
        "stroke": look.muted, "stroke-width": "1",
    }  # fmt: skip
    if nodes[box.nodes[0]].call > 1:
        frame["stroke-dasharray"] = "5 3"
    ElementTree.SubElement(group, "rect", frame)
    for text, below, size, ink in (
        (elide(box.title, 30), -5, 12.5, look.ink),
        (elide(box.words, 42), 12, 10, look.muted if theme == "dark" else "#4a505a"),
    ):
        line = ElementTree.SubElement(
            group, "text",
            {"x": f"{x:.1f}", "y": f"{y + below:.1f}", "text-anchor": "middle",
             "font-size": str(size), "fill": ink},
        )  # fmt: skip
        line.text = _printable(text)


def _curve(points: list[tuple[float, float]]) -> str:
    """From the bottom of one box through the places between to the top of another."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    # Sideways moves are made between the rows, where no box stands.
    passed = [(x, y + side * HIGH / 2) for x, y in points[1:-1] for side in (-1, 1)]
    path = [(x0, y0 + HIGH / 2), *passed, (x1, y1 - HIGH / 2)]
    parts = [f"M {path[0][0]:.1f} {path[0][1]:.1f}"]
    for (ax, ay), (bx, by) in itertools.pairwise(path):
        middle = (ay + by) / 2
        parts.append(f"C {ax:.1f} {middle:.1f} {bx:.1f} {middle:.1f} {bx:.1f} {by:.1f}")
    return " ".join(parts)


def _arrow(root: ElementTree.Element, x: float, y: float, colour: str) -> None:
    top = y - HIGH / 2
    points = f"{x - 4:.1f},{top - 7:.1f} {x + 4:.1f},{top - 7:.1f} {x:.1f},{top:.1f}"
    ElementTree.SubElement(root, "polygon", {"points": points, "fill": colour})


def _printable(text: str) -> str:
    """Without what XML may not hold: names come from anywhere."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
