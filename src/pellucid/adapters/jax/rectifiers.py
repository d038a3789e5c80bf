"""ReLUs under other names: steps that do to any number what a ReLU does."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.adapters.jax.operations import function_name
from pellucid.adapters.jax.program import Program, Step, evaluate

_BENDING = frozenset({"max", "clamp", "select_n", "mul"})
_PROBES = np.asarray([-7.5, -2.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 2.0, 6.5, 40.0])


def rectifier(program: Program, group: Sequence[int]) -> str | None:
    """What the steps make of their only live value, if it is a ReLU: "relu" or "relu6"; else None.

    Found by performing them on a few numbers; what depends on weights is none.
    """
    steps = [program.steps[i] for i in group if program.steps[i].primitive is not None]
    if not steps or steps[-1].name not in _BENDING:
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
    x = np.resize(_PROBES, aval.shape)
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
    return x.size >= _PROBES.size or bool(np.any(x < 0) and np.any(x > 0))


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


def apart(program: Program, segment: Sequence[int]) -> list[tuple[int, ...]] | None:
    """A region of steps as its ReLUs and all else one by one; None where none is among others.

    A choice by a comparison, or a product with one, is looked at together with that comparison.
    """
    inside = {i for i in segment if program.steps[i].primitive is not None}
    groups: list[tuple[int, ...]] = []
    for i in sorted(inside):
        step = program.steps[i]
        if function_name(step.name, step.params) in {"relu", "relu6"}:
            groups.append((i,))
        elif step.name in _BENDING:
            behind = [i, *_comparison(program, i, inside)]
            if rectifier(program, sorted(behind)) is not None:
                groups.append(tuple(sorted(behind)))
    if not groups or set(groups[0]) == inside:
        return None
    taken = {i for group in groups for i in group}
    return [*groups, *((i,) for i in sorted(inside - taken))]


def _comparison(program: Program, position: int, inside: set[int]) -> list[int]:
    """The steps from a comparison to this one, which alone reads them."""
    found: list[int] = []
    for value in program.steps[position].reads:
        maker = program.producer.get(value)
        chain: list[int] = []
        while maker is not None and maker in inside and program.readers.get(value) is not None:
            step = program.steps[maker]
            if len(program.readers[value]) > 1:
                break
            chain.append(maker)
            if step.name in {"gt", "ge", "lt", "le"}:
                found += chain
                break
            if step.name not in {"convert_element_type", "copy"}:
                break
            (value,) = step.reads[:1]
            maker = program.producer.get(value)
    return found
