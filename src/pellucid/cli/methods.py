"""`pellucid methods`: the table of methods."""

from typing import Annotated, Any

import typer

from pellucid.cli import console


def methods(
    modality: Annotated[
        str | None, typer.Option(help="Only those for image, table, series, ...")
    ] = None,
    as_json: console.AsJson = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """List the methods: family, what they need, what they cost, where they come from."""
    console.configure(verbose, quiet)
    import pellucid

    rows: list[dict[str, Any]] = [dict(row) for row in pellucid.methods(modality=modality).rows]
    if as_json:
        console.result_json(rows)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    console.stdout().print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, (list, tuple, set, frozenset)):
        return escape(", ".join(map(str, value)))
    return escape(str(value))
