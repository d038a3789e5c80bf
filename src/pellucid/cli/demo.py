"""`pellucid demo`: explain photographs that come with pellucid, with a network that does too."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli import console, models


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path(
        "demo-output"
    ),
    photos: Annotated[
        int | None, typer.Option(min=1, help="How many photographs.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One photograph, fewer methods.")] = False,
    as_json: console.AsJson = False,
    no_progress: console.NoProgress = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Explain real photographs with a real ImageNet network and write a report."""
    console.configure(verbose, quiet)
    models.import_tensorflow()
    from pellucid.demo.run import run_demo

    choices: dict[str, Any] = {"photos": photos, "quick": quick}
    given = {name: value for name, value in choices.items() if value}
    with console.progress_bar("demo", wanted=not no_progress) as advance:
        found = run_demo(out, advance, **given)
    files = _files(out)
    if as_json:
        console.result_json({"found": found, "files": [str(file) for file in files]})
        return
    console.result(found)
    for file in files:
        console.result(str(file))


def _files(out: Path) -> list[Path]:
    """The report first, then the pictures."""
    report = out / "report.html"
    return [*([report] if report.exists() else []), *sorted(out.rglob("*.png"))]
