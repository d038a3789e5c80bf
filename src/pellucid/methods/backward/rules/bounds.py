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


def bounds_for(
    task: "Task", plan: Plan, low: object, high: object, rows: np.ndarray | None = None
) -> Plan:
    """The plan with the bounds of the input put into its rules of a bounded input.

    Bounds are a number, one for each channel, or an array of an input's shape. What the layer sees
    for the smallest and the largest input is found by running the model on both: on one sample, or
    on as many as there are `rows`.
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

    samples = np.arange(1) if rows is None else rows
    for bound in (low, high):
        single = tuple(_bound(a, bound, origin) for a in origin.batch.arrays)
        given = tuple(np.repeat(a, len(samples), axis=0) for a in single)
        leaves = origin.in_own_type(tuple(map(origin.asarray, given)))
        with origin.naming_samples(leaves, samples):
            origin.model.run(leaves, intercept=keep, kinds=frozenset({"linear"}))
    roles = dict(plan.roles)
    for i, role in plan.roles.items():
        if role.chain and role.chain.start in boxes:
            rule = Box(*seen[role.chain.start])
            roles[i] = replace(role, chain=replace(role.chain, rule=rule))
    return replace(plan, roles=roles)


def folds_rows(plan: Plan) -> bool:
    """Whether a layer with bounds sees one sample as several rows, such as the frames of a film.

    How the rows of several samples follow each other is then for the model to say.
    """
    rules = [r.chain.rule for r in plan.roles.values() if r.chain]
    return any(isinstance(r, Box) and r.low is not None and len(r.low) != 1 for r in rules)


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
    """One row of a bound in the shape of an input, (1, ...)."""
    if array.dtype.kind != "f":
        return array[:1]
    shape = array.shape[1:]
    place = _channels(shape, task)
    expected = (
        "Expected a bound that is a number,"
        + (f" one for each of the {shape[place]} channels," if len(shape) > 1 else "")
        + f" or of shape {shape} or {(1, *shape)} as the input"
    )
    given = _numbers(bound, expected)
    fitted = given.reshape(()) if given.size == 1 else given
    if fitted.ndim == 1 and len(shape) > 1:
        # A model may turn its input round itself: then the channels are where their number fits.
        places = [at for at in (place, -1, 0) if shape[at] == given.size]
        if places:
            fitted = given.reshape(
                [-1 if i == places[0] % len(shape) else 1 for i in range(len(shape))]
            )
    elif fitted.ndim == len(shape) + 1 and len(fitted) == 1:
        fitted = fitted[0]
    fits = fitted.ndim == len(shape) and all(
        own in (1, size) for own, size in zip(fitted.shape, shape, strict=True)
    )
    if fitted.ndim and not fits:
        raise InputError(f"{expected}, got shape {given.shape}.")
    return np.broadcast_to(fitted, (1, *shape)).copy()


def _channels(shape: tuple[int, ...], task: "Task") -> int:
    """The axis of one sample that holds its channels; the last where nothing else is known."""
    axis = task.model.adapter.channel_axis_of(len(shape) + 1)
    return axis - 1 if axis > 0 and len(shape) > 1 else -1


def _numbers(bound: object, expected: str) -> np.ndarray:
    """A bound as finite numbers."""
    try:
        given = np.asarray(bound)
        if given.dtype.kind in "cSUO":
            raise TypeError(f"values of type {given.dtype}")
        given = given.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{expected}, got a {type(bound).__name__}: {error}") from error
    if not np.isfinite(given).all():
        raise InputError(f"{expected}, all finite: got NaN or infinity.")
    return given
