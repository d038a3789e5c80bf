"""What the page shows, as plain values: the template only lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pellucid.explanation import Explanation
from pellucid.plots.image import as_rgb, is_image, layer_words, picture_of
from pellucid.plots.noise import value_for
from pellucid.plots.parts import first_image
from pellucid.plots.style import elide, number, short_name
from pellucid.reports.cells import Column, column_of, method_title, question_of, ramp
from pellucid.reports.images import (
    Quality,
    ground_uri,
    is_small,
    photo_uri,
    thumbnail_uri,
)
from pellucid.reports.items import Answer, Study, StudyItem
from pellucid.reports.judging import ScorecardView, scorecard_view
from pellucid.reports.words import WIDE_GAP, join, percent, relative_error


@dataclass(frozen=True)
class NumbersRow:
    """One line of the table of methods."""

    method: str
    span: int
    question: str
    score: str
    baseline: str
    gap: str
    wide: bool
    error: str
    forward: str
    backward: str
    suffix: str
    seconds: str


@dataclass(frozen=True)
class Prediction:
    """One class: its name, its other names, its probability in words and as a bar."""

    name: str
    synonyms: str
    text: str
    width: float


class Ground(NamedTuple):
    """One input's picture for maps to lie on."""

    part: int
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class ItemView:
    """One input of the study."""

    anchor: str
    name: str
    caption: str
    photo: str
    small: bool
    """Whether the picture is shown as the squares it is made of."""
    grounds: tuple[Ground, ...]
    """The inputs that are pictures, in grey."""
    thumbnail: str
    width: int
    height: int
    best: str
    """The model's first answer with its probability, in a few words."""
    predictions: tuple[Prediction, ...]
    columns: tuple[Column, ...]
    rows: tuple[NumbersRow, ...]
    numbers_note: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PageView:
    """The whole page."""

    title: str
    summary: str
    items: tuple[ItemView, ...]
    model: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    reproduce: str
    scorecard: ScorecardView | None
    has_channels: bool
    has_errors: bool
    has_images: bool
    has_bars: bool
    ramps: tuple[str, str]


def study_view(study: Study, quality: Quality) -> PageView:
    """Everything the template needs, pictures encoded."""
    items = tuple(_item(item, i, quality) for i, item in enumerate(study.items, start=1))
    first = study.items[0].answers[0].explanation
    facts = study.model or {k: v for k, v in first.provenance.items() if np.isscalar(v)}
    parts = [p for item in study.items for a in item.answers for p in a.explanation.parts]
    images = [is_image(part) for part in parts]
    return PageView(
        title=study.title,
        summary=_summary(study, all(images), any(images)),
        items=items,
        model=tuple((_label(k), _fact(v)) for k, v in facts.items()),
        notes=tuple(study.notes),
        reproduce=study.reproduce.strip(),
        scorecard=None if study.scorecard is None else scorecard_view(study.scorecard),
        has_channels=any("channel" in part.dims for part in parts),
        has_errors=any(row.error for item in items for row in item.rows),
        has_images=any(images),
        has_bars=not all(images),
        ramps=(ramp(True), ramp(False)),
    )


def _summary(study: Study, images: bool, maps: bool) -> str:
    """Tell in a few sentences what the page is."""
    methods = dict.fromkeys(
        method_title(a.explanation.method) for i in study.items for a in i.answers
    )
    count, kind = len(study.items), "picture" if images else "input"
    what = f"{count} {kind}{'s' if count != 1 else ''}"
    how = join(list(methods)) if len(methods) <= 8 else f"{len(methods)} methods"
    text = (
        f"Why did the model answer as it did? This page puts that question to it for {what}, "
        f"by {how}. "
    )
    if maps:
        text += "Each map colours the picture by what moved the model's score and which way. "
    return text + (
        "A map is a measurement of the model, not a fact about the world; the words and numbers "
        "beside it say what it measures and how exactly."
    )


