"""`pellucid inspect`: what a model file is, without loading it; then, if safe, what is in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli import console, models, options
from pellucid.errors import InputError, LoadError, PellucidError, UnsafeModelError

if TYPE_CHECKING:
    from pellucid.inside import Structure


def inspect(
    model: options.ModelArgument,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write a page: the layers as a tree, one run as a graph.",
            metavar="PAGE.html",
            show_default=False,
        ),
    ] = None,
    graph: Annotated[
        Path | None,
        typer.Option(help="Write the graph of one run.", metavar="FILE.svg", show_default=False),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="The shape of one input, for a model that does not say it.",
            metavar="3,224,224",
            show_default=False,
        ),
    ] = None,
    as_json: console.AsJson = False,
    trust_model: options.TrustModel = None,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Say what a model file is before loading anything of it, then what the model is.

    A file that could run code is not loaded: its facts are printed, and the exit code is 4.
    """
    console.configure(verbose, quiet)
    facts = models.file_facts(model)
    document: dict[str, Any] = {"source": model, "file": None, "model": None}
    if facts is not None:
        from pellucid.adapters.loading.trust import describe

        document["file"] = describe(facts)
    refused: PellucidError | None = None
    sizes = _sizes(shape)
    try:
        opened = models.open_model(model, trust_model, facts)
        document["model"] = describe_model(opened, layers, sizes)
        structure = _structure(opened, sizes)
        document["model"] |= _found(structure, layers)
        document["written"] = _write(structure, out, graph)
    except (UnsafeModelError, LoadError) as error:
        if facts is None:
            raise
        # The facts are the result all the same; the refusal follows, with its exit code.
        refused = error
        document["refused"] = str(error)
    if as_json:
        console.result_json(document)
    else:
        _print(document)
    if refused is not None:
        raise refused


def _sizes(shape: str | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    parts = shape.replace("x", ",").strip("()").split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"Expected --shape to be sizes such as 3,224,224, got {shape!r}.")
    return tuple(int(part) for part in parts)


def _structure(model: Any, sizes: tuple[int, ...] | None) -> "Structure":
    import numpy as np

    from pellucid.inside import inspect as look

    return look(model, None if sizes is None else np.zeros((1, *sizes), np.float32))


def _found(structure: "Structure", with_layers: bool) -> dict[str, Any]:
    """What a look at one run adds to the facts."""
    whole = structure.to_dict()
    found = {"about": whole["sentences"]}
    found |= {key: whole[key] for key in ("flops", "parameter_bytes", "activation_bytes")}
    if with_layers:
        found |= {key: whole[key] for key in ("nodes", "edges")}
    return found


def _write(structure: "Structure", out: Path | None, graph: Path | None) -> list[str]:
    written = []
    for path, text in ((out, structure.to_html), (graph, structure.to_svg)):
        if path is not None:
            content = text()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
            except OSError as error:
                raise InputError(f"{path} cannot be written to: {error}.") from error
            written.append(str(path))
    return written


