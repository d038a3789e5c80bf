"""How a model is built: its layers as a tree, one run as a graph, and what both cost."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pellucid.adapters.facts import InputSpec
from pellucid.inside.structure_words import sentences, size_words


@dataclass(frozen=True)
class LayerEntry:
    """One layer of the tree; `parent` is its number in `Structure.layers`.

    `shape` is that of its first call's output, batch axis included; `calls` how often a run uses
    it; `multiply_adds` of all its calls on one sample, those of the layers in it included.
    """

    path: str
    name: str
    kind: str
    depth: int
    parent: int | None
    shape: tuple[int | None, ...] | None
    parameters: int
    calls: int
    multiply_adds: int | None
    detail: str = ""
    """What it has learned, in words; of parts that are read and not run."""
    idle: bool = False
    """Whether the run makes no use of it: no call of it or of a layer in it, and no weights taken.

    A list of layers is not called itself, nor is a layer that only holds weights for another.
    """


@dataclass(frozen=True)
class Node:
    """One step of a run: a call of a layer, or an operation that stands in no layer of its own.

    `kinds` are those of the operations in it; `shape` is of its output for one sample, without
    the batch axis. Inputs and outputs of the model are nodes too.
    """

    name: str
    kind: str
    call: int
    kinds: frozenset[str]
    shape: tuple[int, ...] | None
    layer: bool
    multiply_adds: int = 0
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Structure:
    """What `pellucid.inspect` found.

    `parameters` counts numbers, each once however often it is used, and `parameter_bytes` their
    memory; `multiply_adds` and `activation_bytes` (all outputs of all steps, as float32) are for
    one sample. What cannot be seen in a model is None or empty, and `notes` say why.
    """

    framework: str
    supports: str
    source: str | None
    fingerprint: str
    inputs: tuple[InputSpec, ...] | None
    outputs: tuple[tuple[int, ...], ...] | None
    final_activation: tuple[str | None, ...]
    class_names: tuple[str, ...] | None
    layers: tuple[LayerEntry, ...]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    parameters: int | None
    parameter_bytes: int | None
    multiply_adds: int | None
    activation_bytes: int | None
    notes: tuple[str, ...] = ()
    unit: str = "layer"
    """What `layers` are: "layer", or "part" of a model that is read and not run."""

    @property
    def flops(self) -> int | None:
        """Floating-point operations for one sample, two for every multiply-add."""
        return None if self.multiply_adds is None else 2 * self.multiply_adds

    @property
    def shared(self) -> tuple[LayerEntry, ...]:
        """The layers that one run calls more than once."""
        return tuple(
            e
            for e in self.layers
            if e.calls > 1 and (e.parent is None or self.layers[e.parent].calls < e.calls)
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the model is, in plain sentences."""
        return sentences(self)

    def __str__(self) -> str:
        """The sentences, and the layers as an indented table."""
        return "\n".join([*self.sentences, "", *_table(self.layers)]).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {
            "framework": self.framework,
            "supports": self.supports,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "inputs": None if self.inputs is None else [asdict(i) for i in self.inputs],
            "outputs": self.outputs,
            "final_activation": list(self.final_activation),
            "classes": None if self.class_names is None else len(self.class_names),
            "parameters": self.parameters,
            "parameter_bytes": self.parameter_bytes,
            "multiply_adds": self.multiply_adds,
            "flops": self.flops,
            "activation_bytes": self.activation_bytes,
            "sentences": list(self.sentences),
            "layers": [asdict(e) for e in self.layers],
            "nodes": [asdict(n) | {"kinds": sorted(n.kinds)} for n in self.nodes],
            "edges": [list(e) for e in self.edges],
            "notes": list(self.notes),
        }

    def to_svg(self, *, theme: Literal["light", "dark"] = "light") -> str:
        """The graph of one run as SVG: text, no script, nothing loaded from elsewhere.

        See `pellucid.plots.graph`.
        """
        from pellucid.plots.graph import graph_svg

        return graph_svg(self.nodes, self.edges, theme=theme)

    def to_html(self) -> str:
        """One self-contained page: sentences, a tree to open and close, the graph."""
        from pellucid.reports.structure import structure_page

        return structure_page(self)

    def _repr_html_(self) -> str:
        from pellucid.reports.structure import structure_fragment

        return structure_fragment(self)

    def reproduce(self) -> str:
        """Python that loads or wraps this model, explains it, judges that, and writes a report."""
        from pellucid.inside.script import script_for

        return script_for(self)


def _table(layers: tuple[LayerEntry, ...]) -> list[str]:
    if not layers:
        return []
    rows = [("layer", "kind", "output", "parameters", "multiply-adds", "calls", "")]
    for e in layers:
        shape = "" if e.shape is None else str(tuple("n" if s is None else s for s in e.shape))
        rows.append(
            (
                "  " * e.depth + e.name,
                e.kind,
                shape.replace("'", ""),
                f"{e.parameters:,}",
                "" if e.multiply_adds is None else size_words(e.multiply_adds),
                str(e.calls) if e.calls != 1 else "",
                e.detail,
            )
        )
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    right = {3, 4, 5}
    return [
        "  ".join(
            f"{c:>{w}}" if i in right else f"{c:<{w}}"
            for i, (c, w) in enumerate(zip(r, widths, strict=True))
        ).rstrip()
        for r in rows
    ]
