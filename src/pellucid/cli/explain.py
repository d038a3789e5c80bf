"""`pellucid explain`: images or a table, one or many methods, to pictures, a page, and JSON."""

from pathlib import Path

import typer

from pellucid.cli import console, options


def explain(
    model: options.ModelArgument,
    inputs: options.Inputs,
    method: options.Methods = None,
    target: options.Targets = ["top"],  # noqa: B006
    out: options.Out = None,
    formats: options.Formats = ["png,html,json"],  # noqa: B006
    as_json: console.AsJson = False,
    seed: options.Seed = 0,
    layer: options.Layer = None,
    baseline: options.Baseline = None,
    batch_size: options.BatchSize = "auto",
    budget: options.Budget = None,
    tolerance: options.Tolerance = None,
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
    dry_run: options.DryRun = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Explain what a model sees in images, or makes of the rows of a table.

    Writes one picture an image, method and target, a report.html, and result.json; of a table
    (CSV or Parquet) every attribution as CSV, and pictures of the whole and of the first rows.
    """
    console.configure(verbose, quiet)
    from pellucid.cli import parameters, targets
    from pellucid.cli.asking import request_of, table_given
    from pellucid.cli.explaining import run
    from pellucid.cli.tables import default_method, run_table, table_of

    table = table_of(inputs)
    usual = ["integrated_gradients"] if table is None else [default_method(background)]
    names = parameters.parse_names(method or usual)
    request = request_of(
        model=model,
        images=() if table is not None else tuple(inputs),
        names=names,
        targets=tuple(dict.fromkeys(targets.parse_target(word) for word in target)),
        out=out if out is not None or as_json else Path("explanations"),
        formats=parameters.parse_formats(formats),
        settings={
            "seed": seed,
            "layer": layer,
            "baseline": None if baseline is None else parameters.parse_literal(baseline),
            "batch_size": parameters.parse_batch_size(batch_size),
            "budget": budget,
            "tolerance": tolerance,
        },
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
        background=background, background_rows=background_rows,
    )  # fmt: skip
    if given is None:
        done = run(request, dry_run=dry_run)
    else:
        done = run_table(request, given, dry_run=dry_run)
    if not done:
        raise typer.Exit(1)
