"""Loops of a known length written out, for rules that want to see every step."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
from jax.extend import core

from pellucid.adapters.jax.program import Flattener, Program, Step, Value


def unrolled(program: Program) -> Program:
    """The program with every `scan` that depends on the inputs written out; itself if none does."""
    loops = {i for i, s in enumerate(program.steps) if s.name == "scan" and _is_live(program, s)}
    if not loops:
        return program
    flat = Flattener(itertools.count(max(program.avals) + 1))
    flat.avals.update(program.avals)
    flat.constants.update(program.constants)
    renamed: dict[int, Value] = {}
    moved: dict[int, int] = {}
    begun: dict[int, Value] = {}

    def now(v: Value) -> Value:
        return renamed.get(v, v) if isinstance(v, int) else v

    for position, step in enumerate(program.steps):
        inputs = tuple(map(now, step.inputs))
        if position not in loops:
            moved[position] = len(flat.steps)
            flat.steps.append(replace(step, inputs=inputs))
            continue
        closed = _written_out(step, program.avals)
        first, carried = step.params["num_consts"], step.params["num_carry"]
        starts = [_start(flat, v) for v in inputs[first : first + carried]]
        inputs = (*inputs[:first], *starts, *inputs[first + carried :])
        constants = [flat.constant(c) for c in closed.consts]
        outputs = flat.inline(closed.jaxpr, [*constants, *inputs], step.scopes)
        renamed.update(zip(step.outputs, outputs, strict=True))
        begun.update(zip(starts, outputs, strict=False))
    marks = []
    for mark in program.marks:
        source = now(mark.source)
        if isinstance(source, int):
            marks.append(replace(mark, source=source, position=moved[mark.position]))
    opened = replace(
        program,
        steps=tuple(flat.steps),
        constants=flat.constants,
        outputs=tuple(map(now, program.outputs)),
        avals=flat.avals,
        marks=tuple(marks),
    )
    live = opened.live
    states = {s for s, end in begun.items() if end in live and s not in live}
    opened = replace(opened, states=program.states | states)
    return unrolled(opened)  # loops in loops


def _start(flat: Flattener, value: Value) -> int:
    """A number of its own for what a loop begins with, which others may read too."""
    aval = flat.avals[value] if isinstance(value, int) else value.aval
    number = flat.number(aval)
    flat.steps.append(Step(None, {}, (value,), (number,)))
    return number


def _is_live(program: Program, step: Step) -> bool:
    return any(v in program.live for v in step.reads)


def _written_out(step: Step, avals: Mapping[int, Any]) -> core.ClosedJaxpr:
    """One turn after the other, as `jax.lax.scan` says what a scan computes."""
    settings = step.params
    turn = core.jaxpr_as_fun(settings["jaxpr"])
    first, carried = settings["num_consts"], settings["num_carry"]

    def whole(*given: Any) -> list[Any]:
        constants, carry = given[:first], list(given[first : first + carried])
        columns = given[first + carried :]
        turns = range(settings["length"])
        found: dict[int, Sequence[Any]] = {}
        for t in reversed(turns) if settings["reverse"] else turns:
            rows = [jax.lax.index_in_dim(c, t, 0, keepdims=False) for c in columns]
            results = turn(*constants, *carry, *rows)
            carry, found[t] = list(results[:carried]), results[carried:]
        stacked = [
            jax.lax.concatenate([jax.lax.expand_dims(a, (0,)) for a in column], 0)
            for column in zip(*(found[t] for t in turns), strict=True)
        ]
        return [*carry, *stacked]

    kinds: list[Any] = [avals[v] if isinstance(v, int) else v.aval for v in step.inputs]
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in kinds]
    return jax.make_jaxpr(whole)(*shapes)
