"""Labels of the command line: a table's column, or a text file beside pictures."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.tables import Table, read_table
from pellucid.errors import InputError, LoadError, quote_nearest

if TYPE_CHECKING:
    from pellucid.model import Model


def labels_of_table(table: Table, column: str | None) -> tuple[Table, Any]:
    """The table without its column of labels, and the labels of the rows asked about.

    Raises `InputError` for an unknown column.
    """
    if column is None:
        return table, None
    whole = read_table(table.path)
    if column not in whole.columns:
        near = quote_nearest(column, map(str, whole.columns))
        raise InputError(f"--labels {column}: {table.path} has no such column. {near}")
    return replace(table, drop=(*table.drop, column)), whole[column].iloc[table.rows].to_numpy()


def lines_of(path: Path, count: int) -> list[str]:
    """One label a picture, from a text file.

    Raises `LoadError` where there is none, `InputError` for another number of lines.
    """
    if not path.is_file():
        raise LoadError(f"--labels: no file {path}.")
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    if len(lines) != count:
        raise InputError(f"--labels {path} has {len(lines)} lines for {count} pictures.")
    return lines


def classes_of(labels: list[str] | None, model: "Model") -> Any:
    """Labels as class numbers where they are written as such and no class is called so."""
    if labels is None:
        return None
    known = set(model.class_names or ())
    if all(word.isdigit() for word in labels) and not set(labels) <= known:
        return [int(word) for word in labels]
    return labels
