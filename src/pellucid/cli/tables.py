"""`pellucid explain` for a table: rows of a CSV or Parquet file against a background of others."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.cli import console, models, table_files
from pellucid.cli.explaining import Request, check_class_names, check_methods, explain_all
from pellucid.errors import InputError, LoadError, MissingExtraError, quote_nearest

SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Table:
    """Which file, which of its rows and columns, and which rows to compare with."""

    path: Path
    rows: slice
    drop: tuple[str, ...]
    background: Path | None
    background_rows: int


def table_of(paths: Sequence[Path]) -> Path | None:
    """The table among the inputs; None where they are pictures.

    Raises `InputError` for a table beside anything else.
    """
    tables = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if tables and len(paths) > 1:
        raise InputError(f"{tables[0]} is a table, and a table is explained alone.")
    return tables[0] if tables else None


def refuse(**options: Any) -> None:
    """Raise `InputError` for options that are not of this kind of input."""
    for name, value in options.items():
        if value:
            kind = "tables" if name in {"background", "rows", "drop"} else "pictures"
            raise InputError(f"--{name} is for {kind}, and the inputs are none.")


def default_method(background: Path | None) -> str:
    """What is asked of a table when nothing is said: what any model can be asked."""
    return "feature_permutation" if background is None else "kernel_shap"


def run_table(request: Request, table: Table, *, dry_run: bool = False) -> bool:
    """Explain the rows, write what was asked for, print the result; whether all succeeded.

    Raises the errors of arguments, of reading and of loading before the model is run.
    """
    check_methods(request)
    facts = models.file_facts(request.model)
    check_class_names(request, is_demo=False)
    frame = inputs_of_table(table)
    request = with_background(request, table)
    if dry_run:
        _plan(request, table, frame)
        return True
    model = models.open_model(request.model, request.trust, facts, class_names=request.class_names)
    try:
        outcome = explain_all(request, model, frame)
    except InputError as error:
        if table.background is not None or "holds categories" not in str(error):
            raise
        raise InputError(f"{error}\n  Here: --background train.csv.") from error
    outcome.files = table_files.write(request, model, frame, outcome)
    document = table_files.document(request, model, table.path, frame, outcome)
    if request.as_json:
        console.result_json(document)
    else:
        table_files.print_result(document)
    return not outcome.failed


def inputs_of_table(table: Table) -> Any:
    """The rows and columns of the file that are asked about.

    Raises `InputError` for an unknown column and where no row is left.
    """
    frame = _dropped(read_table(table.path), table.drop, table.path)
    if not len(frame):
        raise InputError(f"{table.path} has a header and no rows: there is nothing to explain.")
    frame = frame.iloc[table.rows]
    if not len(frame):
        raise InputError(f"--rows leaves nothing of {table.path} to explain.")
    return frame


def read_table(path: Path) -> Any:
    """A CSV, TSV or Parquet file as a pandas data frame.

    Raises `LoadError` for a file that is missing or no such table, `MissingExtraError` without
    pandas (or polars, for Parquet).
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise MissingExtraError("pandas", "tables", f"Reading {path.name}") from error
    if not path.is_file():
        raise LoadError(f"No file {path}.")
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path)
        return pandas.read_csv(
            path, sep="\t" if path.suffix.lower() == ".tsv" else ",", skipinitialspace=True
        )
    except MissingExtraError:
        raise
    except Exception as error:
        raise LoadError(
            f"{path} cannot be read as a table: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _read_parquet(path: Path) -> Any:
    import pandas

    if importlib.util.find_spec("polars") is not None:
        import polars

        columns = polars.read_parquet(path)
        numbers = {c.name: c.to_numpy() for c in columns if c.dtype.is_numeric()}
        return pandas.DataFrame(
            {c.name: numbers[c.name] if c.name in numbers else c.to_list() for c in columns}
        )
    if importlib.util.find_spec("pyarrow") is not None:
        return pandas.read_parquet(path)
    raise MissingExtraError("polars", "parquet", f"Reading {path.name}")


def _dropped(frame: Any, names: tuple[str, ...], path: Path) -> Any:
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        near = quote_nearest(unknown[0], map(str, frame.columns))
        raise InputError(f"--drop {unknown[0]}: {path} has no such column. {near}")
    return frame.drop(columns=list(names))


def with_background(request: Request, table: Table) -> Request:
    """The request with the background's rows for the methods that take them."""
    if table.background is None:
        return request
    from pellucid.methods.registry import takes_parameter

    takers = [name for name in request.methods if takes_parameter(name, "background")]
    if not takers:
        raise InputError(
            f"--background: {', '.join(request.methods)} takes none. See: pellucid methods."
        )
    rows = read_table(table.background)
    rows = rows.drop(columns=[name for name in table.drop if name in rows.columns])
    count = len(rows)
    if count > table.background_rows:
        draw = np.random.default_rng([int(request.settings["seed"]), 13])
        rows = rows.iloc[np.sort(draw.choice(count, table.background_rows, replace=False))]
        console.say(f"Background: {len(rows)} of the {count} rows of {table.background.name}.")
    given = {
        name: {
            **request.parameters.get(name, {}),
            **({"background": rows} if name in takers else {}),
        }
        for name in request.methods
    }
    return replace(request, parameters=given)


def _plan(request: Request, table: Table, frame: Any) -> None:
    from pellucid.methods.registry import method_class

    plan = {
        "model": request.model,
        "table": str(table.path),
        "rows": len(frame),
        "columns": list(map(str, frame.columns)),
        "background_rows": {
            name: len(given["background"])
            for name, given in request.parameters.items()
            if "background" in given
        },
        "methods": [{"name": n, "cost": method_class(n).cost} for n in request.methods],
        "out": None if request.out is None else str(request.out),
    }
    if request.as_json:
        console.result_json(plan)
        return
    console.result(f"model: {plan['model']}")
    console.result(f"table: {plan['table']}, {plan['rows']} rows of {len(plan['columns'])} columns")
    for method in plan["methods"]:
        console.result(f"method: {method['name']}, cost per row: {method['cost'] or 'unknown'}")
    console.result(f"written to: {plan['out'] or 'nothing, stdout only'}")
