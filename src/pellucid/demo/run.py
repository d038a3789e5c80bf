"""The demo: a real network, real photographs, five methods, two questions each, one page."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pellucid
from pellucid.demo.model import demo_model
from pellucid.demo.photos import Photo, demo_photos, load_photo
from pellucid.explanation import Explanation, shorten
from pellucid.reports.folder import DOTS_PER_INCH, file_name, model_facts
from pellucid.reports.items import Answer, Study, StudyItem
from pellucid.reports.study import render_report
from pellucid.reports.words import meaning

METHODS: dict[str, dict[str, Any]] = {
    "gradcam": {},
    "occlusion": {"window": 56, "stride": 28},
    "integrated_gradients": {"steps": 24},
    "smoothgrad": {"samples": 12},
    "saliency": {},
}
QUICK = ("gradcam", "saliency")
PHOTOS = 4
"""How many photos by default, so that the demo takes under a minute on two cores."""

_CODE = """\
import numpy as np
import pellucid
from pellucid.demo import demo_model, demo_photos, load_photo

network, class_names, preprocess = demo_model()
model = pellucid.wrap(network, class_names=class_names, preprocess=preprocess)
x = np.stack([load_photo(photo.path) for photo in demo_photos()])

e = pellucid.explain(model, x, "gradcam")
print(e)
e.plot(sample=0).savefig("chickadee.png")
"""


def run_demo(
    out: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    photos: int | None = None,
    quick: bool = False,
) -> str:
    """Explain the photos that ship with pellucid; write `report.html` and PNGs to `out`.

    Returns what was found, in words.
    """
    began = time.perf_counter()
    network, class_names, preprocess = demo_model()
    model = pellucid.wrap(network, class_names=class_names, preprocess=preprocess)
    shown = demo_photos()[: photos or (1 if quick else PHOTOS)]
    methods = {name: METHODS[name] for name in (QUICK if quick else METHODS)}
    x = np.stack([load_photo(photo.path) for photo in shown])
    order = np.argsort(-model.predict(x), axis=1)[:, :2].astype(np.int64)
    answers = _answers(model, x, order, methods, progress)
    seconds = time.perf_counter() - began
    return _write(out, model, shown, x, answers, seconds)


def _answers(
    model: pellucid.Model,
    x: np.ndarray,
    order: np.ndarray,
    methods: dict[str, dict[str, Any]],
    progress: Callable[[int, int], None] | None,
) -> list[tuple[Explanation, Explanation]]:
    """Per method: why the first guess, and why it rather than the second."""
    answers = []
    for done, (name, parameters) in enumerate(methods.items()):
        why = pellucid.explain(model, x, name, target=order[:, 0], **parameters)
        rather = pellucid.explain(model, x, name, target=order, **parameters)
        answers.append((why, rather))
        if progress is not None:
            progress(done + 1, len(methods))
    return answers


def _write(
    out: Path,
    model: pellucid.Model,
    photos: tuple[Photo, ...],
    x: np.ndarray,
    answers: list[tuple[Explanation, Explanation]],
    seconds: float,
) -> str:
    out.mkdir(parents=True, exist_ok=True)
    items, words = [], []
    for i, photo in enumerate(photos):
        questions = []
        for why, rather in answers:
            questions.append(Answer(f"Why {why.target_names[i]}?", why, i))
            questions.append(Answer(f"Why {rather.target_names[i]}?", rather, i))
        items.append(
            StudyItem(
                name=photo.name.replace("_", " "),
                caption=f"{photo.description.capitalize()}. {photo.attribution}",
                answers=questions,
                picture=x[i],
            )
        )
        _save_grid(answers, i, out / f"{file_name(photo.name)}.png")
        words.append(_in_words(photo, answers[0][0], i))
    first = answers[0][0]
    study = Study(
        title="What MobileNetV2 looks at",
        items=items,
        model={"name": "MobileNetV2 1.0 224, ImageNet weights", **model_facts(model, first)},
        reproduce=_CODE,
        notes=[f"Made in {seconds:.0f} seconds, model loading included."],
    )
    render_report(study, out / "report.html")
    return "\n".join(words)


def _save_grid(answers: list[tuple[Explanation, Explanation]], sample: int, path: Path) -> None:
    """Methods × questions for one photo."""
    from pellucid.plots import grid

    why, rather = answers[0]
    names = [shorten(why.target_names[sample]), _short_pair(rather.target_names[sample])]
    rows = {a.method: dict(zip(names, (a, b), strict=True)) for a, b in answers}
    grid(rows, sample=sample).savefig(path, dpi=DOTS_PER_INCH)


def _short_pair(name: str) -> str:
    return " rather than ".join(shorten(part) for part in name.split(" rather than "))


def _in_words(photo: Photo, explanation: Explanation, sample: int) -> str:
    probability = ""
    if explanation.probabilities is not None:
        probability = f" ({float(explanation.probabilities[sample].max()):.0%})"
    name = shorten(explanation.prediction_names[sample])
    found = meaning(explanation, sample)[1]
    return f"{photo.name.replace('_', ' ')}: {name}{probability}. {found}"
