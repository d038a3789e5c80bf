"""Boxes with labels and scores over a picture, from arrays or from COCO-like dicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from pellucid.errors import InputError
from pellucid.plots.pixels import Channels
from pellucid.plots.style import OKABE_ITO, ThemeName, elide
from pellucid.plots.tiles import frame

Form = Literal["corners", "size", "centre"]
"""(left, top, right, bottom); (left, top, width, height); (middle x, middle y, width, height)."""

_LABEL_KEYS = ("label", "category_name", "category", "category_id", "class_id", "class")


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    width: float
    height: float
    label: Any
    score: float | None


def boxes(
    image: np.ndarray,
    found: Sequence[Mapping[str, Any]] | np.ndarray | Sequence[Sequence[float]],
    labels: Sequence[Any] | None = None,
    scores: Sequence[float] | None = None,
    *,
    form: Form = "corners",
    relative: bool = False,
    names: Mapping[Any, str] | Sequence[str] | None = None,
    channels: Channels = "last",
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw boxes over a picture with their labels and scores; returns the axes.

    `found` is an array `(k, 4)` of pixels, `form` what the four are, with `labels` and `scores` one
    each; or a list of dicts as COCO's results: `"bbox"` (left, top, width, height), and where there
    are any a `"category_id"`, `"category"` or `"label"`, and a `"score"`. With `relative` places
    are shares of the picture's width and height. `names` turns labels into words. Every label
    has a colour of its own, and line style after eight. Fractions are drawn as they are, boxes
    that reach beyond the picture are cut off by it, and nothing that is given is changed.

    Raises `InputError` for boxes that are none: another length, not finite, a size below zero.
    """
    axes = frame(image, channels=channels, ax=ax, theme=theme)
    height, width = np.shape(image)[:2] if channels == "last" else np.shape(image)[-2:]
    scale = (width, height) if relative else (1.0, 1.0)
    listed = _listed(found, labels, scores, form)
    order = {key: i for i, key in enumerate(dict.fromkeys(str(b.label) for b in listed))}
    for box in listed:
        number = order[str(box.label)]
        colour = OKABE_ITO[(5, 0, 2, 1, 3, 4, 6, 7)[number % 8]]
        left, top = box.left * scale[0] - 0.5, box.top * scale[1] - 0.5
        axes.add_patch(
            Rectangle(
                (left, top), box.width * scale[0], box.height * scale[1], fill=False,
                edgecolor=colour, linewidth=1.8, linestyle=("-", "--", ":", "-.")[number // 8 % 4],
            )
        )  # fmt: skip
        words = _words(box, names)
        if words:
            ink = "black" if colour in ("#E69F00", "#56B4E9", "#F0E442") else "white"
            axes.text(
                left, max(top, 0), words, fontsize=7, color=ink, va="bottom", ha="left",
                parse_math=False, clip_on=True,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    return axes


def _words(box: _Box, names: Mapping[Any, str] | Sequence[str] | None) -> str:
    label = box.label
    if names is not None and label is not None:
        try:
            label = names[label]  # type: ignore[index]
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"There is no name for the label {label!r} in names=.") from error
    words = [] if label is None else [elide(label, 28)]
    if box.score is not None:
        words.append(f"{box.score:.2f}")
    return " ".join(words)


def _listed(
    found: Any, labels: Sequence[Any] | None, scores: Sequence[float] | None, form: Form
) -> list[_Box]:
    if form not in ("corners", "size", "centre"):
        raise InputError(f"Expected form to be 'corners', 'size' or 'centre', got {form!r}.")
    entries = list(found)
    if entries and all(isinstance(entry, Mapping) for entry in entries):
        return [_of_dict(entry, i) for i, entry in enumerate(entries)]
    count = len(entries)
    for what, given in (("labels", labels), ("scores", scores)):
        if given is not None and len(given) != count:
            raise InputError(f"{len(given)} {what} for {count} boxes: one each is expected.")
    return [
        _box(
            entry, form, i, None if labels is None else labels[i],
            None if scores is None else scores[i],
        )
        for i, entry in enumerate(entries)
    ]  # fmt: skip


def _of_dict(entry: Mapping[str, Any], number: int) -> _Box:
    if "bbox" not in entry:
        raise InputError(
            f"Box {number} has no 'bbox' (left, top, width, height); its keys are"
            f" {', '.join(map(str, entry))}."
        )
    label = next((entry[key] for key in _LABEL_KEYS if key in entry), None)
    return _box(entry["bbox"], "size", number, label, entry.get("score"))


def _box(entry: Any, form: Form, number: int, label: Any, score: Any) -> _Box:
    try:
        a, b, c, d = (float(v) for v in entry)
        score = None if score is None else float(score)
    except (TypeError, ValueError) as error:
        raise InputError(f"Box {number} is no box of four numbers: {entry!r}.") from error
    if form == "corners":
        c, d = c - a, d - b
    elif form == "centre":
        a, b = a - c / 2, b - d / 2
    numbers = [a, b, c, d, 0.0 if score is None else score]
    if not np.isfinite(numbers).all() or c < 0 or d < 0:
        raise InputError(
            f"Box {number} is not finite or has a size below zero: {entry!r} read as form={form!r}."
        )
    return _Box(a, b, c, d, label, score)
