"""`pellucid report`: everything about a model and its data on one page."""

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli import console, options
from pellucid.cli.evaluate import Target

Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA",
        help="Pictures or folders of them (folders in it are their labels), or one table "
        "(CSV, Parquet).",
        show_default=False,
    ),
]
Page = Annotated[Path, typer.Option("--out", "-o", help="The page to write.")]
Labels = Annotated[
    str | None,
    typer.Option(
        help="What is right: a column of the table, or for pictures a text file, one label a "
        "line in the order of the pictures. With labels the report has a board.",
        metavar="COLUMN|FILE",
        show_default=False,
    ),
]
Examples = Annotated[int, typer.Option(min=1, help="How many samples are explained.")]
Evaluate = Annotated[
    bool, typer.Option("--evaluate/--no-evaluate", help="Judge the explanations by the standard.")
]
Metrics = Annotated[
    str, typer.Option("--metrics", metavar="NAMES", help="default, or names with commas.")
]
ReportMethods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="Names with commas, or repeated [dim](default: up to three that fit)[/].",
    ),
]
Title = Annotated[str, typer.Option(help="The page's title.")]


def report(
    model: options.ModelArgument,
    data: Data,
    out: Page = Path("report.html"),
    labels: Labels = None,
    method: ReportMethods = None,
    target: Target = "top",
    examples: Examples = 12,
    evaluate: Evaluate = True,
    metrics: Metrics = "default",
    title: Title = "What this model does, and why",
    as_json: console.AsJson = False,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = "auto",
    classes: options.Classes = None,
    preprocess: options.Preprocess = None,
    size: options.Size = None,
    rows: options.Rows = None,
    drop: options.Drop = None,
    param: options.Parameters = None,
    trust_model: options.TrustModel = None,
    no_progress: console.NoProgress = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Write one page about a model and its data, to hand on.

    Model and data card, explanations, their scorecard, with labels a board of how the model
    behaves, cost, warnings, and the code that makes it again.
    """
    console.configure(verbose, quiet)
    from pellucid.cli import parameters, targets
    from pellucid.cli.asking import request_of, table_given
    from pellucid.cli.reporting import Wanted, make
    from pellucid.cli.tables import table_of

    table = table_of(data)
    names = parameters.parse_names(method) if method else []
    request = request_of(
        model=model,
        images=() if table is not None else tuple(data),
        names=names,
        targets=(targets.parse_target(target),),
        out=out,
        settings={"seed": seed, "batch_size": parameters.parse_batch_size(batch_size)},
        param=param,
        classes=classes,
        preprocess=preprocess,
        size=size,
        trust=trust_model,
        progress=not no_progress,
        as_json=as_json,
    )
    given = table_given(
        table, rows=rows, drop=drop, preprocess=preprocess, size=size,
    )  # fmt: skip
    chosen = metrics if metrics == "default" else parameters.parse_names([metrics])
    made = make(request, Wanted(given, labels, examples, evaluate, chosen, title))
    if as_json:
        console.result_json(made.to_dict())
    else:
        console.result(str(made))
        console.result(str(out))
