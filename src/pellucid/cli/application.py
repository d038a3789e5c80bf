"""The table of commands and the one place where errors become exit codes."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from pellucid._version import __version__
from pellucid.cli import console
from pellucid.cli.demo import demo
from pellucid.cli.doctor import doctor
from pellucid.cli.evaluate import evaluate
from pellucid.cli.explain import explain
from pellucid.cli.inspect import inspect
from pellucid.cli.methods import methods
from pellucid.cli.report import report
from pellucid.cli.search import search
from pellucid.errors import (
    InputError,
    MissingExtraError,
    PellucidError,
    TargetError,
    UnsafeModelError,
)

RUN_ERROR = 1
USAGE = 2
UNSAFE_MODEL = 4
MISSING_EXTRA = 5

# The first that fits decides: a pickle in disguise is a LoadError too, but unsafe above all.
_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (UnsafeModelError, UNSAFE_MODEL),
    (MissingExtraError, MISSING_EXTRA),
    (TargetError, USAGE),
    (InputError, USAGE),  # layers, methods and parameters too: what the user asked for
    (PellucidError, RUN_ERROR),
)

application = typer.Typer(
    name="pellucid",
    help="Explain what a deep-learning model does, and measure whether the explanation "
    "can be believed.",
    epilog="Exit codes: 0 ok, 1 run error or unreadable file, 2 usage, 3 a quality gate failed, "
    "4 unsafe model refused, 5 missing extra, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pellucid {__version__}")
        raise typer.Exit


@application.callback()
def _globals(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options before the command."""


for _command in (demo, explain, evaluate, search, report, inspect, methods, doctor):
    application.command()(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code of contract.md 5.

    Errors are their message on stderr; with -vv the traceback comes first.
    """
    # TensorFlow greets on stderr from C++, before any Python could ask it not to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    given = sys.argv[1:] if arguments is None else list(arguments)
    console.begin(given)
    try:
        application(given, prog_name="pellucid")
    except Exception as error:
        if console.verbosity() >= console.TRACEBACKS:
            traceback.print_exception(error)
        console.error(_message(error))
        raise SystemExit(exit_code(error)) from None
    raise SystemExit(0)


def exit_code(error: BaseException) -> int:
    """The exit code for an error; 1 for those pellucid did not foresee."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), RUN_ERROR)


def _message(error: Exception) -> str:
    """An error of ours speaks for itself; of any other the kind is needed to understand it."""
    if isinstance(error, PellucidError):
        return str(error)
    said = str(error) or "no message"
    return f"{type(error).__name__}: {said}\n  Run again with -vv to see where."
