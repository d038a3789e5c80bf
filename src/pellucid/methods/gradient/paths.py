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
    calibrate: int | None = None
    """On so many samples the number of steps of all others is found."""

    def check(self) -> None:
        """Raise `MethodError` for steps, tolerance or budget out of range."""
        if self.steps is not None and self.steps < 1:
            raise MethodError(f"{self.method} needs at least 1 step, got {self.steps}.")
        if not self.tolerance > 0:
            raise MethodError(f"Expected a tolerance above 0, got {self.tolerance}.")
        if self.calibrate is not None and self.calibrate < 2:
            raise MethodError(
                f"{self.method} needs at least 2 samples to calibrate on, got {self.calibrate}."
            )
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
        everyone = np.arange(task.count)
        if self.steps is not None:
            values = _fixed(task, path, self.steps, everyone)
            nodes = change = None
        elif self.calibrate is not None and self.calibrate < task.count:
            values, nodes, change = self._calibrated(task, path, self.calibrate)
        else:
            last = self._last_level()
            values, nodes, change, _ = _refined(task, path, self.tolerance, last, everyone)
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

    def _calibrated(
        self, task: Task, path: Path, count: int
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """The first `count` samples refined; one Gauss–Legendre rule for the others."""
        first, others = np.arange(count), np.arange(count, task.count)
        last = self._last_level()
        values, nodes, change, moves = _refined(task, path, self.tolerance, last, first)
        steps = min(_enough_steps(moves, self.tolerance), _points(last))
        for value, fixed in zip(values, _fixed(task, path, steps, others), strict=True):
            value[:, others] = fixed[:, others]
        nodes[:, others] = steps
        return values, nodes, change


_FEWEST = 10
"""Gauss–Legendre steps that calibration does not go below: coarse rules may agree by luck."""
_MARGIN = 1.25


def _enough_steps(moves: list[np.ndarray], tolerance: float) -> int:
    """Gauss–Legendre steps that meet the tolerance for the samples that were refined, and ¼ more.

    What the attribution moves by from one level to the next is the error of the first of them,
    and a level of m points is as exact as a Gauss–Legendre rule of ¾ (m + 1). Between two levels
    the error's logarithm is taken for a line, as it is for smooth networks; where it falls more
    slowly at first, as for ReLU networks, the line is on the safe side.
    """
    steps = np.array([0.75 * (_points(_FIRST_LEVEL + k) + 1) for k in range(len(moves))])
    needed = float(_FEWEST)
    for row in np.stack([m.ravel() for m in moves], axis=1):
        known = row[np.isfinite(row)]
        if not len(known):
            continue
        met = np.flatnonzero(known < tolerance)
        if not len(met):
            return int(np.ceil(_MARGIN * 2 * steps[len(known) - 1]))
        at = int(met[0])
        if at == 0:
            continue
        before, after = np.log(known[at - 1]), np.log(max(known[at], 1e-12))
        share = (before - np.log(tolerance)) / (before - after)
        needed = max(needed, steps[at - 1] + share * (steps[at] - steps[at - 1]))
    return int(np.ceil(_MARGIN * needed))


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


def _fixed(task: Task, path: Path, steps: int, rows: np.ndarray) -> list[np.ndarray]:
    """`(targets, n, ...)` a leaf, by one Gauss–Legendre rule."""
    nodes, weights = gauss_legendre(steps)
    sums = GradientSums(task)
    _add(task, path, sums, rows, nodes, weights[None])
    return [path.attribution(k, s[:, 0]) for k, s in enumerate(sums.totals)]


def _refined(
    task: Task, path: Path, tolerance: float, last: int, rows: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, list[np.ndarray]]:
    """Attributions, the points used, the last change of those not done, and every change.

    Each is `(targets, n)`; changes, one array a level, are NaN where a sample was done before.

    Every gradient enters the sums of all levels that are still to come with that level's weight,
    so nothing but one sum a level is kept. A sample is followed until it is done for all targets;
    for each target the level at which it was done is the one that is returned.
    """
    levels = range(_FIRST_LEVEL, last + 1)
    targets, count = len(task.targets), task.count
    sums = GradientSums(task, sets=len(levels))
    reached = np.full((targets, count), last)
    change = np.zeros((targets, count))
    late = np.zeros((targets, count), dtype=bool)
    late[:, rows] = True
    moves = []
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
        moves.append(np.full((targets, count), np.nan))
        moves[-1][:, active] = np.where(late[:, active], moved, np.nan)
        done = late[:, active] & (moved < tolerance)
        change[:, active] = np.where(late[:, active], np.where(done, 0, moved), 0)
        reached[:, active] = np.where(done, level, reached[:, active])
        late[:, active] &= ~done
        if not late.any():
            break
    which = np.arange(targets)[:, None], reached - _FIRST_LEVEL, np.arange(count)
    values = [path.attribution(leaf, s[which]) for leaf, s in enumerate(sums.totals)]
    return values, 2 ** (reached + 1) - 1, change, moves


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
