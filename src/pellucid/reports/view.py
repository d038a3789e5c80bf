"""What the page shows, as plain values: the template only lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from pellucid.explanation import Explanation
from pellucid.plots.image import as_rgb, image_map, is_image, picture_of, signed_part
from pellucid.plots.scale import Scale
from pellucid.plots.series import series
from pellucid.plots.style import LIGHT, Sheet, elide, number
from pellucid.plots.table import top_features
from pellucid.reports.images import (
    Quality,
    ground_uri,
    overlay_uri,
    photo_uri,
    png_uri,
    thumbnail_uri,
)
from pellucid.reports.items import Answer, Study, StudyItem
from pellucid.reports.words import WIDE_GAP, join, meaning, percent, value_for

TITLES = {
    "saliency": "Saliency",
    "gradient_x_input": "Gradient × input",
    "integrated_gradients": "Integrated gradients",
    "smoothgrad": "SmoothGrad",
    "gradcam": "Grad-CAM",
    "occlusion": "Occlusion",
    "random": "Random (control)",
    "edges": "Edges (control)",
    "constant": "Constant (control)",
}


@dataclass(frozen=True)
class Bar:
    """One feature of a table: its label, its number, and how far its bar reaches."""

    label: str
    text: str
    towards: bool
    width: float


@dataclass(frozen=True)
class Cell:
    """One map or one set of bars, under its question."""

    question: str
    found: str
    alt: str
    overlay: str = ""
    figure: str = ""
    note: str = ""
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class Column:
    """One method: its maps on one scale, and its words."""

    title: str
    name: str
    asks: str
    cells: tuple[Cell, ...]
    gradient: str
    ends: tuple[str, ...]
    signed: bool


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
class ItemView:
    """One input of the study."""

    anchor: str
    name: str
    caption: str
    photo: str
    ground: str
    thumbnail: str
    width: int
    height: int
    best: str
    """The model's first answer with its probability, in a few words."""
    predictions: tuple[tuple[str, str, float], ...]
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
    has_channels: bool
    has_errors: bool
    has_images: bool
    ramps: tuple[str, str]


def study_view(study: Study, quality: Quality) -> PageView:
    """Everything the template needs, pictures encoded."""
    items = tuple(_item(item, i, quality) for i, item in enumerate(study.items, start=1))
    first = study.items[0].answers[0].explanation
    facts = study.model or {k: v for k, v in first.provenance.items() if np.isscalar(v)}
    parts = [a.explanation.parts[0] for item in study.items for a in item.answers]
    images = [is_image(part) for part in parts]
    return PageView(
        title=study.title,
        summary=_summary(study, all(images)),
        items=items,
        model=tuple((_label(k), _fact(v)) for k, v in facts.items()),
        notes=tuple(study.notes),
        reproduce=study.reproduce.strip(),
        has_channels=any("channel" in part.dims for part in parts),
        has_errors=any(row.error for item in items for row in item.rows),
        has_images=any(images),
        ramps=(ramp(True), ramp(False)),
    )


def _summary(study: Study, images: bool) -> str:
    """Tell in a few sentences what the page is."""
    methods = dict.fromkeys(_title(a.explanation.method) for i in study.items for a in i.answers)
    count, kind = len(study.items), "picture" if images else "input"
    what = f"{count} {kind}{'s' if count != 1 else ''}"
    how = join(list(methods)) if len(methods) <= 8 else f"{len(methods)} methods"
    text = (
        f"Why did the model answer as it did? This page puts that question to it for {what}, "
        f"by {how}. "
    )
    if images:
        text += "Each map colours the picture by what moved the model's score and which way. "
    return text + (
        "A map is a measurement of the model, not a fact about the world; the words and numbers "
        "beside it say what it measures and how exactly."
    )


