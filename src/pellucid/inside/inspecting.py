"""Finding out how a model is built, from what it says and from one run."""

import math
from dataclasses import dataclass, replace
from typing import Any

from pellucid.adapters.facts import OPERATION_KINDS, WHOLE, LayerInfo
from pellucid.adapters.protocol import Operation
from pellucid.adapters.work import multiply_adds
from pellucid.counting import CountedModel
from pellucid.coverage import zeros_for
from pellucid.errors import InputError, PellucidError
from pellucid.inside.graph import graph_of
from pellucid.inside.parts import COUNTED, entries_of, graph_of_parts
from pellucid.inside.structure import LayerEntry, Structure
from pellucid.inside.units import call_shapes, with_idle
from pellucid.model import Model, wrap
from pellucid.running.outputs import model_errors, run_checked
from pellucid.types import Array, Leaves, shape_of

_KINDS = (OPERATION_KINDS - {"attention"}) | {WHOLE}
"""A fused attention is seen as its parts, so that their work is counted."""


def inspect(model: Any, x: Any = None) -> Structure:
    """How a model is built: layers, shapes, parameters, memory, operations, and a graph of a run.

    One run is made on the first sample of `x`, or on zeros where the model says what it takes;
    without either, what a run would show (shapes, the graph, work, layers used twice) is left out
    and a note says so. Of a plain function only inputs and outputs are known. A multiply-add is one
    of a linear layer or a product of two arrays; `flops` is twice their number, as is usual, and
    nothing else is counted.

    Returns a `Structure`; print it, or see its `to_html`, `to_svg`, `to_dict`, `reproduce`.
    Raises `InputError` for an `x` that is not for this model, `CapabilityError` for an object
    that is no model.

    >>> built = inspect(model, x)
    >>> built.parameters, built.flops
    (122, 17296)
    """
    wrapped = wrap(model, example=x)
    held = wrapped.adapter.for_one_explanation()
    notes: list[str] = []
    leaves = _one_sample(wrapped, held, x, notes)
    outputs, final = None, ()
    steps: list[_Step] = []
    calls: tuple[LayerInfo, ...] = ()
    if leaves is not None:
        with model_errors(CountedModel(held, peel=False), leaves, held):
            given = run_checked(CountedModel(held, peel=False), leaves, held)
            outputs = tuple(s[1:] for s in _shapes(given))
            final = held.final_activation(leaves)
            if held.shows_layers:
                calls = held.layers(leaves)
                _watch(held, leaves, steps, notes)
    static = held.layers() if held.shows_layers else ()
    parts = held.parts()
    if parts:
        notes.append(COUNTED)
    elif held.method_of is not None:
        notes.append(
            f"It is a method of a {type(held.method_of).__name__}: pass that itself, and what is in"
            " it can be seen."
        )
    elif not held.shows_layers:
        notes.append("It can only be run, so nothing inside of it can be seen.")
    closed = {s.name: None for s in steps if s.kind in {"opaque", "attention"} and not s.work}
    if closed:
        notes.append(f"What happens inside of {', '.join(closed)} is not counted.")
    layers = entries_of(parts) if parts else with_idle(_tree(static, calls, steps), steps)
    tops = [e for e in layers if e.parent is None]
    work = [e.multiply_adds or 0 for e in tops if e.multiply_adds is not None]
    weights = held.weights() if held.shows_weights else None
    ends = _inputs(wrapped, leaves)
    nodes, edges = graph_of(steps, layers, ends, outputs, call_shapes(calls))
    parameters = None if weights is None else _parameters(held, weights, layers)
    multiply_adds = sum(s.work for s in steps) if steps else None
    if parts:
        parameters = sum(e.parameters for e in tops)
        if leaves is not None:
            nodes, edges = graph_of_parts(parts, ends, outputs)
        if not steps and len(work) == len(tops):
            multiply_adds = sum(work)
    return Structure(
        framework=wrapped.framework,
        supports=held.supports.name.lower(),
        source=wrapped.source,
        fingerprint=wrapped.fingerprint(),
        inputs=wrapped.inputs,
        outputs=outputs,
        final_activation=tuple(final),
        class_names=wrapped.class_names,
        layers=layers,
        nodes=nodes,
        edges=edges,
        parameters=parameters,
        parameter_bytes=None if weights is None else _bytes(held, weights, layers),
        multiply_adds=multiply_adds,
        activation_bytes=4 * sum(s.numbers for s in steps) if steps else None,
        notes=tuple(notes),
        unit="part" if parts else "layer",
    )


def _one_sample(wrapped: Model, held: Any, x: Any, notes: list[str]) -> Leaves | None:
    given = x
    if x is None:
        try:
            given = zeros_for(wrapped)
        except InputError:
            specs = wrapped.inputs or ()
            half = specs and all(s.shape is not None for s in specs)
            said = "It does not say all of the shape" if half else "It does not say which shape"
            notes.append(
                f"{said} its inputs have; give one, inspect(model, x) or --shape in a command, to"
                " see shapes, the graph and the work of a run."
            )
            return None
    # Zeros are in the model's own form already.
    form = wrapped.preprocess if x is not None else None
    accepted = replace(wrapped, adapter=held, preprocess=form).accept(given)
    return tuple(a[:1] for a in accepted.leaves)


