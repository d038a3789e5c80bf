"""The work of `pellucid evaluate`: load, read, judge, and hold the result against limits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli import console, models
from pellucid.cli.explaining import Request, check_class_names, check_methods
from pellucid.cli.masks import read_masks
from pellucid.cli.pixels import find_unreadable, input_layout, read_pictures, with_preprocess
from pellucid.cli.tables import Table, inputs_of_table, with_background
from pellucid.errors import InputError, ModelError, quote_nearest

if TYPE_CHECKING:
    from pellucid.model import Model
    from pellucid.standard.scorecard import Scorecard


@dataclass(frozen=True)
class Judgement:
    """What is judged besides the methods: which table, by which scores, with which limits."""

    table: Table | None
    metrics: str | Sequence[str]
    imputers: Sequence[str] | None
    limits: tuple[str, ...]
    masks: Path | None = None
    own_rows: bool = False
    """Whether the background is rows of the table itself, and no other data was given."""


def parse_limits(text: str | None) -> dict[str, float | None]:
    """`srg=0.2,controls` as `{"srg": 0.2, "controls": None}`.

    Raises `InputError` for a value that is no number.
    """
    found: dict[str, float | None] = {}
    for word in (text or "").split(","):
        name, given, value = word.strip().partition("=")
        if not name:
            continue
        try:
            found[name] = float(value) if given else None
        except ValueError as error:
            raise InputError(f"--fail-under {word.strip()}: {value!r} is no number.") from error
    return found


def judge(request: Request, judgement: Judgement) -> "Scorecard":
    """The scorecard of the methods on the pictures or the table.

    Raises the errors of arguments and of loading; a picture that cannot be read is one of them.
    """
    check_methods(request)
    _check_limits(judgement)
    model, x, background, request = opened(request, judgement.table)
    if judgement.own_rows:
        background = None
    return _judged(request, judgement, model, x, background)


def masks_of(path: Path | None, request: Request, x: Any) -> Any:
    """The masks of the pictures `x`; None where none are given."""
    return None if path is None else read_masks(path, request.images, *x.shape[1:3])


def opened(request: Request, table: Table | None) -> tuple["Model", Any, Any, Request]:
    """The model, its inputs, the background, and the request with the background filled in."""
    facts = models.file_facts(request.model)
    check_class_names(request, is_demo=facts is None and request.model == models.DEMO)
    if table is not None:
        frame = inputs_of_table(table)
        request = with_background(request, table)
        model = models.open_model(
            request.model, request.trust, facts, class_names=request.class_names
        )
        rows = [p["background"] for p in request.parameters.values() if "background" in p]
        return model, frame, rows[0] if rows else None, request
    unreadable = find_unreadable(request.images)
    if unreadable:
        raise ModelError(" ".join(unreadable.values()))
    model = models.open_model(request.model, request.trust, facts, class_names=request.class_names)
    height, width, channels = input_layout(model, request.size)
    pictures = read_pictures(list(request.images), height, width, unreadable)
    if request.preprocess is None and model.preprocess is None:
        console.say("No --preprocess given: the model gets pixel values from 0 to 255.")
    model = with_preprocess(model, request.preprocess, request.preprocess_name, channels)
    return model, pictures.pixels, None, request


def _judged(
    request: Request, judgement: Judgement, model: "Model", x: Any, background: Any
) -> "Scorecard":
    from pellucid.standard import evaluate

    given = {name: (name, dict(request.parameters.get(name, {}))) for name in request.methods}
    with console.progress_bar("evaluate", wanted=request.progress) as advance:
        return evaluate(
            model,
            x,
            given,
            standard=judgement.metrics,
            seed=int(request.settings["seed"]),
            target=request.targets[0],
            masks=masks_of(judgement.masks, request, x),
            background=background,
            imputers=judgement.imputers,
            batch_size=request.settings["batch_size"],
            progress=advance,
        )


def _check_limits(judgement: Judgement) -> None:
    """Raise `InputError` for a limit on what is not asked."""
    from pellucid.standard import default_metrics
    from pellucid.standard.metric import metrics_named

    chosen = default_metrics()
    if judgement.metrics != "default":
        chosen = metrics_named(judgement.metrics)
    known = {n for m in chosen for n in (m.name, m.identifier) if n} | {"controls"}
    for name in judgement.limits:
        if name not in known:
            raise InputError(
                f"--fail-under {name}: no such score is asked. {quote_nearest(name, known)}"
            )


def failures(card: "Scorecard", limits: Mapping[str, float | None]) -> list[str]:
    """A sentence for each method and limit that is not met; what has no number does not meet it."""
    found = []
    gates = card.gates()
    for name, limit in limits.items():
        for method in card.explanations:
            if limit is None:
                passed = gates[method].get(name if name == "controls" else card.metric(name).name)
                if passed is not True:
                    word = "fails" if passed is False else "could not be asked about"
                    found.append(f"{method} {word} {name}.")
                continue
            metric = card.metric(name)
            asked = metric.scored(card.scores[method].get(metric.name, {})) or [("", None)]
            for way, _ in asked:
                median = card.median(method, metric.name, way)
                good = median >= limit if metric.better == "higher" else median <= limit
                if not good:
                    told = f"{metric.name}{f' ({way})' if way else ''}"
                    found.append(f"{method} reaches {told} {median:.3g}, asked was {limit:g}.")
    return found


def write(card: "Scorecard", out: Path | None) -> None:
    """`scorecard.html`, `scorecard.json` and `scorecard.png` in a folder."""
    if out is None:
        return
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        out.mkdir(parents=True, exist_ok=True)
        text = console.json_text(card.document()) + "\n"
        (out / "scorecard.json").write_text(text, encoding="utf-8")
        (out / "scorecard.html").write_text(card.to_html(), encoding="utf-8")
        card.plot().savefig(out / "scorecard.png", dpi=120)
    except OSError as error:
        raise InputError(f"--out {out} cannot be written to: {error}.") from error
