"""What `pellucid explain` leaves behind: pictures, a page, and the result as plain data."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.cli import console
from pellucid.cli.pixels import Pictures
from pellucid.cli.targets import TargetWord, file_name_part
from pellucid.errors import InputError

if TYPE_CHECKING:
    from pellucid.cli.explaining import Outcome, Request
    from pellucid.explanation import Explanation
    from pellucid.model import Model


def write(request: "Request", model: "Model", pictures: Pictures, outcome: "Outcome") -> list[Path]:
    """Write what was asked for; returns the files, the page first.

    Raises `InputError` where the folder cannot be written to.
    """
    if request.out is None:
        return []
    # Set before matplotlib is first imported: no window system is needed, or wanted, for files.
    os.environ.setdefault("MPLBACKEND", "Agg")
    files: list[Path] = []
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        if "html" in request.formats and outcome.done:
            path = request.out / "report.html"
            files.append(_write_report(path, request, model, pictures, outcome))
        if "png" in request.formats:
            files += _write_pictures(request.out, pictures, outcome)
        if "json" in request.formats:
            target = request.out / "result.json"
            outcome.files = [*files, target]
            text = console.json_text(document(request, model, pictures, outcome))
            target.write_text(text + "\n", encoding="utf-8")
            files.append(target)
    except OSError as error:
        raise InputError(f"--out {request.out} cannot be written to: {error}.") from error
    return files


def image_names(paths: tuple[Path, ...]) -> list[str]:
    """A name for each image that is good in a file name and unlike all others."""
    from pellucid.reports.folder import file_name

    names: list[str] = []
    for path in paths:
        stem = file_name(path.stem)
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names


def _write_pictures(out: Path, pictures: Pictures, outcome: "Outcome") -> Iterator[Path]:
    from pellucid.reports.folder import save_picture

    names = image_names(pictures.paths)
    for target, explanation in outcome.done:
        for sample, name in enumerate(names):
            path = out / f"{name}-{explanation.method}-{file_name_part(target)}.png"
            yield save_picture(explanation, sample, path)


def _write_report(
    path: Path, request: "Request", model: "Model", pictures: Pictures, outcome: "Outcome"
) -> Path:
    from pellucid.reports import Answer, Study, StudyItem, render_report
    from pellucid.reports.folder import model_facts

    items = [
        StudyItem(
            name=name,
            answers=[Answer(f"Why {e.target_names[sample]}?", e, sample) for _, e in outcome.done],
        )
        for sample, name in enumerate(image_names(pictures.paths))
    ]
    problems = {**pictures.unreadable, **outcome.failed}
    study = Study(
        title=f"What {Path(request.model).name} sees",
        items=items,
        model=model_facts(model, outcome.done[0][1]),
        reproduce=console.command_line(),
        notes=[f"{name}: {message.splitlines()[0]}" for name, message in problems.items()],
    )
    return render_report(study, path)


def document(
    request: "Request", model: "Model", pictures: Pictures, outcome: "Outcome"
) -> dict[str, Any]:
    """The result as plain data: the same on stdout with --json and in result.json."""
    return {
        "model": {
            "source": request.model,
            "framework": model.framework,
            "fingerprint": model.fingerprint(),
        },
        "out": None if request.out is None else str(request.out),
        "explanations": [
            _entry(target, explanation, sample, path)
            for target, explanation in outcome.done
            for sample, path in enumerate(pictures.paths)
        ],
        "unreadable": pictures.unreadable,
        "failed": outcome.failed,
        "files": [str(file) for file in outcome.files],
    }


def _entry(target: TargetWord, e: "Explanation", sample: int, path: Path) -> dict[str, Any]:
    """One method's answer on one image: the numbers, not the map."""
    values = e.parts[0].values[sample]
    entry: dict[str, Any] = {
        "image": str(path),
        "method": e.method,
        "asked": "top" if target is None else target,
        "target": None if e.target is None else _at(e.target, sample),
        "target_name": e.target_names[sample],
        "prediction": _at(e.prediction, sample),
        "prediction_name": e.prediction_names[sample] if e.prediction_names else None,
        "explained": e.explained,
        "score": _at(e.score, sample),
        "baseline_score": _at(e.baseline_score, sample),
        "gap": _at(e.gap, sample),
        "evaluations": e.evaluations._asdict(),
        "images_in_batch": len(e.parts[0].values),
        "seconds": round(e.seconds, 4),
        "seed": e.seed,
        "parameters": dict(e.parameters),
        "attribution": {
            "shape": list(values.shape),
            "sum": float(values.sum(dtype=np.float64)),
            "minimum": float(values.min()),
            "maximum": float(values.max()),
        },
        "warnings": list(e.warnings),
    }
    if e.probabilities is not None:
        entry["probabilities"] = _best(e, sample)
    return entry


def _best(e: "Explanation", sample: int, count: int = 5) -> list[dict[str, Any]]:
    row = np.atleast_2d(np.asarray(e.probabilities))[sample]
    order = np.argsort(-row, kind="stable")[:count]
    names = e.class_names
    return [
        {"class": int(i), "name": None if names is None else names[int(i)], "p": float(row[i])}
        for i in order
    ]


def _at(values: Any, sample: int) -> Any:
    return None if values is None else np.asarray(values)[sample].tolist()


def print_result(result: dict[str, Any]) -> None:
    """The result for people: a table of answers, then the files."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("image", "predicted", "method", "explains", "score", "gap", "model runs", "s"):
        table.add_column(name, overflow="fold", justify="right" if name in _NUMBERS else "left")
    for entry in result["explanations"]:
        evaluations = entry["evaluations"]
        runs = evaluations["forward"] + evaluations["suffix"]
        table.add_row(
            escape(Path(entry["image"]).name),
            escape(_predicted(entry)),
            entry["method"],
            escape(str(entry["target_name"])),
            f"{entry['score']:.4g}" if isinstance(entry["score"], float) else "",
            "" if entry["gap"] is None else f"{entry['gap']:.2%}",
            f"{runs / entry['images_in_batch']:.0f}",
            f"{entry['seconds']:.2f}",
        )
    console.stdout().print(table)
    for file in result["files"]:
        console.result(file)


_NUMBERS = frozenset({"score", "gap", "model runs", "s"})


def _predicted(entry: dict[str, Any]) -> str:
    name = entry["prediction_name"]
    best = entry.get("probabilities")
    shown = str(entry["prediction"] if name is None else name)
    return f"{shown} ({best[0]['p']:.0%})" if best else shown