def _item(item: StudyItem, index: int, quality: Quality) -> ItemView:
    first, answers = item.answers[0], item.answers
    part = first.explanation.parts[0]
    photo, ground, thumbnail, width, height = "", "", "", 0, 0
    if is_image(part) or item.picture is not None:
        given = item.picture
        pixels = picture_of(part, first.sample) if given is None else as_rgb(given)
        height, width = pixels.shape[:2]
        photo, ground = photo_uri(pixels, quality), ground_uri(pixels, quality)
        thumbnail = thumbnail_uri(pixels)
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.explanation.method, []).append(answer)
    batch = max(len(a.explanation.parts[0].values) for a in answers)
    units = join(sorted({a.explanation.explained for a in answers}))
    note = f"Score and baseline score are in units of the {units}."
    if batch > 1:
        note += " Evaluations and seconds are means over the batch they were computed in."
    warnings = [
        f"{_title(a.explanation.method)}: {w}" for a in answers for w in a.explanation.warnings
    ]
    return ItemView(
        anchor=f"input-{index}",
        name=item.name,
        caption=item.caption,
        photo=photo,
        ground=ground,
        thumbnail=thumbnail,
        width=width,
        height=height,
        best=_best(item),
        predictions=tuple(_prediction(n, p) for n, p in item.predictions[:5]),
        columns=tuple(_column(name, group, quality) for name, group in groups.items()),
        rows=tuple(row for group in groups.values() for row in _rows(group)),
        numbers_note=note,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _best(item: StudyItem) -> str:
    if item.predictions:
        name, text, _ = _prediction(*item.predictions[0])
        return f"{name}, {text}"
    first = item.answers[0]
    return first.explanation.prediction_names[first.sample]


def _prediction(name: str, probability: float) -> tuple[str, str, float]:
    if not np.isfinite(probability):
        return name, "–", 0.0
    share = min(max(float(probability), 0.0), 1.0)
    text = "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
    return name, text, round(100 * share, 2)


def _column(method: str, answers: Sequence[Answer], quality: Quality) -> Column:
    part = answers[0].explanation.parts[0]
    scale = _shared_scale(answers)
    top = number(scale.limit)
    ends = (f"−{top}", "0", f"+{top}") if scale.signed else ("0", top)
    return Column(
        title=_title(method),
        name=method,
        asks=meaning(answers[0].explanation, answers[0].sample)[0],
        cells=tuple(_cell(answer, scale, quality) for answer in answers),
        gradient=ramp(scale.signed) if is_image(part) else "",
        ends=ends if scale.limit else ("0",),
        signed=scale.signed,
    )


def ramp(signed: bool) -> str:
    """The stops of a colour map for a CSS gradient."""
    return ", ".join(to_hex(LIGHT.colour_map(signed)(x)) for x in np.linspace(0, 1, 9))


def _shared_scale(answers: Sequence[Answer]) -> Scale:
    """One scale for a method's answers about one input, so that they can be compared."""
    parts = [a.explanation.parts[0] for a in answers]
    signed = any(signed_part(part) for part in parts)
    if not all(is_image(part) for part in parts):
        values = [part.values[a.sample] for part, a in zip(parts, answers, strict=True)]
        return Scale.of(values, percentile=100, signed=signed)
    maps = [image_map(part, a.sample) for part, a in zip(parts, answers, strict=True)]
    return Scale.of(maps, signed=signed)


def _cell(answer: Answer, scale: Scale, quality: Quality) -> Cell:
    explanation, sample = answer.explanation, answer.sample
    part = explanation.parts[0]
    found = meaning(explanation, sample)[1]
    alt = f"{_title(explanation.method)}, {answer.question} {found}"
    if is_image(part):
        values = image_map(part, sample)
        finite = np.isfinite(values).all()
        note = "" if values.any() and finite else "all values are zero"
        note = note if finite else "some values are not finite"
        uri = overlay_uri(values, scale, quality)
        return Cell(answer.question, found, alt, overlay=uri, note=note)
    if "step" in part.dims:
        return Cell(answer.question, found, alt, figure=series_uri(explanation, sample))
    return Cell(answer.question, found, alt, bars=feature_bars(explanation, sample, scale.limit))


def series_uri(explanation: Explanation, sample: int) -> str:
    """The drawn series as a PNG data URI."""
    sheet = series(explanation, sample).figure
    assert isinstance(sheet, Sheet)
    return png_uri(sheet._repr_png_())


def feature_bars(
    explanation: Explanation, sample: int, longest: float, count: int = 8
) -> tuple[Bar, ...]:
    """The strongest features as bars that a page can draw without a picture."""
    features = top_features(explanation, sample, count)
    most = max([longest, *(abs(f.attribution) for f in features)]) or 1.0
    return tuple(
        Bar(
            label=elide(f.name, 40) + (f" = {number(f.value)}" if f.value is not None else ""),
            text=("+" if f.attribution > 0 else "")
            + number(f.attribution)
            + (f" ± {number(f.stderr)}" if f.stderr is not None else ""),
            towards=f.attribution >= 0,
            width=round(50 * abs(f.attribution) / most, 2),
        )
        for f in features
    )


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
                method=_title(e.method),
                span=len(answers) if position == 0 else 0,
                question=answer.question,
                score="–" if score is None else number(score),
                baseline="–" if baseline is None else number(baseline),
                gap="–" if gap is None else _gap(gap),
                wide=wide,
                error=sampling_error(e, answer.sample),
                forward=_each(e.evaluations.forward, count),
                backward=_each(e.evaluations.backward, count),
                suffix=_each(e.evaluations.suffix, count),
                seconds=f"{e.seconds / count:.2f}",
            )
        )
    return rows


def sampling_error(explanation: Explanation, sample: int) -> str:
    """The standard error as a share of the map, root mean square; empty for exact methods."""
    part = explanation.parts[0]
    if part.stderr is None:
        return ""
    size = float(np.sqrt(np.mean(np.square(part.values[sample], dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(part.stderr[sample], dtype=np.float64))))
    return percent(error / size) if size and np.isfinite(error / size) else "–"


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


def _title(method: str) -> str:
    return TITLES.get(method, elide(method, 60))
