"""How a model is built as HTML: the sentences, a tree to open and close, the graph of a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from pellucid.inside.units import of_one
from pellucid.plots.graph import MOST, boxes_of, graph_svg
from pellucid.plots.style import elide
from pellucid.reports.page import render_template

if TYPE_CHECKING:
    from pellucid.inside.structure import LayerEntry, Structure


@dataclass(frozen=True)
class Branch:
    """A layer with those in it, as the tree shows it; `share` of all parameters, in percent."""

    name: str
    title: str
    kind: str
    shape: str
    parameters: str
    work: str
    calls: int
    idle: bool
    share: float
    branches: tuple["Branch", ...]


@dataclass(frozen=True)
class StructureView:
    """What the template shows."""

    title: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    tree: tuple[Branch, ...]
    graph: Markup | None
    script: str


def structure_view(structure: "Structure") -> StructureView:
    """Everything the template needs."""
    return StructureView(
        title=f"How this {structure.framework} model is built",
        sentences=structure.sentences,
        facts=_facts(structure),
        tree=_branches(structure, None),
        graph=_graph(structure),
        script=structure.reproduce(),
    )


def structure_page(structure: "Structure") -> str:
    """One self-contained page."""
    return render_template(
        "structure_page.html.j2", page=structure_view(structure), record=structure.to_dict()
    )


def structure_fragment(structure: "Structure") -> str:
    """The same for a notebook's cell, without a head, a script or the graph."""
    return render_template("structure_cell.html.j2", page=structure_view(structure))


def _facts(structure: "Structure") -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = [("Framework", structure.framework)]
    if structure.source:
        rows.append(("Source", structure.source))
    for spec in structure.inputs or ():
        kind = f" {spec.dtype}" if spec.dtype else ""
        name = "" if spec.name.lower() == "input" else f"{spec.name} "
        rows.append(("Input", f"{name}{_shape(spec.shape)}{kind}"))
    rows += [("Output", _shape(shape)) for shape in structure.outputs or ()]
    if structure.parameters is not None:
        rows.append(("Parameters", f"{structure.parameters:,}"))
    if structure.flops is not None:
        rows.append(("FLOPs for one input", f"{structure.flops:,}"))
    rows.append(("Fingerprint", structure.fingerprint))
    return tuple(rows)


def _branches(structure: "Structure", parent: int | None) -> tuple[Branch, ...]:
    total = max(structure.parameters or 0, 1)
    return tuple(
        Branch(
            name=elide(e.name, 48),
            title=e.path,
            kind=f"{e.kind}: {e.detail}" if e.detail else e.kind,
            shape="" if e.shape is None else _shape(of_one(e.shape)),
            parameters=f"{e.parameters:,}",
            work="" if not e.multiply_adds else f"{2 * e.multiply_adds:,}",
            calls=e.calls,
            idle=e.idle,
            share=round(min(100 * e.parameters / total, 100), 2),
            branches=_branches(structure, i),
        )
        for i, e in enumerate(structure.layers)
        if e.parent == parent
    )


def _graph(structure: "Structure") -> Markup | None:
    if not structure.nodes or len(boxes_of(structure.nodes, structure.edges)[0]) > MOST:
        return None
    # Built as an element tree, which escapes every text: safe to stand as it is.
    return Markup(graph_svg(structure.nodes, structure.edges))


def _shape(shape: "tuple[int | None, ...] | None") -> str:
    if shape is None:
        return "of any shape"
    return " × ".join("any" if s is None else str(s) for s in shape) or "one number"


__all__ = ["Branch", "LayerEntry", "StructureView", "structure_fragment", "structure_page"]
