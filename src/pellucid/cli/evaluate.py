"""`pellucid evaluate`: judge methods on pictures or a table, and fail where they are not good."""

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli import console, options

QUALITY = 3
"""The exit code of a gate that failed (contract.md 5)."""
OWN_ROWS = 10
"""Rows of a table that the usual method compares with where no background is given."""

Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        metavar="NAMES",
        help="default, or names with commas, such as C1,I2,deletion. See the docs on the standard.",
    ),
]
FailUnder = Annotated[
    str | None,
    typer.Option(
        "--fail-under",
        metavar="SCORE=VALUE,...",
        help="Exit with 3 unless every method's median reaches these, such as srg=0.2; a score of "
        "which less is better may not exceed its value. A gate is named alone: controls.",
        show_default=False,
    ),
]
Imputers = Annotated[
    str | None,
    typer.Option(
        help="How features are removed, with commas: dataset, blur, mean, zeros, linear, inpaint.",
        show_default=False,
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        help="Pictures: where the objects are, for I4, recall and the like: a folder with a "
        "picture of the same name for each (light on the object), or a .npy of 0 and 1, "
        "(pictures, height, width).",
        show_default=False,
    ),
]
Target = Annotated[str, typer.Option("--target", "-t", help="top, a class number, a name, or a/b.")]


def evaluate(
    model: options.ModelArgument,
    inputs: options.Inputs,
    method: options.Methods = None,
    target: Target = "top",
    metrics: Metrics = "default",
    fail_under: FailUnder = None,
    imputers: Imputers = None,
    masks: Masks = None,
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
    param: options.Parameters = None,
    trust_model: options.TrustModel = None,
    no_progress: console.NoProgress = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Judge methods by the standard: scores with intervals, gates, and what not to trust.

    Without --method, pictures are judged by integrated_gradients, a table by kernel_shap, against
    ten of its own rows where --background gives no others.

    Prints the scorecard; with --out also scorecard.html, scorecard.json and
    scorecard.png.
    """
    console.configure(verbose, quiet)
    from pellucid.cli import parameters, targets
    from pellucid.cli.asking import request_of, table_given
    from pellucid.cli.evaluating import Judgement, failures, judge, parse_limits, write
    from pellucid.cli.tables import default_method, refuse, table_of

    table = table_of(inputs)
    own_rows = table is not None and method is None and background is None
    if own_rows:
        background, background_rows = table, min(background_rows, OWN_ROWS)
    names = parameters.parse_names(
        method or ["integrated_gradients" if table is None else default_method(background)]
    )
    limits = parse_limits(fail_under)
    request = request_of(
        model=model,
        images=() if table is not None else tuple(inputs),
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
    if table is not None:
        refuse(masks=masks)
    given = table_given(
        table, rows=rows, drop=drop, preprocess=preprocess, size=size,
        background=background, background_rows=background_rows,
    )  # fmt: skip
    wanted = "default" if metrics == "default" else [m.strip() for m in metrics.split(",")]
    listed = None if imputers is None else [i.strip() for i in imputers.split(",")]
    card = judge(request, Judgement(given, wanted, listed, tuple(limits), masks, own_rows))
    write(card, out)
    if as_json:
        console.result_json(card.document())
    else:
        console.result(str(card))
    failed = failures(card, limits)
    for message in failed:
        console.error(message)
    if failed:
        raise typer.Exit(QUALITY)
