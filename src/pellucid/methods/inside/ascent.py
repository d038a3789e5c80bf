"""Activation maximisation: gradient ascent on what an input is made of."""

from dataclasses import dataclass

import numpy as np

from pellucid.errors import ModelError
from pellucid.methods.inside.objectives import Objective
from pellucid.methods.inside.parametrisation import Parametrisation
from pellucid.methods.inside.penalties import Penalties
from pellucid.methods.inside.transformations import Transformations
from pellucid.task import Task

START = 61
"""What parameters start from is drawn of `default_rng([seed, 61])`."""


@dataclass(frozen=True)
class Ascent:
    """How the inputs are climbed; see `climb`."""

    parametrisation: Parametrisation
    transformations: Transformations
    penalties: Penalties
    middle: np.ndarray
    channels_first: bool
    steps: int
    rate: float
    part: int = 0
    """Which of the model's inputs is made; the others are those of the task's only sample."""


@dataclass(frozen=True)
class Climbed:
    """`images (k, ...)` in the model's layout, `course (k, steps)` the objective on the way.

    The course is of the moved images that the model saw. `reached (k,)` is the objective of the
    images as they are; `opacity` the mean size of the gradient at each position, `(k, *space)`.
    """

    images: np.ndarray
    course: np.ndarray
    reached: np.ndarray
    opacity: np.ndarray


def climb(task: Task, objective: Objective, ascent: Ascent) -> Climbed:
    """Inputs that make each of k objectives large.

    p ← p + Adam(∂/∂p [objective(move_t(x(p))) − penalties(x(p))])

    In NumPy and float64 but for the objective and its gradient, which are the model's: so all
    frameworks make the same steps. The images go through the model together, in micro-batches.
    """
    own, count = ascent.parametrisation, len(objective.names)
    parameters = own.start(np.random.default_rng([task.seed, START]))
    adam = Adam(parameters, ascent.rate)
    course = np.empty((count, ascent.steps))
    seen: np.ndarray | None = None
    for step in range(ascent.steps):
        images = own.images(parameters)
        moved = ascent.transformations.at(step, task.seed, images.shape[1:-1])
        shown = images if moved is None else moved.apply(images, ascent.middle)
        course[:, step], gradient = _gradients(task, objective, ascent, shown)
        if moved is not None:
            gradient = moved.pullback(gradient)
        size = np.abs(gradient).mean(axis=-1)
        seen = size if seen is None else seen + size
        gradient = gradient - ascent.penalties.of(images, ascent.middle)[1]
        parameters = adam.up(parameters, own.pullback(parameters, gradient))
    images = own.images(parameters)
    return Climbed(
        images=in_layout(images, ascent.channels_first).astype(np.float32),
        course=course,
        reached=values_of(
            task, objective, ascent.part, in_layout(images, ascent.channels_first), own=True
        ),
        opacity=(np.zeros(images.shape[:-1]) if seen is None else seen) / max(ascent.steps, 1),
    )


class Adam:
    """Kingma, Ba 2015 (arXiv 1412.6980), algorithm 1, upwards.

    Departs from the paper: ε is 1e-4 of the largest gradient of an image so far. Rounding, which
    differs from framework to framework, is not made a step, and a score may be in any unit.
    """

    def __init__(self, like: np.ndarray, rate: float) -> None:
        self.rate, self._time = rate, 0
        self._mean, self._square = np.zeros_like(like), np.zeros_like(like)
        self._largest = np.zeros((len(like), *(1,) * (like.ndim - 1)))

    def up(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        self._time += 1
        within = tuple(range(1, gradient.ndim))
        largest = np.abs(gradient).max(axis=within, keepdims=True)
        self._largest = np.maximum(self._largest, largest)
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.999 * self._square + 0.001 * gradient**2
        mean = self._mean / (1 - 0.9**self._time)
        square = self._square / (1 - 0.999**self._time)
        return parameters + self.rate * mean / (np.sqrt(square) + 1e-4 * self._largest + 1e-300)


def in_layout(images: np.ndarray, channels_first: bool) -> np.ndarray:
    """Channels-last images as the model takes them."""
    return np.moveaxis(images, -1, 1) if channels_first else images


def channels_last(images: np.ndarray, channels_first: bool) -> np.ndarray:
    """The other way round."""
    return np.moveaxis(images, 1, -1) if channels_first else images


def _native(task: Task, part: int, images: np.ndarray) -> tuple:
    """Rows in which one input is these images, and the others are the task's only sample's."""
    rows = len(images)
    return task.in_own_type(
        tuple(
            task.asarray(images.astype(np.float32) if i == part else np.repeat(a[:1], rows, axis=0))
            for i, a in enumerate(task.batch.arrays)
        )
    )


def _gradients(
    task: Task, objective: Objective, ascent: Ascent, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shown = in_layout(images, ascent.channels_first)

    def evaluate(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(start, stop)
        values, gradients = objective.gradient(_native(task, ascent.part, shown[start:stop]), rows)
        return values, gradients[ascent.part]

    parts = [found for _, _, found in task.schedule.run(len(shown), evaluate, key="gradient")]
    values = np.concatenate([v for v, _ in parts])
    gradients = np.concatenate([g for _, g in parts])
    if not np.isfinite(values).all() or not np.isfinite(gradients).all():
        raise ModelError(
            "The model returned NaN or infinity for an optimised input, or has no finite gradient"
            " there.\n  A narrower value_range or a smaller rate may keep it where it can compute."
        )
    return values, channels_last(gradients, ascent.channels_first)


def values_of(
    task: Task, objective: Objective, part: int, images: np.ndarray, *, own: bool = False
) -> np.ndarray:
    """The objectives of an input in the model's layout, `(n, k)`; `(k,)` each its `own`."""

    def evaluate(start: int, stop: int) -> np.ndarray:
        return objective.each(_native(task, part, images[start:stop]))

    parts = [v for _, _, v in task.schedule.run(len(images), evaluate, key="forward")]
    found = np.concatenate(parts)
    return np.diagonal(found).copy() if own else found
