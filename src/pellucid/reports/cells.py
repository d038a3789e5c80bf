"""The maps and bars of one method inside the page, and the words that go with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_hex

from pellucid.explanation import Explanation
from pellucid.plots.image import image_map, is_image, signed_part
from pellucid.plots.scale import Scale
from pellucid.plots.series import series
from pellucid.plots.style import LIGHT, Sheet, elide, number, short_name
from pellucid.plots.table import top_features
from pellucid.reports.images import Quality, overlay_uri, png_uri
from pellucid.reports.items import Answer
from pellucid.reports.words import meaning

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


def method_title(method: str) -> str:
    """A method's name as a heading; a user's own stays as it was registered."""
    return TITLES.get(method, elide(method, 60))


def question_of(answer: Answer) -> str:
    """The question as it is shown: a long target inside it is shortened."""
    target = " ".join(answer.explanation.target_names[answer.sample].split())
    question = " ".join(answer.question.split())
    if target:
        question = question.replace(target, short_name(target))
    return elide(question, 80)


def column_of(method: str, answers: Sequence[Answer], quality: Quality) -> Column:
    """All maps of one method for one input, on one scale."""
    part = answers[0].explanation.parts[0]
    scale = _shared_scale(answers)
    top = number(scale.limit)
    ends = (f"−{top}", "0", f"+{top}") if scale.signed else ("0", top)
    return Column(
        title=method_title(method),
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
    alt = f"{method_title(explanation.method)}, {answer.question} {found}"
    if is_image(part):
        values = image_map(part, sample)
        finite = np.isfinite(values).all()
        note = "" if values.any() and finite else "all values are zero"
        note = note if finite else "some values are not finite"
        uri = overlay_uri(values, scale, quality)
        return Cell(question_of(answer), found, alt, overlay=uri, note=note)
    if "step" in part.dims:
        return Cell(question_of(answer), found, alt, figure=series_uri(explanation, sample))
    return Cell(
        question_of(answer), found, alt, bars=feature_bars(explanation, sample, scale.limit)
    )


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
