"""From the MODEL argument to a model: say what the file is, ask for trust, load."""

import contextlib
import dataclasses
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pellucid.cli import console
from pellucid.errors import UnsafeModelError

if TYPE_CHECKING:
    from pellucid.adapters.loading.file_formats import FileFacts
    from pellucid.model import Model

DEMO = "demo"


def file_facts(model: str) -> "FileFacts | None":
    """What is known of a model file before loading it; None for a factory or the demo's model."""
    from pellucid.adapters.loading import is_spec
    from pellucid.adapters.loading.file_formats import inspect_file

    if (model == DEMO and not Path(DEMO).exists()) or is_spec(model):
        return None
    return inspect_file(model)


def describe(facts: "FileFacts") -> str:
    """One line: format, size, hash, and whether it runs code."""
    return (
        f"{facts.path}: {facts.title}, {readable_size(facts.size)}, "
        f"sha256 {facts.sha256 or '-'}, runs code: {facts.runs_code}"
    )


def readable_size(size: int) -> str:
    """A number of bytes as people say it."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"


def open_model(
    model: str, trust: str | None, facts: "FileFacts | None", **wrap_options: Any
) -> "Model":
    """The model of the MODEL argument, loaded with as much trust as the user gave.

    Raises what `pellucid.load` raises.
    """
    from pellucid.adapters.loading import load

    if facts is None and model == DEMO:
        import_tensorflow()
        return demo_model(**wrap_options)
    if facts is not None:
        console.say(describe(facts))
        if facts.format in _READ_BY_TENSORFLOW:
            import_tensorflow()
    trusted = trusted_hash(trust, facts)
    return load(model, trust=trusted, **wrap_options)


_READ_BY_TENSORFLOW = frozenset({"keras", "hdf5", "savedmodel"})


def import_tensorflow() -> None:
    """Import it where its greeting can be held back; whether it is there is found out later."""
    with console.native_stderr_held_back(), contextlib.suppress(ImportError):
        importlib.import_module("tensorflow")


def trusted_hash(trust: str | None, facts: "FileFacts | None") -> str | None:
    """The hash the user vouches for; `yes` is turned into one by asking on the terminal."""
    if trust is None or trust.lower() != "yes":
        return trust
    if facts is None:
        return None
    if facts.runs_code == "no":
        return facts.sha256
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UnsafeModelError(
            f"--trust-model yes asks on a terminal, and this is none; {facts.path} was not "
            f"loaded.\n  Without a terminal, vouch for exactly this file: "
            f"--trust-model {facts.sha256}"
        )
    for finding in facts.findings:
        typer.echo(f"  found: {finding.text}", err=True)
    if not typer.confirm(f"Loading {facts.path} can run code. Load it?", err=True):
        raise UnsafeModelError(f"{facts.path} was not loaded.")
    return facts.sha256


def demo_model(**wrap_options: Any) -> "Model":
    """The MobileNetV2 that comes with pellucid, with its class names and preprocessing."""
    from pellucid.demo.model import demo_model as build
    from pellucid.model import wrap

    network, class_names, preprocess = build()
    given = {name: value for name, value in wrap_options.items() if value is not None}
    options: dict[str, Any] = {"class_names": class_names, "preprocess": preprocess, **given}
    return dataclasses.replace(wrap(network, **options), source=DEMO)
