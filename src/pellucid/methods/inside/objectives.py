"""What an input is optimised for: a score, or what a layer returns along a direction."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pellucid.adapters.protocol import LAYERS_ONLY, Operation
from pellucid.errors import InputError, LayerError
from pellucid.methods.inside.layer_values import channel_axis
from pellucid.running.gradients import value_and_gradient
from pellucid.running.outputs import single_output
from pellucid.targets import picked
from pellucid.task import Task
from pellucid.types import Array, Leaves, Outputs, shape_of

Run = Callable[..., Outputs]
"""Runs the model, as `Adapter.run` does."""


class Objective(ABC):
    """k numbers to be made large, one an image."""

    names: tuple[str, ...]

    @abstractmethod
    def gradient(self, leaves: Leaves, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of rows that belong to the objectives `rows`: values `(m,)`, a gradient for each leaf."""

    @abstractmethod
    def each(self, leaves: Leaves) -> np.ndarray:
        """All k objectives of every input, `(m, k)`; no gradient."""


class Score(Objective):
    """The explained score of the task's target, whose k "samples" are the objectives."""

    def __init__(self, task: Task) -> None:
        self.task, self.names = task, task.target.names

    def gradient(self, leaves: Leaves, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        task, target = self.task, self.task.target
        if target.function is not None:
            value, gradients = task.gradient(leaves, rows)
        else:
            picks = tuple(map(task.asarray, target.picks(rows)))
            form, xp = target.form, task.xp

            def score(run: Run, given: Leaves, picks: tuple[Array, ...]) -> Array:
                return picked(single_output(run(given)), xp, form, picks)

            value, gradients = value_and_gradient(
                task, score, leaves, picks, ("score and gradient", form), rows
            )
        return _in_float64(task, value, gradients)

    def each(self, leaves: Leaves) -> np.ndarray:
        outputs, count = self.task.model.run(leaves), int(leaves[0].shape[0])
        columns = [
            self.task.scores_of(outputs, np.full(count, k))[0] for k in range(len(self.names))
        ]
        return np.stack(columns, axis=1)


class LayerDirections(Objective):
    """d_k · (mean over positions of h(x)) + the neuron n_k of h(x), with h what a layer returns.

    `directions` are `(k, c)`; `neurons` `(k,)` are places in a sample of h laid flat, −1 for none.
    """

    def __init__(
        self,
        task: Task,
        layer: str,
        axis: int,
        directions: np.ndarray,
        neurons: np.ndarray,
        names: Sequence[str],
    ) -> None:
        self.task, self.layer, self.names = task, layer, tuple(names)
        self._axis, self._neurons = axis, neurons.astype(np.int64)
        self._directions = directions.astype(np.float32)

    def gradient(self, leaves: Leaves, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        task, xp, layer = self.task, self.task.xp, self.layer
        chosen, axis = self._neurons[rows], self._axis
        neurons = bool((chosen >= 0).any())

        def found(run: Run, given: Leaves, arguments: tuple[Array, ...]) -> Array:
            directions, places, single = arguments
            value = xp.astype(layer_value(run, layer, given), xp.float32)
            positions = _positions(len(shape_of(value)), axis)
            means = xp.mean(value, axis=positions) if positions else value
            along = xp.sum(means * directions, axis=1)
            if neurons:
                flat = xp.reshape(value, (places.shape[0], -1))
                along = along + xp.take_along_axis(flat, places, axis=1)[:, 0] * single
            return along

        arguments = (
            task.asarray(self._directions[rows]),
            task.asarray(np.maximum(chosen, 0)[:, None]),
            task.asarray((chosen >= 0).astype(np.float32)),
        )
        form = ("layer and gradient", layer, axis, neurons)
        return _in_float64(task, *value_and_gradient(task, found, leaves, arguments, form, rows))

    def each(self, leaves: Leaves) -> np.ndarray:
        value = _float64(self.task, layer_value(self.task.model.run, self.layer, leaves))
        means = value.mean(axis=_positions(value.ndim, self._axis))
        flat = value.reshape(len(value), -1)[:, np.maximum(self._neurons, 0)]
        return means @ self._directions.T.astype(np.float64) + flat * (self._neurons >= 0)


def _positions(axes: int, channels: int) -> tuple[int, ...]:
    return tuple(i for i in range(1, axes) if i != channels)


def layer_value(run: Run, layer: str, leaves: Leaves) -> Array:
    """What a layer returns; `LayerError` where a run does not reach it."""
    held: list[Array] = []

    def keep(op: Operation) -> Array:
        held.append(op())
        return held[-1]

    run(leaves, intercept=keep, layers=(layer,), kinds=LAYERS_ONLY)
    if not held:
        raise LayerError(f"The layer {layer!r} is not called in a run of these inputs.")
    return held[0]


def at_units(task: Task, layer: str, units: Any) -> LayerDirections:
    """Channels of a layer by number (their mean over positions), or single neurons by a tuple.

    Raises `InputError` for numbers that the layer does not have.
    """
    shape = _shape(task, layer)
    axis = channel_axis(task, layer, shape) - 1
    listed = units if isinstance(units, list | range | np.ndarray) else [units]
    directions = np.zeros((len(listed), shape[axis + 1]), dtype=np.float32)
    neurons = np.full(len(listed), -1)
    for row, unit in enumerate(listed):
        place = tuple(unit) if isinstance(unit, tuple) else (unit,)
        _check_place(layer, shape, axis, place)
        if len(place) == 1:
            directions[row, place[0]] = 1
        else:
            own = (*place[1 : axis + 1], place[0], *place[axis + 1 :])
            neurons[row] = np.ravel_multi_index(own, shape[1:])
    names = [f"{layer} {unit}" for unit in listed]
    return LayerDirections(task, layer, axis + 1, directions, neurons, names)


def along(task: Task, layer: str, directions: Any) -> LayerDirections:
    """Directions in the space of a layer's channels, `(c,)` or `(k, c)`; mean over positions."""
    shape = _shape(task, layer)
    axis = channel_axis(task, layer, shape) - 1
    given = np.atleast_2d(np.asarray(directions, dtype=np.float64))
    channels = shape[axis + 1]
    if given.ndim != 2 or given.shape[1] != channels or not np.isfinite(given).all():
        raise InputError(
            f"Expected direction to hold {channels} finite numbers, one for each channel of"
            f" {layer} {shape[1:]}, got shape {np.shape(directions)}."
        )
    if not np.abs(given).any(axis=1).all():
        raise InputError("A direction of zeros leads nowhere.")
    names = [f"{layer} direction {k}" if len(given) > 1 else f"{layer} direction"
             for k in range(len(given))]  # fmt: skip
    return LayerDirections(task, layer, axis + 1, given, np.full(len(given), -1), names)


def _shape(task: Task, layer: str) -> tuple[int, ...]:
    shape = shape_of(layer_value(task.model.run, layer, tuple(a[:1] for a in task.x)))
    if len(shape) < 2:
        raise LayerError(f"{layer} returns shape {shape}: there are no units to choose among.")
    return shape


def _check_place(layer: str, shape: tuple[int, ...], axis: int, place: tuple[Any, ...]) -> None:
    own = [shape[axis + 1], *(s for i, s in enumerate(shape[1:]) if i != axis)]
    whole = all(isinstance(p, int | np.integer) and not isinstance(p, bool) for p in place)
    fits = whole and len(place) in {1, len(own)}
    if not fits or not all(0 <= p < s for p, s in zip(place, own, strict=False)):
        where = f", or a tuple (channel, position) within {tuple(own)}" if len(own) > 1 else ""
        raise InputError(
            f"Expected unit to be a number from 0 to {own[0] - 1} of {layer}{where}, got"
            f" {place if len(place) > 1 else next(iter(place))!r}."
        )


def _in_float64(task: Task, value: Array, gradients: Leaves) -> tuple[np.ndarray, list[np.ndarray]]:
    return _float64(task, value), [_float64(task, g) for g in gradients]


def _float64(task: Task, value: Array) -> np.ndarray:
    return np.asarray(task.to_numpy(value)).astype(np.float64)
