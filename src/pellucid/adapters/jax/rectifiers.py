"""ReLUs under other names: steps that do to any number what a ReLU does."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.adapters.jax.operations import function_name
from pellucid.adapters.jax.program import Program, Step, evaluate
from pellucid.adapters.relu_probes import LONGEST, PROBES

_COMPARISONS = frozenset({"gt", "ge", "lt", "le"})
_BENDS = _COMPARISONS | {"abs", "sign", "max", "min", "clamp", "sqrt"}
_BY_SLOPE = frozenset({"leaky_relu", "elu"})
"""Functions that are a ReLU where the slope below zero, an argument of theirs, is zero."""

ENDS = _BY_SLOPE | {"max", "min", "clamp", "select_n", "mul", "div", "add", "sub", "neg"}
"""Steps that may be the last one of a ReLU that is written out."""


def rectifier(program: Program, group: Sequence[int]) -> str | None:
    """What the steps make of their only live value, if it is a ReLU: "relu" or "relu6"; else None.

    Found by performing them on a few numbers; what depends on weights is none.
    """
    steps = [program.steps[i] for i in group if program.steps[i].primitive is not None]
    if not steps or not _may_bend(steps):
        return None
    own = {v for step in steps for v in step.outputs}
    given = {v for step in steps for v in step.reads if v not in own}
    bases = given & program.live
    if len(bases) != 1 or len(steps[-1].outputs) != 1:
        return None
    (base,) = bases
    aval = program.avals[base]
    if not jnp.issubdtype(aval.dtype, jnp.floating) or not aval.shape:
        return None
    rest = _constants(program, given - bases)
    if rest is None:
        return None
    x = np.resize(PROBES, aval.shape)
    with jax.ensure_compile_time_eval():
        known: dict[int, Any] = {base: jnp.asarray(x, aval.dtype)}
        evaluate(rest, known)
        evaluate(steps, known)
        y = np.asarray(known[steps[-1].outputs[0]], np.float64)
    x = np.asarray(known[base], np.float64)
    if y.shape != x.shape or not _tells(x):
        return None
    made = {"relu": np.maximum(x, 0), "relu6": np.clip(x, 0, 6)}
    return next((name for name, wanted in made.items() if np.array_equal(y, wanted)), None)


def _tells(x: np.ndarray) -> bool:
    """Whether there are numbers of every kind among those that were looked at."""
    return x.size >= len(PROBES) or bool(np.any(x < 0) and np.any(x > 0))


def _constants(program: Program, values: set[int]) -> list[Step] | None:
    """The steps that make values of constants written in the program; None if they need others."""
    found: dict[int, Step] = {}
    todo = list(values)
    while todo:
        position = program.producer.get(todo.pop())
        if position is None:
            return None
        if position not in found:
            found[position] = program.steps[position]
            todo += program.steps[position].reads
    return [found[i] for i in sorted(found)]


def _called(step: Step) -> str:
    return function_name(step.name, step.params) or step.name


def _may_bend(steps: Sequence[Step]) -> bool:
    """Whether steps end as a ReLU may, and hold what bends."""
    if _called(steps[-1]) in _BY_SLOPE:
        return True
    return steps[-1].name in ENDS and any(step.name in _BENDS for step in steps)


def relus_of(program: Program, region: Sequence[int]) -> list[tuple[int, ...]]:
    """The steps of each ReLU in a region of steps, however it is written."""
    inside = {i for i in region if program.steps[i].primitive is not None}
    groups: list[tuple[int, ...]] = []
    taken: set[int] = set()
    for i in sorted(inside):
        step = program.steps[i]
        found = None
        if _called(step) in {"relu", "relu6"}:
            found = (i,)
        elif step.name in ENDS or _called(step) in _BY_SLOPE:
            found = _behind(program, i, inside - taken)
        if found is not None:
            groups.append(found)
            taken.update(found)
    return groups


def _behind(program: Program, last: int, inside: set[int]) -> tuple[int, ...] | None:
    """The steps that make a ReLU of a number, the nearest there is, and end at `last`."""
    reached, todo = dict[int, None](), [(v, 0) for v in program.steps[last].reads]
    while todo:
        value, depth = todo.pop(0)
        if value in reached or value not in program.live:
            continue
        reached[value] = None
        maker = program.producer.get(value)
        if maker in inside and depth < LONGEST:
            todo += [(v, depth + 1) for v in program.steps[maker].reads]
    for base in reached:
        group = _between(program, base, last, inside)
        if group is not None and rectifier(program, group) is not None:
            return group
    return None


def _between(program: Program, base: int, last: int, inside: set[int]) -> tuple[int, ...] | None:
    """The steps from a value to the last one, which alone needs them; None where they need more."""
    found, todo = {last}, [v for v in program.steps[last].reads if v != base]
    while todo:
        value = todo.pop()
        if value not in program.live:
            continue
        maker = program.producer.get(value)
        if maker not in inside:
            return None
        if maker not in found:
            found.add(maker)
            todo += [v for v in program.steps[maker].reads if v != base]
    made = {v for i in found - {last} for v in program.steps[i].outputs}
    own = all(r in found for v in made for r in program.readers.get(v, ()))
    return tuple(sorted(found)) if own and made.isdisjoint(program.outputs) else None
