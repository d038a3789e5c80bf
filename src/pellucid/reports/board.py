"""A board as a page, or as a section of one: everything in words and pictures of its own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.board import distributions, panel, panels
from pellucid.plots.image import image_map, is_image, picture_of, signed_part
from pellucid.plots.noise import value_for
from pellucid.plots.parts import seen_parts
from pellucid.plots.places import places as drawn_places
from pellucid.plots.scale import Scale
from pellucid.plots.style import elide, number, short_name
from pellucid.reports.board_tables import (
    Bar,
    ScoreLine,
    classes,
    error_in_words,
    importance,
    importance_words,
    in_words,
    interval,
    of_words,
    places,
    places_words,
    score_line,
    slices,
    slices_words,
)
from pellucid.reports.cells import method_title, ramp
from pellucid.reports.figures import figure_uri
from pellucid.reports.images import LADDER, Quality, is_small, photo_uri
from pellucid.reports.page import render_template
from pellucid.reports.record import plain
from pellucid.reports.repr import card_of
from pellucid.reports.words import meaning

if TYPE_CHECKING:
    from pellucid.board.examples import Example
    from pellucid.board.result import Board

_ALTS = {
    "confusion": "Confusion matrix; the table below has its numbers.",
    "roc": "ROC curves; areas are in the table of scores.",
    "precision_recall": "Precision against recall; areas are in the table of scores.",
    "calibration": "Observed against stated probability; a model that is calibrated lies on the"
    " diagonal.",
    "confidence": "How many right and wrong answers have which probability.",
    "classes": "How many rows have each label, and are predicted so.",
    "residuals": "Residuals against predictions.",
    "histogram": "How the residuals lie.",
}
_PLACES = "Where in its pictures the model looks, a map a class; the table below has the largest."
_MOST_COLUMNS = 24


class Picture(NamedTuple):
    """One picture and what it shows, in words."""

    uri: str
    alt: str
    width: int = 100
    """In percent of the page."""


@dataclass(frozen=True)
class ExampleView:
    """One row with its explanation."""

    anchor: str
    title: str
    line: str
    wrong: bool
    photo: str
    small: bool
    scale: str
    """What full colour means in its map; empty without one."""
    card: dict[str, Any] | None


@dataclass(frozen=True)
class GroupView:
    """Rows looked at for one reason."""

    title: str
    what: str
    examples: tuple[ExampleView, ...]


@dataclass(frozen=True)
class BoardView:
    """All that the template lays out."""

    title: str
    lead: str
    scores: tuple[ScoreLine, ...]
    pictures: tuple[Picture, ...]
    classes: tuple[tuple[str, ...], ...]
    classes_note: str
    slices: tuple[tuple[str, ...], ...]
    slices_words: str
    importance: tuple[Bar, ...]
    importance_words: str
    counted: str
    """What the lines of importance are of."""
    places: Picture | None
    places_words: str
    places_table: tuple[tuple[str, ...], ...]
    inputs: Picture | None
    inputs_words: str
    groups: tuple[GroupView, ...]
    asks: str
    ramp: str
    signed: bool
    cost: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    model: tuple[tuple[str, str], ...]


def board_html(board: "Board", *, budget_megabytes: float = 5.0) -> str:
    """The board as a page of its own; pictures are made smaller until it fits the budget.

    Raises `InputError` where even the smallest do not.
    """
    smallest, record = 0, plain(board.to_dict())
    for quality in LADDER:
        page = render_template(
            "board_page.html.j2", board=board_view(board, quality), level=2, record=record
        )
        smallest = len(page.encode("utf-8"))
        if smallest <= budget_megabytes * 1e6:
            return page
    raise InputError(
        f"this board takes {smallest / 1e6:.2f} MB even with its smallest pictures; the budget is"
        f" {budget_megabytes:g} MB.\n  Ask for fewer examples, or raise budget_megabytes."
    )


def board_section(board: "Board", quality: Quality = LADDER[0], *, level: int = 3) -> str:
    """The inner HTML of a board, for a page that has the report's style sheet.

    `level` is that of its headings. In a template:
    `{% set board = ... %}{% include "board.html.j2" %}` with a `board_view` does the same.
    """
    return render_template("board.html.j2", board=board_view(board, quality), level=level)


def board_view(board: "Board", quality: Quality = LADDER[0]) -> BoardView:
    """Everything the template needs, as words and encoded pictures."""
    e = board.explanation
    signed = _signed(e)
    return BoardView(
        title=board.title,
        lead=_lead(board),
        scores=tuple(map(score_line, board.performance.scores)),
        pictures=tuple(
            Picture(figure_uri(panel(board, name), quality), _ALTS[name])
            for name in panels(board)
        ),
        **classes(board),
        slices=slices(board),
        slices_words=slices_words(board),
        importance=importance(board),
        importance_words=importance_words(board),
        counted="Word" if of_words(board) else "Column",
        places=None
        if board.places is None
        else Picture(figure_uri(drawn_places(board.places), quality), _PLACES),
        places_words=places_words(board),
        places_table=places(board),
        inputs=_inputs(board, quality),
        inputs_words=_inputs_words(board),
        groups=_groups(board, signed, quality),
        asks="" if e is None else f"{method_title(e.method)}: {meaning(e, 0)[0]}",
        ramp="" if signed is None else ramp(signed),
        signed=bool(signed),
        cost=tuple(
            (s.name, f"{s.rows:,}", f"{s.evaluations:,}", f"{s.seconds:.1f}") for s in board.stages
        ),
        notes=board.notes,
        warnings=board.warnings,
        model=tuple((k.replace("_", " ").capitalize(), str(v)) for k, v in board.model.items()),
    )  # fmt: skip


def _lead(board: "Board") -> str:
    first = board.performance.scores[0]
    sampled = (
        f"{board.rows:,} rows"
        if board.rows == board.count
        else f"{board.rows:,} rows drawn from {board.count:,}"
    )
    text = f"What the model does with {sampled}: {first.name} {in_words(first.value)}"
    limits = interval(first)
    text += f" ({limits}). " if limits else ". "
    if board.slices is not None and len(board.slices):
        worst = board.slices[0]
        text += (
            f"It errs most where {' and '.join(worst.conditions)}:"
            f" {error_in_words(board, worst.error)} against"
            f" {error_in_words(board, worst.rest)} elsewhere. "
        )
    if board.importance is not None and len(board.importance):
        names = [elide(r[0], 40) for r in board.importance.beyond_chance().rows[:3]]
        text += (
            f"What counts most: {', '.join(names)}." if names else "No column counts beyond chance."
        )
    return text


def _inputs(board: "Board", quality: Quality) -> Picture | None:
    drawn = (*board.answers, *board.inputs)[:_MOST_COLUMNS]
    if not drawn:
        return None
    what = "share of wrong rows" if board.task == "classification" else "mean absolute error"
    names, width = ", ".join(elide(d.name, 30) for d in drawn), min(100, 25 * len(drawn))
    uri = figure_uri(distributions(drawn, error=what), quality)
    return Picture(uri, f"How these lie, and the {what} along them: {names}.", width)


def _inputs_words(board: "Board") -> str:
    count = len(board.answers) + len(board.inputs)
    if not count:
        return ""
    more = f" The first {_MOST_COLUMNS} of {count} are drawn." if count > _MOST_COLUMNS else ""
    return (
        "Bars are rows, on the left axis; points how the rows in them err, on the right axis, which"
        " is one for all."
    ) + more


def _pictured(e: Explanation) -> list[int]:
    return [i for i in seen_parts(e) if is_image(e.parts[i])]


def _signed(e: Explanation | None) -> bool | None:
    """Whether the maps of examples have two signs; None where there are no maps."""
    images = [] if e is None else _pictured(e)
    if e is None or not images:
        return None
    return any(signed_part(e, k) for k in images)


def _scale(e: Explanation, place: int, signed: bool) -> Scale:
    """The scale of one example's maps: that of the strongest would leave others without colour."""
    return Scale.of([image_map(e.parts[k], place) for k in _pictured(e)], signed=signed)


