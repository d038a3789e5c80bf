"""The one loop of every method that averages gradients: sums run as they come."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pellucid.task import Task
from pellucid.types import Array, Leaves


@dataclass
class GradientSums:
    """Weighted sums of gradients per sample, in float64.

    `first[leaf]` is Σ w g of shape `(k, n, ...)` for k sets of weights; `second[leaf]` is
    Σ w (g − p)² for the first set about a `pivot` p, kept where a standard error is wanted: about
    a gradient that is near the mean, float32 squares lose nothing that matters.
    """

    first: list[np.ndarray]
    second: list[np.ndarray] = field(default_factory=list)
    pivot: tuple[Array, ...] = ()

    @classmethod
    def zeros(cls, task: Task, sets: int = 1, *, pivot: tuple[Array, ...] = ()) -> "GradientSums":
        shapes = [(sets, *a.shape) for a in task.batch.arrays]
        return cls(
            [np.zeros(s) for s in shapes],
            [np.zeros(s[1:]) for s in shapes] if pivot else [],
            pivot,
        )

    def add(
        self,
        task: Task,
        samples: np.ndarray,
        weights: np.ndarray,
        points: Callable[[int, int], Leaves],
    ) -> None:
        """Add the gradients at m points: `points(a, b)` makes points a to b.

        `samples (m,)` says whose gradient each is, `weights (k, m)` with what weight it enters
        each set. A micro-batch is reduced on the model's device before it is brought over.
        """
        squares = bool(self.second)

        def evaluate(
            start: int, stop: int
        ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
            rows = samples[start:stop]
            grads = task.gradient(points(start, stop), rows)[1]
            present, position = np.unique(rows, return_inverse=True)
            matrix = np.zeros((len(weights), len(present), len(rows)), dtype=np.float32)
            matrix[:, position, np.arange(len(rows))] = weights[:, start:stop]
            reducer = task.asarray(matrix.reshape(-1, len(rows)))
            first = [_reduce(task, reducer, g) for g in grads]
            second = []
            if squares:
                reducer = task.asarray(matrix[0])
                about = zip(grads, task.take(self.pivot, rows), strict=True)
                centred = [_float32(task)(g) - p for g, p in about]
                second = [_reduce(task, reducer, c * c) for c in centred]
            return present, first, second

        for _, _, (present, first, second) in task.schedule.run(
            len(samples), evaluate, key="gradient"
        ):
            for total, part in zip(self.first, first, strict=True):
                total[:, present] += part.reshape(len(weights), len(present), *total.shape[2:])
            for total, part in zip(self.second, second, strict=False):
                total[present] += part.reshape(len(present), *total.shape[1:])


def _float32(task: Task) -> Callable[[Array], Array]:
    return lambda a: task.xp.astype(a, task.xp.float32)


def _reduce(task: Task, reducer: Array, grad: Array) -> np.ndarray:
    flat = task.xp.reshape(_float32(task)(grad), (int(grad.shape[0]), -1))
    return task.to_numpy(task.xp.matmul(reducer, flat))


def on_path(
    task: Task, start: Leaves, end: Leaves, samples: np.ndarray, positions: np.ndarray
) -> Callable[[int, int], Leaves]:
    """Points `start + t (end − start)`, sample `samples[k]` at t = `positions[k]`."""

    def points(a: int, b: int) -> Leaves:
        rows, t = samples[a:b], positions[a:b]
        low, high = task.take(start, rows), task.take(end, rows)
        moved = []
        for p, q, real in zip(low, high, task.differentiable, strict=True):
            if not real:
                moved.append(q)
                continue
            wide = task.asarray(t.astype(np.float32).reshape(-1, *(1,) * (len(p.shape) - 1)))
            moved.append(p + task.xp.astype(wide, p.dtype) * (q - p))
        return tuple(moved)

    return points
