"""The steps of a program grouped into operations as a method thinks of them.

Elementwise steps that depend on one value only are one activation, however many primitives it
takes (JAX takes a GELU apart into eight); so is a softmax. Everything else is an operation by
itself, in which a bias is an addition of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pellucid.adapters.jax.marks import layer_of
from pellucid.adapters.jax.operations import (
    ACTIVATIONS,
    ELEMENTWISE,
    KINDS,
    STOPPED_MAXIMUM,
    function_name,
    kind_of,
)
from pellucid.adapters.jax.peel import (
    BESIDE,
    is_of_maximum,
    is_shift_beside,
    log_sum_logits,
    softmax_logits,
)
from pellucid.adapters.jax.program import Program, Step, Value
from pellucid.adapters.jax.rectifiers import ENDS, rectifier, relus_of

_WEIGHTED = frozenset({"conv_general_dilated", "dot_general", "ragged_dot"})


@dataclass(frozen=True)
class Unit:
    """One operation: the steps at `positions`, from `inputs` and `weights` to `outputs`."""

    index: int
    kind: str
    name: str
    path: str
    call: int
    positions: tuple[int, ...]
    inputs: tuple[Value, ...]
    live: tuple[bool, ...]
    weights: Mapping[str, Value]
    arguments: Mapping[str, Any]
    outputs: tuple[int, ...]
    weight_place: int = 1
    sources: tuple[int, ...] = ()


def name_of(step: Step) -> str:
    """A primitive's name, or that of the function which a call calls."""
    if step.name in {"jit", "pjit", "custom_jvp_call", "custom_vjp_call"}:
        name = function_name(step.name, step.params)
        if name in ACTIVATIONS or name in KINDS:
            return str(name)
    return step.name


def units_of(program: Program) -> tuple[Unit, ...]:
    """All operations that depend on the model's inputs, in the order in which they finish."""
    groups = _softmaxes(program)
    taken = {i for group in groups for i in group}
    softmaxes = frozenset(taken)
    groups += _regions(program, taken)
    taken.update(i for group in groups for i in group)
    for i, step in enumerate(program.steps):
        if i not in taken and step.primitive is not None and _is_live(program, step):
            groups.append((i,))
    groups.sort(key=lambda g: g[-1])
    calls: dict[str, dict[str, int]] = {}
    units = [_unit(program, index, group, calls, softmaxes) for index, group in enumerate(groups)]
    makers = {v: unit.index for unit in units for v in unit.outputs}
    return tuple(
        replace(u, sources=tuple(_maker(program, makers, v) for v in u.inputs)) for u in units
    )


def _maker(program: Program, makers: Mapping[int, int], value: Value) -> int:
    """The index of the operation that made a value, behind marks; -1 for none, -2 for a state."""
    while isinstance(value, int) and value not in makers:
        if value in program.states:
            return -2
        position = program.producer.get(value)
        if position is None or program.steps[position].primitive is not None:
            return -1
        (value,) = program.steps[position].inputs
    return makers.get(value, -1) if isinstance(value, int) else -1


def _is_live(program: Program, step: Step) -> bool:
    return any(v in program.live for v in step.reads)


def _unit(
    program: Program,
    index: int,
    group: tuple[int, ...],
    calls: dict[str, dict[str, int]],
    softmaxes: frozenset[int],
) -> Unit:
    steps = [program.steps[i] for i in group]
    last = steps[-1]
    own = {v for step in steps for v in step.outputs}
    path, token = layer_of(last.scopes)
    numbers = calls.setdefault(path, {})
    call = numbers.setdefault(token, len(numbers) + 1)
    if len(group) > 1:
        ends = {"div": "softmax", "sub": "log_softmax", "add": "logsumexp", "exp": "softmax"}
        is_softmax = last.name in ends and any(s.name == "reduce_sum" for s in steps)
        inputs = tuple(dict.fromkeys(v for s in steps for v in s.reads if v not in own))
        live = tuple(v in program.live for v in inputs)
        kind, name, arguments = "activation", "elementwise", {}
        if is_softmax:
            kind, name = "softmax", ends[last.name]
            axes = next(s.params["axes"] for s in steps if s.name == "reduce_sum")
            along = tuple(map(int, axes))
            arguments = {"axis": along[0] if len(along) == 1 else along}
            # The result depends on the logits, not on what was subtracted from all of them.
            shifts = {s.inputs[1] for s in steps if s.name == "sub"}
            live = tuple(v in program.live and v not in shifts for v in inputs)
        name = (rectifier(program, group) or name) if kind == "activation" else name
        return Unit(index, kind, name, path, call, group, inputs, live, {}, arguments, last.outputs)
    live = tuple(isinstance(v, int) and v in program.live for v in last.inputs)
    name = name_of(last)
    if name in ENDS:
        name = rectifier(program, group) or name
    if name == "stop_gradient" and is_of_maximum(program, last.inputs[0]):
        name = STOPPED_MAXIMUM
    kind = kind_of(name, live)
    hides = _makes_real(program, last) and _hides(program, last, softmaxes)
    if kind == "detached" and not hides:
        name, kind = "stop_gradient", "route"
    weights: dict[str, Value] = {}
    inputs, place = last.inputs, 1
    if last.name in _WEIGHTED and sum(live[:2]) == 1:
        place = 0 if live[1] else 1
        weights = {"weight": last.inputs[place]}
        inputs, live = (last.inputs[1 - place],), (True,)
    settings = {k: v for k, v in last.params.items() if not _is_code(v)}
    if kind == "softmax" and len(inputs) == 1:  # not where numbers are left out by another
        settings |= _axis_inside(last)
    return Unit(
        index, kind, name, path, call, group, inputs, live, weights, settings, last.outputs,
        place,
    )  # fmt: skip


