"""`pellucid search`: find the method that meets a goal, on pictures or a table."""

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli import console, options
from pellucid.cli.evaluate import QUALITY, Imputers, Masks, Target

GoalFile = Annotated[
    Path | None,
    typer.Option(
        "--goal", "-g", help="A TOML file with weights, limits, methods. See the docs on search."
    ),
]
Budget = Annotated[
    int | None,
    typer.Option(min=1, help="Rows of the model that the search may take, in place of the goal's."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="A file that keeps what was found; the same command goes on from it.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN|FILE",
        help="What is right, to tell how often the model is: a column of the table (which is then "
        "no input), or a text file with a line for each picture.",
        show_default=False,
    ),
]


def search(
    model: options.ModelArgument,
    inputs: options.Inputs,
    goal: GoalFile = None,
    budget: Budget = None,
    resume: Resume = None,
    target: Target = "top",
    imputers: Imputers = None,
    masks: Masks = None,
    labels: Labels = None,
    out: options.Out = None,
    as_json: console.AsJson = False,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = "auto",
    classes: options.Classes = None,
    preprocess: options.Preprocess = None,
    size: options.Size = None,
    background: options.Background = None,
    background_rows: options.BackgroundRows = 100,
    rows: options.Rows = None,
    drop: options.Drop = None,
    trust_model: options.TrustModel = None,
    no_progress: console.NoProgress = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Find the method and parameters that meet a goal, certified on samples put aside.

    Prints the verdict, the certificate and every candidate; with --out also search.json and
    search.png. Exits with 3 where no candidate meets the goal.
    """
    console.configure(verbose, quiet)
    from pellucid.cli import parameters, targets
    from pellucid.cli.asking import request_of, table_given
    from pellucid.cli.searching import Asked, read_goal, searched, write
    from pellucid.cli.tables import refuse, table_of

    table = table_of(inputs)
    wanted = read_goal(goal, budget)
    request = request_of(
        model=model,
        images=() if table is not None else tuple(inputs),
        names=["kernel_shap"] if background is not None else [],
        targets=(targets.parse_target(target),),
        out=out,
        settings={"seed": seed, "batch_size": parameters.parse_batch_size(batch_size)},
        param=None,
        classes=classes,
        preprocess=preprocess,
        size=size,
        trust=trust_model,
        progress=not no_progress,
        as_json=as_json,
    )
    if table is not None:
        refuse(masks=masks)
    given = table_given(
        table, rows=rows, drop=drop, preprocess=preprocess, size=size,
        background=background, background_rows=background_rows,
    )  # fmt: skip
    listed = None if imputers is None else [i.strip() for i in imputers.split(",")]
    found = searched(request, Asked(given, wanted, listed, resume, masks, labels))
    write(found, out)
    if as_json:
        console.result_json(found.document())
    else:
        console.result(str(found))
    if not found.met:
        console.error(found.verdict)
        raise typer.Exit(QUALITY)
