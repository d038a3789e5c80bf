"""Averages of the gradient along a path from a reference to the input."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.base import Attribution
from pellucid.methods.gradient.quadrature import FINEST_LEVEL, gauss_legendre, gauss_patterson
from pellucid.methods.gradient.sums import GradientSums, Points, Terms
from pellucid.task import Task
from pellucid.types import Leaves

_FIRST_LEVEL = 2  # 7 points; two levels are compared, so 15 is the least that is ever returned


def _points(level: int) -> int:
    return 2 ** (level + 1) - 1


class Path(ABC):
    """A path z(t), t from 0 (the reference) to 1 (the input), for each sample of a task."""

    start: tuple[np.ndarray, ...]
    """z(0), one array a leaf."""

    @abstractmethod
    def points(self, samples: np.ndarray, positions: np.ndarray) -> Points:
        """Points z(`positions[k]`) of sample `samples[k]`."""

    def terms(self, samples: np.ndarray, positions: np.ndarray) -> Terms | None:
        """What is averaged along the path; None for the gradient itself."""
        return None

    def attribution(self, leaf: int, mean: np.ndarray) -> np.ndarray:
        """The attribution `(..., n, *shape)` that an average is of."""
        return mean


class StraightPath(Path):
    """z(t) = x' + t (x − x'). Integers stay at x."""

    def __init__(self, task: Task, start: tuple[np.ndarray, ...]) -> None:
        self.task, self.start = task, start
        self._low = tuple(map(task.asarray, start))
        self._delta = tuple(
            a.astype(np.float64) - b if real else np.zeros(a.shape)
            for a, b, real in zip(task.batch.arrays, start, task.differentiable, strict=True)
        )

    def points(self, samples: np.ndarray, positions: np.ndarray) -> Points:
        task = self.task

        def made(a: int, b: int) -> Leaves:
            rows = samples[a:b]
            return between(
                task, task.take(self._low, rows), task.take(task.x, rows), positions[a:b]
            )

        return made

    def attribution(self, leaf: int, mean: np.ndarray) -> np.ndarray:
        return self._delta[leaf] * mean


def between(task: Task, low: Leaves, high: Leaves, positions: np.ndarray) -> Leaves:
    """`low + t (high − low)`, row by row; an integer leaf is `high`."""
    moved = []
    for p, q, real in zip(low, high, task.differentiable, strict=True):
        if not real:
            moved.append(q)
            continue
        wide = positions.astype(np.float32).reshape(-1, *(1,) * (len(p.shape) - 1))
        moved.append(p + task.xp.astype(task.asarray(wide), p.dtype) * (q - p))
    return tuple(moved)


@dataclass(frozen=True)
class Accuracy:
    """How finely a path is followed: to a tolerance, or with a fixed number of steps."""

    method: str
    steps: int | None
    tolerance: float
    max_steps: int
    budget: int | None

    def check(self) -> None:
        """Raise `MethodError` for steps, tolerance or budget out of range."""
        if self.steps is not None and self.steps < 1:
            raise MethodError(f"{self.method} needs at least 1 step, got {self.steps}.")
        if not self.tolerance > 0:
            raise MethodError(f"Expected a tolerance above 0, got {self.tolerance}.")
        if self.steps is None and self._last_level() < _FIRST_LEVEL + 1:
            raise MethodError(
                f"{self.method} to a tolerance needs at least 15 points and 2 predictions,"
                f" but max_steps={self.max_steps}, budget={self.budget} allow fewer.\n"
                "  steps= with a smaller number is a fixed rule that says nothing of its error."
            )
        if self.steps is not None and self.budget is not None and self.steps + 2 > self.budget:
            raise MethodError(
                f"{self.steps} steps need {self.steps + 2} evaluations,"
                f" the budget is {self.budget}."
            )

    def _last_level(self) -> int:
        allowed = self.max_steps if self.budget is None else min(self.max_steps, self.budget - 2)
        return max((k for k in range(FINEST_LEVEL + 1) if _points(k) <= allowed), default=-1)

    def attribute(self, task: Task, path: Path) -> tuple[Attribution, ...]:
        """The path's attribution for each target, and how it was reached."""
        if self.steps is not None:
            values = _fixed(task, path, self.steps)
            nodes = change = None
        else:
            values, nodes, change = _refined(task, path, self.tolerance, self._last_level())
        scores = task.baseline_scores_each(path.start)
        return tuple(
            Attribution(
                tuple(v[i].astype(np.float32) for v in values),
                baseline=path.start,
                baseline_score=scores[i],
                extras={} if nodes is None else {"nodes": nodes[i]},
                warnings=() if change is None else _not_converged(change[i], self.tolerance),
            )
            for i in range(len(task.targets))
        )


