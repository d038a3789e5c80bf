"""The work of `pellucid report`: load, read data and labels, make the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli import console
from pellucid.cli.evaluating import opened
from pellucid.cli.explaining import Request, check_methods
from pellucid.cli.labels import classes_of, labels_of_table, lines_of
from pellucid.cli.tables import Table
from pellucid.errors import InputError

if TYPE_CHECKING:
    from pellucid.model import Model
    from pellucid.report import Report

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Wanted:
    """What a report is of, beside the request."""

    table: Table | None
    labels: str | None
    examples: int
    evaluate: bool
    metrics: str | Sequence[str]
    title: str


@dataclass(frozen=True)
class Data:
    """The inputs, a name for each, and their labels where there are any."""

    x: Any
    names: list[str]
    y: Any


def make(request: Request, wanted: Wanted) -> "Report":
    """The report, written to `request.out`.

    Raises the errors of arguments, of reading and of loading before the model is run.
    """
    import pellucid

    if request.methods:
        check_methods(request)
    model, data = (
        _pictures(request, wanted.labels)
        if wanted.table is None
        else _rows(request, wanted.table, wanted.labels)
    )
    methods = [(n, dict(request.parameters.get(n, {}))) for n in request.methods] or None
    with console.progress_bar("report", wanted=request.progress) as advance:
        return pellucid.report(
            model, data.x, data.y,
            out=request.out,
            methods=methods,
            target=request.targets[0],
            examples=wanted.examples,
            evaluate={"standard": wanted.metrics} if wanted.evaluate else False,
            names=data.names,
            title=wanted.title,
            progress=advance,
            **request.settings,
        )  # fmt: skip


def _rows(request: Request, table: Table, labels: str | None) -> "tuple[Model, Data]":
    table, y = labels_of_table(table, labels)
    model, frame, _, _ = opened(request, table)
    return model, Data(frame, [f"row {i}" for i in frame.index], y)


def _pictures(request: Request, labels: str | None) -> "tuple[Model, Data]":
    paths, folders = pictures_in(request.images)
    if not paths:
        raise InputError(f"no picture in {', '.join(map(str, request.images))}.")
    y: list[str] | None = folders
    if labels is not None:
        y = lines_of(Path(labels), len(paths))
    model, pixels, _, _ = opened(replace(request, images=tuple(paths)), None)
    return model, Data(pixels, [p.name for p in paths], classes_of(y, model))


def pictures_in(given: Sequence[Path]) -> tuple[list[Path], list[str] | None]:
    """The pictures, those in folders in the order of their names, and the folders' names.

    The second is None unless every picture lies in a folder within a folder that was given.
    """
    paths: list[Path] = []
    folders: list[str] = []
    for path in given:
        if not path.is_dir():
            paths.append(path)
            continue
        for found in sorted(path.rglob("*")):
            if found.suffix.lower() in PICTURES and found.is_file():
                paths.append(found)
                if found.parent != path:
                    folders.append(found.relative_to(path).parts[0])
    return paths, folders if folders and len(folders) == len(paths) else None
