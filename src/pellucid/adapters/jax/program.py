"""A traced model as a flat list of steps: calls inlined, values numbered, layer exits marked."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from pellucid.adapters.jax.marks import call_token, mark_of, scope_name
from pellucid.adapters.jax.operations import INLINED, is_known_function

Value = int | core.Literal
"""A numbered value, or a constant written into the step."""


@dataclass(frozen=True)
class Step:
    """One operation. `primitive` is None where a layer's value leaves it: the value passes."""

    primitive: Any
    params: Mapping[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[int, ...]
    scopes: tuple[str, ...] = ()
    context: Any = None

    @property
    def name(self) -> str:
        return "mark" if self.primitive is None else str(self.primitive.name)

    @functools.cached_property
    def reads(self) -> tuple[int, ...]:
        return tuple(v for v in self.inputs if isinstance(v, int))


@dataclass(frozen=True)
class Mark:
    """The exit of one layer call: `value` is what the rest of the model reads, once `source` is."""

    path: str
    call: int
    kind: str
    source: int
    value: int
    position: int

    @property
    def name(self) -> str:
        return self.path if self.call == 1 else f"{self.path}#{self.call}"


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in order. The values of `weights`, `leaves` and `constants` are known beforehand."""

    steps: tuple[Step, ...]
    weights: tuple[int, ...]
    leaves: tuple[int, ...]
    constants: Mapping[int, Any]
    outputs: tuple[Value, ...]
    avals: Mapping[int, Any]
    marks: tuple[Mark, ...]
    states: frozenset[int] = frozenset()
    """What loops that were written out begin with, where a turn makes it depend on the inputs."""

    @functools.cached_property
    def mark_named(self) -> dict[str, Mark]:
        return {mark.name: mark for mark in self.marks}

    @functools.cached_property
    def producer(self) -> dict[int, int]:
        """Value number -> position of the step that makes it."""
        return {v: i for i, step in enumerate(self.steps) for v in step.outputs}

    @functools.cached_property
    def live(self) -> frozenset[int]:
        """Values that depend on the model's inputs, and first states, which later turns' do."""
        found = {*self.leaves, *self.states}
        for step in self.steps:
            if any(v in found for v in step.reads):
                found.update(step.outputs)
        return frozenset(found)

    @functools.cached_property
    def readers(self) -> dict[int, list[int]]:
        """Value number -> positions of the steps that read it."""
        found: dict[int, list[int]] = {}
        for i, step in enumerate(self.steps):
            for v in step.reads:
                found.setdefault(v, []).append(i)
        return found


def perform(step: Step, values: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs of a step for given inputs, computed or traced by JAX."""
    if step.primitive is None:
        return (values[0],)
    bound = step.primitive.get_bind_params(step.params)
    # Older versions of JAX hand out the functions of a call apart from its settings.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    with step.context.manager:
        out = step.primitive.bind(*functions, *values, **params)
    return tuple(out) if step.primitive.multiple_results else (out,)


def evaluate(steps: Iterable[Step], known: dict[int, Any]) -> None:
    """Perform steps in order, adding what they make to `known`."""
    for step in steps:
        values = [known[v] if isinstance(v, int) else v.val for v in step.inputs]
        known.update(zip(step.outputs, perform(step, values), strict=True))


class Flattener:
    """Steps as they are appended, and the values that they number with `numbers`."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.steps: list[Step] = []
        self.avals: dict[int, Any] = {}
        self.constants: dict[int, Any] = {}
        self.marked: list[tuple[str, str, int]] = []
        self._numbers = numbers

    def number(self, aval: Any) -> int:
        number = next(self._numbers)
        self.avals[number] = aval
        return number

    def constant(self, value: Any) -> int:
        number = self.number(jax.typeof(value) if hasattr(jax, "typeof") else jnp.asarray(value))
        self.constants[number] = value
        return number

    def inline(
        self, jaxpr: core.Jaxpr, given: Sequence[Value], scopes: tuple[str, ...]
    ) -> list[Value]:
        variables = (*jaxpr.constvars, *jaxpr.invars)
        known: dict[Any, Value] = dict(zip(variables, given, strict=True))
        for equation in jaxpr.eqns:
            inputs = tuple(v if isinstance(v, core.Literal) else known[v] for v in equation.invars)
            inside = scopes + _scopes_of(equation)
            body = None if is_known_function(equation) else _body_of(equation)
            if body is not None:
                inner, consts = body
                parts = [self.constant(c) for c in consts]
                outputs = self.inline(inner, [*parts, *inputs], (*inside, call_token()))
                known.update(zip(equation.outvars, outputs, strict=True))
                continue
            outputs = [self.number(v.aval) for v in equation.outvars]
            known.update(zip(equation.outvars, outputs, strict=True))
            mark = mark_of(equation)
            if mark is not None:
                self.marked.append((*mark, len(self.steps)))
            if equation.primitive.name == "name":
                self.steps.append(Step(None, {}, inputs, tuple(outputs), inside))
                continue
            self.steps.append(
                Step(
                    equation.primitive,
                    equation.params,
                    inputs,
                    tuple(outputs),
                    inside,
                    equation.ctx,
                )
            )
        return [v if isinstance(v, core.Literal) else known[v] for v in jaxpr.outvars]


def _scopes_of(equation: Any) -> tuple[str, ...]:
    """The named scopes around an equation; what JAX's transformations add is left out."""
    stack = equation.source_info.name_stack.stack
    return tuple(part.name for part in stack if type(part).__name__ == "Scope")


def _body_of(equation: Any) -> tuple[core.Jaxpr, Sequence[Any]] | None:
    """The function that a call equation calls, and its constants."""
    if equation.primitive.name not in INLINED:
        return None
    body = next(
        (equation.params[k] for k in ("jaxpr", "call_jaxpr", "call") if k in equation.params), None
    )
    if body is None:
        return None
    return (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, ())


def flatten(closed: core.ClosedJaxpr, weights: int) -> Program:
    """A traced function of `weights` weight arrays and then its inputs, as a program."""
    flat = Flattener(itertools.count())
    jaxpr = closed.jaxpr
    constants = [flat.constant(c) for c in closed.consts]
    inputs = [flat.number(v.aval) for v in jaxpr.invars]
    outputs = flat.inline(jaxpr, [*constants, *inputs], ())
    program = Program(
        steps=tuple(flat.steps),
        weights=tuple(inputs[:weights]),
        leaves=tuple(inputs[weights:]),
        constants=flat.constants,
        outputs=tuple(outputs),
        avals=flat.avals,
        marks=(),
    )
    if flat.marked:
        return replace(program, marks=_numbered(program.steps, flat.marked))
    return _marked_by_scopes(program)


def _numbered(steps: Sequence[Step], marked: Iterable[tuple[str, str, int]]) -> tuple[Mark, ...]:
    """Marks with their call numbers, counted in the order in which calls return."""
    counts: Counter[str] = Counter()
    found = []
    for path, kind, position in marked:
        (source,), (value,) = steps[position].inputs, steps[position].outputs
        if not isinstance(source, int):
            continue
        counts[path] += 1
        found.append(Mark(path, counts[path], kind, source, value, position))
    return tuple(found)


@dataclass
class _Run:
    """The steps of one named scope: what it makes and others read is what it returns."""

    path: str
    depth: int
    first: int
    last: int


def _runs(program: Program) -> list[_Run]:
    """One entry for each time that a named scope was entered."""
    by_token: dict[tuple[str, ...], _Run] = {}
    finished: list[_Run] = []
    for position, step in enumerate(program.steps):
        here = set()
        for depth in range(1, len(step.scopes) + 1):
            key = step.scopes[:depth]
            if not scope_name(key[-1]):
                continue
            here.add(key)
            run = by_token.get(key)
            if run is None or (run.last < position - 1 and scope_name(key[-1]) == key[-1]):
                # A scope that carries no token of its own is left when other steps come.
                names = [n for n in map(scope_name, key) if n]
                run = by_token[key] = _Run("/".join(names), depth, position, position)
                finished.append(run)
            run.last = position
    return finished


def _marked_by_scopes(program: Program) -> Program:
    """The program with a mark where each named scope is left, read by everything after it."""
    ends: dict[int, list[_Run]] = {}
    for run in _runs(program):
        ends.setdefault(run.last, []).append(run)
    if not ends:
        return program
    avals = dict(program.avals)
    numbers = itertools.count(max(avals) + 1)
    last_read = {v: positions[-1] for v, positions in program.readers.items()}
    last_read.update({v: len(program.steps) for v in program.outputs if isinstance(v, int)})
    renamed: dict[int, int] = {}
    steps: list[Step] = []
    marked: list[tuple[str, str, int]] = []

    def now(v: Value) -> Value:
        return renamed.get(v, v) if isinstance(v, int) else v

    for position, step in enumerate(program.steps):
        steps.append(replace(step, inputs=tuple(map(now, step.inputs))))
        for run in sorted(ends.get(position, ()), key=lambda r: -r.depth):
            made = [
                v
                for inner in program.steps[run.first : run.last + 1]
                for v in inner.outputs
                if last_read.get(v, -1) > run.last
            ]
            if not made:
                continue
            source, value = now(made[-1]), next(numbers)
            avals[value] = avals[made[-1]]
            marked.append((run.path, "scope", len(steps)))
            steps.append(Step(None, {}, (source,), (value,), step.scopes[: run.depth - 1]))
            renamed[made[-1]] = value
    return replace(
        program,
        steps=tuple(steps),
        outputs=tuple(map(now, program.outputs)),
        avals=avals,
        marks=_numbered(steps, marked),
    )
