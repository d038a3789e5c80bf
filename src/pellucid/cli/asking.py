"""What the commands that read a model and its inputs ask for, made of their options."""

from pathlib import Path
from typing import Any

from pellucid.cli import parameters
from pellucid.cli.explaining import Request
from pellucid.cli.tables import Table, refuse


def request_of(
    *,
    images: tuple[Path, ...],
    names: list[str],
    param: list[str] | None,
    classes: Path | None,
    preprocess: str | None,
    size: str | None,
    formats: frozenset[str] = frozenset(),
    **given: Any,
) -> Request:
    """The request of the options that all these commands have; `given` are its fields as they are.

    Raises `InputError` for an option that cannot be read.
    """
    return Request(
        images=images,
        methods=tuple(names),
        formats=formats,
        parameters=parameters.parse_parameters(param or [], names),
        class_names=None if classes is None else tuple(parameters.read_labels(classes)),
        preprocess=None if preprocess is None else parameters.find_preprocess(preprocess),
        preprocess_name=preprocess,
        size=None if size is None else parameters.parse_size(size),
        **given,
    )


def table_given(
    path: Path | None,
    *,
    rows: str | None,
    drop: list[str] | None,
    preprocess: str | None,
    size: str | None,
    background: Path | None = None,
    background_rows: int = 0,
) -> Table | None:
    """The table with its options; None for pictures.

    Raises `InputError` for options of the other kind of inputs.
    """
    if path is None:
        refuse(background=background, rows=rows, drop=drop)
        return None
    refuse(preprocess=preprocess, size=size)
    chosen = parameters.parse_rows(rows)
    return Table(path, chosen, tuple(drop or ()), background, background_rows)
