"""`pellucid methods`: the table of methods."""

from typing import Annotated, Any

import typer

from pellucid.cli import console

COLUMNS = ("name", "family", "needs", "modalities", "cost", "source")


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

    rows: list[dict[str, Any]] = list(pellucid.methods(modality=modality).rows)
    if as_json:
        console.result_json(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(escape(str(row[name])) for name in COLUMNS))
    console.stdout().print(table)
