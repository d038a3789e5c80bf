"""The options several commands share, and the long list of `explain`'s."""

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli import targets

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file or SavedModel folder, package.module:factory, or [b]demo[/b] "
        "(the MobileNetV2 that comes with pellucid).",
        show_default=False,
    ),
]
TrustModel = Annotated[
    str | None,
    typer.Option(
        "--trust-model",
        metavar="SHA256|yes",
        help="Load a file that can run code: its SHA-256 (12 digits or more), or yes to be asked.",
    ),
]
Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="Pictures (PNG, JPEG, ...), or one table (CSV, Parquet).",
        show_default=False,
    ),
]
Background = Annotated[
    Path | None,
    typer.Option(
        help="Tables: CSV or Parquet with rows to compare with, such as the training data.",
        show_default=False,
    ),
]
BackgroundRows = Annotated[
    int, typer.Option(min=1, help="Tables: how many rows of the background, drawn by the seed.")
]
Rows = Annotated[
    str | None,
    typer.Option(
        metavar="START:STOP", help="Tables: which rows to explain [dim](default: all)[/]."
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(help="Tables: a column that is no input, such as the label. Repeatable."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="Names with commas, or repeated. See: pellucid methods. [dim](default:"
        " integrated_gradients; of a table kernel_shap with --background, else"
        " feature_permutation)[/]",
    ),
]
Targets = Annotated[list[str], typer.Option("--target", "-t", help=targets.HELP)]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder to write to [dim](default: explanations; none with --json)[/]."
    ),
]
Formats = Annotated[list[str], typer.Option("--format", help="What to write: png, html, json.")]
Seed = Annotated[int, typer.Option(min=0, help="Every random draw comes from it.")]
Layer = Annotated[
    str | None, typer.Option(help="Layer for CAM methods; chosen by itself if left out.")
]
Baseline = Annotated[
    str | None, typer.Option(help="A number, or zeros, mean, blur, noise.", show_default=False)
]
BatchSize = Annotated[str, typer.Option(help="auto, or images and variants at a time.")]
Budget = Annotated[
    int | None,
    typer.Option(min=1, help="Forward evaluations of the model allowed a method, for each image."),
]
Tolerance = Annotated[float | None, typer.Option(help="Error to reach instead of a budget.")]
Classes = Annotated[
    Path | None, typer.Option("--classes", help="A text file of class names, one a line.")
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        help="From pixels to the model's input: minus1_1, zero1, none, imagenet, caffe, or "
        "module:function of uint8 (n, height, width, 3).",
        show_default=False,
    ),
]
Size = Annotated[
    str | None, typer.Option(metavar="HxW", help="Picture size, where the model does not say.")
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the methods; method.name=value for one of them. Repeatable.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and check the images, and stop.")
]
