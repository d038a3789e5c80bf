"""Performing a step for arrays of other shapes than it was traced with."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core

from pellucid.adapters.jax.program import Program, Step, perform


def perform_at_any_shape(step: Step, values: Sequence[Any], program: Program) -> tuple[Any, ...]:
    """As `perform`, for other shapes than the step was traced with, too.

    A known function that the step calls was traced for one shape: it is then done bit by bit.
    """
    traced = [program.avals[v].shape if isinstance(v, int) else () for v in step.inputs]
    body = _function_of(step.params)
    if body is None or traced == [jnp.shape(v) for v in values]:
        return perform(step, values)
    return tuple(_opened(body, values))


def _function_of(params: Mapping[str, Any]) -> core.ClosedJaxpr | None:
    found = (params.get(k) for k in ("jaxpr", "call_jaxpr"))
    return next((f for f in found if isinstance(f, core.ClosedJaxpr)), None)


def _opened(body: core.ClosedJaxpr, values: Sequence[Any]) -> list[Any]:
    """A closed function evaluated without the calls in it."""
    known: dict[Any, Any] = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
    known.update(zip(body.jaxpr.invars, values, strict=True))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, core.Literal) else known[v]

    for equation in body.jaxpr.eqns:
        inputs, inner = list(map(read, equation.invars)), _function_of(equation.params)
        if inner is not None:
            made = _opened(inner, inputs)
        else:
            step = Step(equation.primitive, equation.params, (), (), (), equation.ctx)
            made = perform(step, inputs)
        known.update(zip(equation.outvars, made, strict=True))
    return list(map(read, body.jaxpr.outvars))