def _add(
    task: Task,
    path: Path,
    sums: GradientSums,
    active: np.ndarray,
    nodes: np.ndarray,
    weights: np.ndarray,
) -> None:
    samples, positions = np.repeat(active, len(nodes)), np.tile(nodes, len(active))
    sums.add(
        task,
        samples,
        np.tile(weights, (1, len(active))),
        path.points(samples, positions),
        path.terms(samples, positions),
    )


def _fixed(task: Task, path: Path, steps: int) -> list[np.ndarray]:
    """`(targets, n, ...)` a leaf, by one Gauss–Legendre rule."""
    nodes, weights = gauss_legendre(steps)
    sums = GradientSums(task)
    _add(task, path, sums, np.arange(task.count), nodes, weights[None])
    return [path.attribution(k, s[:, 0]) for k, s in enumerate(sums.totals)]


def _refined(
    task: Task, path: Path, tolerance: float, last: int
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Attributions, the points used, and the last change of those not done, `(targets, n)`.

    Every gradient enters the sums of all levels that are still to come with that level's weight,
    so nothing but one sum a level is kept. A sample is followed until it is done for all targets;
    for each target the level at which it was done is the one that is returned.
    """
    levels = range(_FIRST_LEVEL, last + 1)
    targets, count = len(task.targets), task.count
    sums = GradientSums(task, sets=len(levels))
    reached = np.full((targets, count), last)
    change = np.zeros((targets, count))
    late = np.ones((targets, count), dtype=bool)
    for k, level in enumerate(levels):
        known = 0 if k == 0 else _points(level - 1)
        nodes = gauss_patterson(level)[0][known:]
        weights = np.zeros((len(levels), len(nodes)))
        for j in range(k, len(levels)):
            weights[j] = gauss_patterson(levels[j])[1][known : _points(level)]
        active = np.flatnonzero(late.any(axis=0))
        _add(task, path, sums, active, nodes, weights)
        if k == 0:
            continue
        moved = _change(path, sums, k, active)
        done = late[:, active] & (moved < tolerance)
        change[:, active] = np.where(late[:, active], np.where(done, 0, moved), 0)
        reached[:, active] = np.where(done, level, reached[:, active])
        late[:, active] &= ~done
        if not late.any():
            break
    which = np.arange(targets)[:, None], reached - _FIRST_LEVEL, np.arange(count)
    values = [path.attribution(leaf, s[which]) for leaf, s in enumerate(sums.totals)]
    return values, 2 ** (reached + 1) - 1, change


def _change(path: Path, sums: GradientSums, k: int, active: np.ndarray) -> np.ndarray:
    """‖A_k − A_{k−1}‖₁ / ‖A_k‖₁ of the attributions of each active sample, `(targets, m)`."""
    moved, size = np.zeros(()), np.zeros(())
    for leaf, s in enumerate(sums.totals):
        now, before = (path.attribution(leaf, s[:, j])[:, active] for j in (k, k - 1))
        axes = tuple(range(2, now.ndim))
        moved = moved + np.abs(now - before).sum(axis=axes)
        size = size + np.abs(now).sum(axis=axes)
    return np.divide(moved, size, out=np.zeros_like(moved), where=size > 0)


def _not_converged(change: np.ndarray, tolerance: float) -> tuple[str, ...]:
    late = np.flatnonzero(change)
    if not len(late):
        return ()
    return (
        f"not converged: the attribution of sample(s) {late[:20].tolist()} still moved by"
        f" {change.max():.1%} when the cap on steps was reached (tolerance {tolerance:.1%});"
        " raise max_steps or budget, or accept this error",
    )
