"""The one loop of every method that averages gradients: sums run as they come."""

from collections.abc import Callable

import numpy as np

from pellucid.task import Task
from pellucid.types import Array, Leaves

MANY = 64
"""Points from which on a compiled function is worth the time it takes to make it."""

Points = Callable[[int, int], Leaves]
"""`points(a, b)` makes points a to b, native."""

Terms = Callable[[int, Leaves, int, int], Leaves]
"""`terms(target, gradients, a, b)`: what is summed for items a to b, one row an item."""


class GradientSums:
    """Weighted sums of gradients, or of terms made of them, per target and sample, in float64.

    `totals[k]` is Σ w term_k of shape `(targets, sets, n, ...)` for some sets of weights;
    there is one term for each leaf, or `copies` for each.
    """

    def __init__(self, task: Task, *, sets: int = 1, copies: int = 1) -> None:
        self.totals = [
            np.zeros((len(task.targets), sets, *a.shape))
            for _ in range(copies)
            for a in task.batch.arrays
        ]

    def add(
        self,
        task: Task,
        samples: np.ndarray,
        weights: np.ndarray,
        points: Points,
        terms: Terms | None = None,
        *,
        per_item: int = 1,
        from_inputs: bool = False,
    ) -> None:
        """Add m items, whose gradients are taken at `per_item` points each.

        `samples (m,)` says whose each item is, `weights (sets, m)` with what weight it enters
        each set. The points are leaves of the task, or inputs of its model (`from_inputs`). A
        micro-batch is reduced on the model's device before it is brought over.
        """
        many = len(samples) * per_item >= MANY
        gradients = task.gradients_from_inputs if from_inputs else task.gradients_at

        def evaluate(start: int, stop: int) -> tuple[np.ndarray, list[list[np.ndarray]]]:
            items = samples[start:stop]
            present, matrix = _reducer(items, weights[:, start:stop])
            reducer = task.asarray(matrix)
            rows = items if per_item == 1 else np.repeat(items, per_item)
            found = []
            for target, grads in enumerate(gradients(points(start, stop), rows, many=many)):
                made = grads if terms is None else terms(target, grads, start, stop)
                found.append([_reduce(task, reducer, term) for term in made])
            return present, found

        key = "gradient" if per_item == 1 else f"gradient x {per_item}"
        for _, _, (present, found) in task.schedule.run(
            len(samples), evaluate, key=key, layouts=not from_inputs
        ):
            for target, parts in enumerate(found):
                for total, part in zip(self.totals, parts, strict=True):
                    shape = len(weights), len(present), *total.shape[3:]
                    total[target][:, present] += part.reshape(shape)


def float32(task: Task, a: Array) -> Array:
    """`a` in float32, native."""
    return task.xp.astype(a, task.xp.float32)


def _reduce(task: Task, reducer: Array, term: Array) -> np.ndarray:
    flat = task.xp.reshape(float32(task, term), (int(term.shape[0]), -1))
    if len(reducer.shape) == 3:
        return task.to_numpy(task.xp.matmul(reducer, flat[None, ...]))
    return task.to_numpy(reducer[:, :, None] * flat[None, ...])


def _reducer(items: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The p samples that m items belong to, and what sums their terms: `(sets, p, m)`.

    Where each item is another sample's there is nothing to sum: the samples are then in the
    items' order, and the weights `(sets, m)` do.
    """
    present, position = np.unique(items, return_inverse=True)
    if len(present) == len(items):
        return items, weights.astype(np.float32)
    matrix = np.zeros((len(weights), len(present), len(items)), dtype=np.float32)
    matrix[:, position, np.arange(len(items))] = weights
    return present, matrix