@dataclass(frozen=True)
class _Step:
    """One operation of the run."""

    index: int
    kind: str
    form: str
    name: str
    path: str
    call: int
    live: tuple[bool, ...]
    sources: tuple[int, ...]
    given: tuple[tuple[int, ...], ...]
    origins: tuple[int, ...]
    """For each of its inputs, which input of the model that is; -1 for none of them."""
    shape: tuple[int, ...]
    work: int

    @property
    def weighs(self) -> bool:
        """Whether weights may be in it: of a layer, whoever calls the operation."""
        return self.kind in {"lookup", "rnn"} or (self.kind == "linear" and self.work > 0)

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def _watch(held: Any, leaves: Leaves, steps: list[_Step], notes: list[str]) -> None:
    """One run in which every operation that depends on the inputs is noted."""
    entered: list[Array] = []

    def origin(a: Any) -> int:
        return next((i for i, b in enumerate(entered) if held.is_same(a, b)), -1)

    def note(op: Operation) -> Array:
        out = op()
        if any(op.live):
            shape = shape_of(out) if not isinstance(out, list | tuple) else shape_of(out[0])
            steps.append(
                _Step(
                    op.index, op.kind, op.form, op.name, op.path, op.call, tuple(op.live),
                    tuple(op.sources), tuple(shape_of(a) for a in op.inputs),
                    tuple(origin(a) for a in op.inputs), shape,
                    multiply_adds(op, out, held.channel_axis),
                )
            )  # fmt: skip
        return out

    def run(given: Leaves) -> Any:
        entered[:] = given
        return held.run(given, peel=False, intercept=note, kinds=_KINDS)

    try:
        held.traced(run, leaves)
    except PellucidError as error:
        steps.clear()
        notes.append(f"Its operations could not be seen: {str(error).splitlines()[0]}")


def _tree(
    static: tuple[LayerInfo, ...], calls: tuple[LayerInfo, ...], steps: list[_Step]
) -> tuple[LayerEntry, ...]:
    """The layers in the order of a reader: a layer, then those in it."""
    infos: dict[str, LayerInfo] = {i.path: i for i in static}
    count: dict[str, int] = {}
    shapes: dict[str, tuple[int | None, ...] | None] = {}
    for info in calls:
        path = info.path.partition("#")[0]
        infos.setdefault(path, info)
        count[path] = count.get(path, 0) + 1
        shapes.setdefault(path, info.shape)
    children: dict[str, list[str]] = {}
    for path in infos:
        children.setdefault(_parent(path, infos), []).append(path)
    entries: list[LayerEntry] = []

    def add(path: str, depth: int, parent: int | None) -> None:
        info = infos[path]
        prefix = "" if parent is None else entries[parent].path
        entries.append(
            LayerEntry(
                path=path,
                name=path[len(prefix) + 1 :] if prefix else path,
                kind=info.kind,
                depth=depth,
                parent=parent,
                shape=shapes.get(path, info.shape),
                parameters=info.parameters,
                calls=count.get(path, 0) if calls else 1,
                multiply_adds=_work(path, steps) if steps else None,
            )
        )
        number = len(entries) - 1
        for child in children.get(path, ()):
            add(child, depth + 1, number)

    for path in children.get("", ()):
        add(path, 0, None)
    return tuple(entries)


def _work(path: str, steps: list[_Step]) -> int:
    below = (path + ".", path + "/")
    return sum(s.work for s in steps if s.path == path or s.path.startswith(below))


def _parent(path: str, known: dict[str, LayerInfo]) -> str:
    """The longest known path that this one lies below; "" for one at the top."""
    for end in range(len(path) - 1, 0, -1):
        if path[end] in "./" and path[:end] in known:
            return path[:end]
    return ""


def _parameters(held: Any, weights: dict[str, Array], layers: tuple[LayerEntry, ...]) -> int:
    """Those of the outermost layers, and what the model holds outside of any layer."""
    if held.weight_layers:
        return sum(math.prod(shape_of(weights[n])) for n, of in held.weight_layers.items() if of)
    # Keras puts the model's own name before those of its layers, in some models.
    tops = [f"/{e.path.replace('.', '/')}/" for e in layers if e.parent is None]
    loose = sum(
        math.prod(shape_of(a))
        for name, a in weights.items()
        if not any(t in f"/{name.replace('.', '/')}/" for t in tops)
    )
    # Layers that share one array count it each; statistics that a framework does not call
    # parameters are among the weights.
    whole = sum(math.prod(shape_of(a)) for a in weights.values())
    return min(sum(e.parameters for e in layers if e.parent is None) + loose, whole)


def _bytes(held: Any, weights: dict[str, Array], layers: tuple[LayerEntry, ...]) -> int:
    """The memory of as many numbers, each as large as the weights are on the whole."""
    numbers = sum(math.prod(shape_of(a)) for a in weights.values())
    size = sum(int(held.to_numpy(a).nbytes) for a in weights.values()) / max(numbers, 1)
    return round(_parameters(held, weights, layers) * size)


def _inputs(wrapped: Model, leaves: Leaves | None) -> dict[str, tuple[int, ...]]:
    """Name and shape of each input; only several are called by the names the model has for them."""
    shapes = [shape_of(a)[1:] for a in leaves or ()]
    specs = wrapped.inputs or ()
    names = [s.name for s in specs] if len(specs) == len(shapes) else []
    if len(set(names)) < len(shapes) or len(shapes) == 1:
        names = ["input"] if len(shapes) == 1 else [f"input {i}" for i in range(len(shapes))]
    return dict(zip(names, shapes, strict=True))


def _shapes(outputs: Any) -> list[tuple[int, ...]]:
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return [shape for output in outputs for shape in _shapes(output)]
    return [shape_of(outputs)]