def _item(item: StudyItem, index: int, quality: Quality) -> ItemView:
    first, answers = item.answers[0], item.answers
    photo, thumbnail, caption, small, width, height = "", "", "", False, 0, 0
    grounds = []
    for i, part in enumerate(first.explanation.parts):
        given = item.picture if not photo else None
        if is_image(part) or (given is not None and first_image(first.explanation) is None):
            pixels = picture_of(part, first.sample) if given is None else as_rgb(given)
            grounds.append(Ground(i, ground_uri(pixels, quality), pixels.shape[1], pixels.shape[0]))
            if not photo:
                caption = layer_words(first.explanation, i) if given is None else ""
                height, width = pixels.shape[:2]
                photo, thumbnail = photo_uri(pixels, quality), thumbnail_uri(pixels)
                small = is_small(pixels)
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.explanation.method, []).append(answer)
    batch = max(len(a.explanation.parts[0].values) for a in answers)
    units = join(sorted({a.explanation.explained for a in answers}))
    note = f"Score and baseline score are in units of the {units}."
    if batch > 1:
        note += " Evaluations and seconds are means over the batch they were computed in."
    warnings = [
        f"{method_title(a.explanation.method)}: {w}"
        for a in answers
        for w in a.explanation.warnings
    ]
    if warnings and batch > 1:
        warnings.append(f"This is sample {first.sample} of its batch, counted from 0.")
    return ItemView(
        anchor=f"input-{index}",
        name=item.name,
        caption=". ".join(words for words in (item.caption, caption) if words),
        photo=photo,
        small=small,
        grounds=tuple(grounds),
        thumbnail=thumbnail,
        width=width,
        height=height,
        best=_best(item),
        predictions=tuple(_prediction(n, p) for n, p in item.predictions[:5]),
        columns=tuple(column_of(name, group, quality) for name, group in groups.items()),
        rows=tuple(row for group in groups.values() for row in _rows(group)),
        numbers_note=note,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _best(item: StudyItem) -> str:
    if item.predictions:
        first = _prediction(*item.predictions[0])
        return f"{first.name}, {first.text}"
    answer = item.answers[0]
    return short_name(answer.explanation.prediction_names[answer.sample])


def _prediction(name: str, probability: float) -> Prediction:
    short = short_name(name)
    others = elide(name.removeprefix(short), 80) if name.startswith(short) else ""
    if not np.isfinite(probability):
        return Prediction(short, others, "–", 0.0)
    share = min(max(float(probability), 0.0), 1.0)
    text = "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
    return Prediction(short, others, text, round(100 * share, 2))


def _rows(answers: Sequence[Answer]) -> list[NumbersRow]:
    rows = []
    for position, answer in enumerate(answers):
        e = answer.explanation
        count = len(e.parts[0].values)
        score, baseline = (
            value_for(e.score, answer.sample),
            value_for(e.baseline_score, answer.sample),
        )
        gap = value_for(e.gap, answer.sample)
        wide = gap is not None and not gap <= WIDE_GAP
        rows.append(
            NumbersRow(
                method=method_title(e.method),
                span=len(answers) if position == 0 else 0,
                question=question_of(answer),
                score="–" if score is None else number(score),
                baseline="–" if baseline is None else number(baseline),
                gap="–" if gap is None else _gap(gap),
                wide=wide,
                error=_error(e, answer.sample),
                forward=_each(e.evaluations.forward, count),
                backward=_each(e.evaluations.backward, count),
                suffix=_each(e.evaluations.suffix, count),
                seconds=f"{e.seconds / count:.2f}",
            )
        )
    return rows


def _error(explanation: Explanation, sample: int) -> str:
    error = relative_error(explanation, sample)
    return "" if error is None else percent(error)


def _gap(gap: float) -> str:
    if not np.isfinite(gap):
        return "not finite"
    return "< 0.1 %" if gap < 0.001 else f"{100 * gap:.1f} %"


def _each(count: int, samples: int) -> str:
    share = count / max(samples, 1)
    return f"{share:,.0f}" if share == int(share) else f"{share:,.1f}"


def _label(key: object) -> str:
    text = str(key).replace("_", " ")
    return text[:1].upper() + text[1:]


def _fact(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
