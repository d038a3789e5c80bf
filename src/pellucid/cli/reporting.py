"""The work of `pellucid report`: load, read data and labels, make the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli import console
from pellucid.cli.evaluating import opened
from pellucid.cli.explaining import Request, check_methods
from pellucid.cli.tables import Table, read_table
from pellucid.errors import InputError, LoadError, quote_nearest

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
    y = None
    if labels is not None:
        whole = read_table(table.path)
        if labels not in whole.columns:
            near = quote_nearest(labels, map(str, whole.columns))
            raise InputError(f"--labels {labels}: {table.path} has no such column. {near}")
        y = whole[labels].iloc[table.rows].to_numpy()
        table = replace(table, drop=(*table.drop, labels))
    model, frame, _, _ = opened(request, table)
    return model, Data(frame, [f"row {i}" for i in frame.index], y)


def _pictures(request: Request, labels: str | None) -> "tuple[Model, Data]":
    paths, folders = pictures_in(request.images)
    if not paths:
        raise InputError(f"no picture in {', '.join(map(str, request.images))}.")
    y: list[str] | None = folders
    if labels is not None:
        y = _lines(Path(labels), len(paths))
    model, pixels, _, _ = opened(replace(request, images=tuple(paths)), None)
    return model, Data(pixels, [p.name for p in paths], _classes(y, model))


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


def _lines(path: Path, count: int) -> list[str]:
    if not path.is_file():
        raise LoadError(f"--labels: no file {path}.")
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    if len(lines) != count:
        raise InputError(f"--labels {path} has {len(lines)} lines for {count} pictures.")
    return lines


def _classes(labels: list[str] | None, model: "Model") -> Any:
    """Labels as class numbers where they are written as such and no class is called so."""
    if labels is None:
        return None
    known = set(model.class_names or ())
    if all(word.isdigit() for word in labels) and not set(labels) <= known:
        return [int(word) for word in labels]
    return labels
