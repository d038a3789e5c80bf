"""Bounds of the input, for the rules that ask for them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pellucid.adapters.protocol import Operation
from pellucid.errors import InputError
from pellucid.methods.backward.rules.plan import Plan
from pellucid.methods.backward.rules.signed import Box
from pellucid.types import Array

if TYPE_CHECKING:
    from pellucid.task import Task


def bounds_for(task: "Task", plan: Plan, low: object, high: object) -> Plan:
    """The plan with the bounds of the input put into its rules of a bounded input.

    Bounds are a number, one for each channel, or an array of an input's shape. What the layer sees
    for the smallest and the largest input is found by running the model on both.
    """
    boxes = {
        r.chain.start for r in plan.roles.values() if r.chain and isinstance(r.chain.rule, Box)
    }
    if not boxes:
        return plan
    if low is None or high is None:
        raise InputError(
            "The rule box needs the smallest and the largest value that inputs have: pass low= and"
            " high=, such as low=0.0, high=1.0."
        )
    origin = task.origin
    if not any(array.dtype.kind == "f" for array in origin.batch.arrays):
        raise InputError(
            "The rule box needs inputs of real numbers, which have bounds; these are whole numbers,"
            " such as those of words.\n  The rules flat, w_square and epsilon need none."
        )
    for array in origin.batch.arrays:
        if array.dtype.kind == "f" and np.any(
            _bound(array, low, origin) > _bound(array, high, origin)
        ):
            raise InputError(f"Expected low to be at most high, got low={low!r}, high={high!r}.")
    seen: dict[int, list[Array]] = {start: [] for start in boxes}

    def keep(op: Operation) -> Array:
        if op.index in boxes:
            seen[op.index].append(
                origin.model.adapter.stop_gradient(op.inputs[op.live.index(True)])
            )
        return op()

    for bound in (low, high):
        rows = tuple(_bound(a, bound, origin) for a in origin.batch.arrays)
        leaves = origin.in_own_type(tuple(map(origin.asarray, rows)))
        with origin.naming_samples(leaves, np.arange(1)):
            origin.model.run(leaves, intercept=keep, kinds=frozenset({"linear"}))
    roles = dict(plan.roles)
    for i, role in plan.roles.items():
        if role.chain and role.chain.start in boxes:
            rule = Box(*seen[role.chain.start])
            roles[i] = replace(role, chain=replace(role.chain, rule=rule))
    return replace(plan, roles=roles)


def outside_bounds(task: "Task", low: object, high: object) -> tuple[str, ...]:
    """A warning where inputs leave the bounds that the rule box was given for them."""
    origin, found = task.origin, []
    for name, array in zip(origin.batch.names, origin.batch.arrays, strict=True):
        if array.dtype.kind != "f":
            continue
        least, most = (_bound(array, bound, origin) for bound in (low, high))
        margin = 1e-4 * (most - least)  # rounding of a preprocessing
        if np.any(array < least - margin) or np.any(array > most + margin):
            found.append(
                f"{name} has values from {array.min():.4g} to {array.max():.4g}, outside of low and"
                " high: the rule box holds for inputs between them only; they bound what the model"
                " itself is given, after preprocessing"
            )
    return tuple(found)


def _bound(array: np.ndarray, bound: object, task: "Task") -> np.ndarray:
    """One row of a bound in the shape of an input."""
    shape = (1, *array.shape[1:])
    if array.dtype.kind != "f":
        return array[:1]
    given = np.asarray(bound, dtype=np.float32)
    if given.ndim == 1 and len(shape) > 2:
        axis = task.model.adapter.channel_axis_of(len(shape))
        given = given.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    try:
        return np.broadcast_to(given, shape).copy()
    except ValueError as error:
        raise InputError(
            f"Expected a bound that is a number, one for each channel, or of shape {shape[1:]}, got"
            f" shape {given.shape}."
        ) from error