def _groups(board: "Board", signed: bool | None, quality: Quality) -> tuple[GroupView, ...]:
    return tuple(
        GroupView(
            group.title,
            group.what,
            tuple(_example(board, e, signed, quality, f"{n}-{k}") for k, e in
                  enumerate(group.examples)),
        )
        for n, group in enumerate(board.examples)
    )  # fmt: skip


def _example(
    board: "Board", example: "Example", signed: bool | None, quality: Quality, key: str
) -> ExampleView:
    e, photo, small, full, card = board.explanation, "", False, "", None
    if e is not None and example.place is not None:
        pictured = [p for p in e.parts if {"height", "width"} <= set(p.input_dims)]
        if pictured:
            pixels = picture_of(pictured[0], example.place)
            photo, small = photo_uri(pixels, quality), is_small(pixels)
        scale = None if signed is None else _scale(e, example.place, signed)
        if scale is not None:
            full = f"full colour {number(scale.limit)}" if scale.limit else "all values are zero"
        card = card_of(e, example.place, seen_parts(e)[:3], scale)
        score = value_for(e.score, example.place)
        card["line"] = "" if score is None else f"{e.explained} {number(score)}"
    if board.task == "classification":
        label, said = short_name(example.label), short_name(example.predicted)
        line = f"label {label}, predicted {said} with {100 * example.sure:.1f} %"
    else:
        line = f"label {example.label}, predicted {example.predicted}"
    wrong = board.task == "classification" and example.label != example.predicted
    title = f"Row {example.row:,}"
    return ExampleView(f"example-{key}", title, line, wrong, photo, small, full, card)