def describe_model(
    model: Any, with_layers: bool, sizes: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """A loaded model as plain data."""
    inputs = model.inputs
    document: dict[str, Any] = {
        "framework": model.framework,
        "supports": model.supports.name.lower(),
        "device": str(model.adapter.device),
        "inputs": None
        if inputs is None
        else [{"name": i.name, "shape": i.shape, "dtype": i.dtype} for i in inputs],
        "outputs": None,
        "classes": None if model.class_names is None else len(model.class_names),
        "layers": None,
        "parameters": None,
        "fingerprint": model.fingerprint(),
    }
    document |= _outputs(model)
    if model.adapter.shows_layers:
        found = model.layers()
        document["layers"] = len(found)
        if with_layers:
            document["layer_list"] = [
                {"path": x.path, "kind": x.kind, "shape": x.shape, "parameters": x.parameters}
                for x in _calls(model, sizes) or found
            ]
    if model.adapter.shows_weights:
        weights, owners = model.adapter.weights(), model.adapter.weight_layers
        counted = (array for name, array in weights.items() if not owners or owners.get(name))
        document["parameters"] = int(sum(map(_count, counted)))
    return document


def _zeros(model: Any) -> Any:
    """One input of zeros, a tuple for several; None where the model does not say its shape."""
    import numpy as np

    specs = model.inputs
    if not specs or any(s.shape is None or None in s.shape for s in specs):
        return None
    zeros = tuple(np.zeros((1, *s.shape), s.dtype or "float32") for s in specs)
    return zeros[0] if len(zeros) == 1 else zeros


def _calls(model: Any, sizes: tuple[int, ...] | None) -> Any:
    """The calls of layers in one run on zeros, which have shapes; None where there is no run."""
    import numpy as np

    zeros = _zeros(model) if sizes is None else np.zeros((1, *sizes), np.float32)
    try:
        return None if zeros is None else model.adapter.layers(model.adapter.accept(zeros))
    except PellucidError:
        return None


def _outputs(model: Any) -> dict[str, Any]:
    """Shapes of the outputs, from one run on zeros, where the model says what it expects."""
    from pellucid.counting import CountedModel
    from pellucid.running.outputs import run_checked

    zeros = _zeros(model)
    if zeros is None:
        return {}
    try:
        leaves = model.adapter.accept(zeros)
        outputs = run_checked(CountedModel(model.adapter, peel=False), leaves, model.adapter)
        final = model.adapter.final_activation(leaves)
    except PellucidError:
        return {}
    return {"outputs": _shapes(outputs), "final_activation": [name or "none" for name in final]}


def _shapes(outputs: Any) -> list[list[int | None]]:
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, (tuple, list)):
        return [shape for output in outputs for shape in _shapes(output)]
    return [[None, *(int(size) for size in outputs.shape[1:])]]


def _count(array: Any) -> int:
    size = 1
    for length in array.shape:
        size *= int(length)
    return size


def _print(document: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    screen = console.stdout()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(document):
        table.add_row(name, escape(value))
    screen.print(table)
    about = (document["model"] or {}).get("about")
    if about:
        screen.print()
        screen.print(escape("\n".join(about)))
    listed = (document["model"] or {}).get("layer_list")
    if listed:
        layers = Table(box=None, pad_edge=False, header_style="bold")
        # Without a run (a model that does not say what it takes) no shape is known.
        shaped = any(layer["shape"] is not None for layer in listed)
        for name in ("layer", "kind", *(["shape"] if shaped else []), "parameters"):
            layers.add_column(name, overflow="fold", justify="right" if name[0] == "p" else "left")
        for layer in listed:
            shape = "" if layer["shape"] is None else _shape(layer["shape"])
            cells = [escape(layer["path"]), layer["kind"], *([shape] if shaped else [])]
            layers.add_row(*cells, f"{layer['parameters']:,}")
        screen.print()
        screen.print(layers)
    for path in document.get("written", ()):
        screen.print(escape(f"wrote {path}"))


def _lines(document: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("source", document["source"])]
    if document["file"] is not None:
        file = document["file"]
        lines += [
            ("format", file["title"]),
            ("size", f"{models.readable_size(file['size'])} ({file['size']:,} bytes)"),
            ("sha256", file["sha256"] or "-"),
            ("runs code", file["runs_code"]),
        ]
        lines += [("found", finding["text"]) for finding in file["findings"]]
    if document["model"] is None:
        return [*lines, ("loaded", "no")]
    for name, value in document["model"].items():
        if value is None or name in _APART:
            continue
        if name == "inputs":
            value = ", ".join(f"{i['name']} {_shape(i['shape'])} {i['dtype'] or ''}" for i in value)
        elif name == "outputs":
            value = ", ".join(_shape(shape) for shape in value)
        elif name == "final_activation":
            value = ", ".join(value)
        lines.append((name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value))
    return lines


_APART = frozenset({"layer_list", "about", "nodes", "edges"})
"""Said in another place than the table of facts."""


def _shape(shape: Any) -> str:
    if shape is None:
        return "any shape"
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