def _hides(program: Program, step: Step, softmaxes: frozenset[int]) -> bool:
    """Whether a derivative that ends here is missed: by what real numbers are made with.

    A softmax does not depend on what is subtracted from all of a row.
    """
    todo = list(step.outputs)
    while todo:
        value = todo.pop()
        if value in program.outputs:
            return True
        for position in program.readers.get(value, ()):
            reader = program.steps[position]
            if position in softmaxes or not _makes_real(program, reader):
                continue
            if reader.name not in BESIDE and reader.primitive is not None:
                return True
            todo += reader.outputs
    return False


def _makes_real(program: Program, step: Step) -> bool:
    return any("float" in str(program.avals[v].dtype) for v in step.outputs)


def _axis_inside(step: Step) -> dict[str, Any]:
    """Along what the function that a step calls adds up, if it does so once."""
    lines = getattr(step.params.get("jaxpr"), "eqns", ())
    found = [tuple(map(int, e.params["axes"])) for e in lines if e.primitive.name == "reduce_sum"]
    return {"axis": found[0][0] if len(found[0]) == 1 else found[0]} if len(found) == 1 else {}


def _is_code(value: Any) -> bool:
    return callable(value) or hasattr(value, "eqns") or hasattr(value, "jaxpr")


def _softmaxes(program: Program) -> list[tuple[int, ...]]:
    """Each softmax that JAX took apart: all that lies between the logits and the quotient."""
    found = []
    for i, step in enumerate(program.steps):
        logits = softmax_logits(program, step) if step.name in {"div", "sub"} else None
        if step.name in {"add", "exp"}:
            ends = log_sum_logits(program, step)
            logits = None if ends is None else ends[1]
        if logits is None or logits not in program.live:
            continue
        members, todo = {i}, list(step.reads)
        while todo:
            v = todo.pop()
            position = program.producer.get(v)
            if v == logits or position is None or position in members or v not in program.live:
                continue
            if is_shift_beside(program, logits, v):
                continue
            members.add(position)
            todo += program.steps[position].reads
        made = {v for m in members for v in program.steps[m].outputs} - set(step.outputs)
        readers = {r for v in made for r in program.readers.get(v, ())} - members
        if not any(_is_read(program, program.steps[r]) for r in readers):
            found.append(tuple(sorted(members | readers)))
    return [group for group in found if not any(set(group) < set(other) for other in found)]


def _is_read(program: Program, step: Step) -> bool:
    """Whether anything follows from a step: log Σ eˣ also finds a sign that few ask for."""
    return any(program.readers.get(v) or v in program.outputs for v in step.outputs)


def _regions(program: Program, taken: set[int]) -> list[tuple[int, ...]]:
    """Elementwise steps that depend on one value, grouped as small as they can be."""
    base: dict[int, int] = {}
    regions: dict[int, list[int]] = {}
    for i, step in enumerate(program.steps):
        if i in taken or not _is_elementwise(step):
            continue
        bases = {base.get(v, v) for v in step.reads if v in program.live}
        if len(bases) != 1:
            continue
        (root,) = bases
        base.update(dict.fromkeys(step.outputs, root))
        regions.setdefault(root, []).append(i)
    found: list[tuple[int, ...]] = []
    for root, members in regions.items():
        relus = relus_of(program, members)
        found += relus
        gated = {i for group in relus for i in group}
        for segment in _segments(program, root, members):
            steps = [i for i in segment if program.steps[i].primitive is not None]
            cut = any(program.steps[i].name == "stop_gradient" for i in steps if i not in gated)
            if cut or gated.intersection(steps):  # what is beside a ReLU stands by itself
                found += [(i,) for i in steps if i not in gated]
            elif len(steps) > 1 and not _has_one_output(program, segment):
                found += [(i,) for i in steps]
            elif len(steps) > 1:
                found.append(tuple(segment))
            elif steps:
                found.append((steps[0],))
    return found


def _is_elementwise(step: Step) -> bool:
    named = name_of(step)
    return len(step.outputs) == 1 and (step.name in ELEMENTWISE or named in ACTIVATIONS)


def _segments(program: Program, root: int, members: Sequence[int]) -> list[list[int]]:
    """A region cut wherever all that follows in it depends on one value."""
    inside = set(members)
    last_read = {
        v: max((r for r in program.readers.get(v, ()) if r in inside), default=-1)
        for v in (root, *(o for i in members for o in program.steps[i].outputs))
    }
    segments: list[list[int]] = [[]]
    open_values = {root}
    for i in members:
        segments[-1].append(i)
        open_values.update(program.steps[i].outputs)
        open_values = {v for v in open_values if last_read[v] > i}
        if open_values == set(program.steps[i].outputs):
            segments.append([])
    return [segment for segment in segments if segment]


def _has_one_output(program: Program, segment: Sequence[int]) -> bool:
    inside = set(segment)
    outside = {v for v in program.outputs if isinstance(v, int)}
    made = [v for i in segment for v in program.steps[i].outputs]
    leaving = [
        v for v in made if v in outside or any(r not in inside for r in program.readers.get(v, ()))
    ]
    return leaving == [*program.steps[segment[-1]].outputs]
