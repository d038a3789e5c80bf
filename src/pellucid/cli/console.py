"""What goes to stdout (the result) and what to stderr (everything else)."""

import json
import logging
import math
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from rich.console import Console

TRACEBACKS = 2
"""The verbosity (-vv) from which errors show where they happened."""

Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, help="-v: more is said; -vv: tracebacks too."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]


@dataclass
class _Settings:
    """How much this process says; one command runs in a process."""

    verbose: int = 0
    quiet: bool = False
    arguments: Sequence[str] = ()


_settings = _Settings()


def begin(arguments: Sequence[str]) -> None:
    """Start from the defaults, for callers that run several commands in one process."""
    _settings.verbose, _settings.quiet, _settings.arguments = 0, False, tuple(arguments)


def command_line() -> str:
    """The command that is running, as it would be typed."""
    return shlex.join(["pellucid", *_settings.arguments])


def configure(verbose: int = 0, quiet: bool = False) -> None:
    """Set how much is said, and send pellucid's log to stderr."""
    _settings.verbose, _settings.quiet = verbose, quiet
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logger = logging.getLogger("pellucid")
    logger.setLevel(logging.ERROR if quiet else level)
    if verbose and not logger.handlers:
        from rich.logging import RichHandler

        logger.addHandler(RichHandler(console=stderr(), show_path=False))


def verbosity() -> int:
    """How often -v was given."""
    return _settings.verbose


def stdout() -> "Console":
    """A Rich console for results; plain text where stdout is no terminal."""
    from rich.console import Console

    return Console(file=sys.stdout, width=_width(sys.stdout), highlight=False)


def stderr() -> "Console":
    """A Rich console for everything that is no result."""
    from rich.console import Console

    return Console(file=sys.stderr, width=_width(sys.stderr), highlight=False)


def _width(stream: Any) -> int | None:
    """Let Rich ask a terminal; give files and pipes room enough not to cut table cells."""
    if stream.isatty() or "COLUMNS" in os.environ:
        return None
    return 200


def say(message: str) -> None:
    """A word on what is happening, on stderr."""
    if not _settings.quiet:
        typer.echo(message, err=True)


def error(message: str) -> None:
    """An error, on stderr, also with -q."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False, color=_colour())
    typer.echo(message, err=True)


def _colour() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


def result(text: str) -> None:
    """A line of the result, on stdout."""
    typer.echo(text)


def result_json(document: Any) -> None:
    """The result as one JSON document on stdout."""
    typer.echo(json_text(document))


def json_text(document: Any) -> str:
    """A document as JSON that every reader takes: NaN and infinity become null."""
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """NumPy values, tuples, paths and the like as JSON knows them."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


@contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Keep what C++ code prints to stderr from the user, unless -v was given or it fails.

    TensorFlow greets there when it is imported, and no setting of its own stops it.
    """
    if _settings.verbose:
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(real, held.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)


@contextmanager
def progress_bar(title: str, wanted: bool = True) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, moved by calling `advance(done, total)`; silent off a terminal and in CI."""
    shown = wanted and not _settings.quiet and sys.stderr.isatty() and not os.environ.get("CI")
    if not shown:
        yield lambda done, total=None: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def advance(done: int, total: int | None = None) -> None:
            progress.update(task, completed=done, total=total)

        yield advance
