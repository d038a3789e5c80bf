"""Expected gradients: integrated gradients averaged over the rows of a data set."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.background import background_rows
from pellucid.methods.base import Attribution
from pellucid.methods.gradient.base import GradientMethod
from pellucid.methods.gradient.paths import between
from pellucid.methods.gradient.sums import GradientSums, float32
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Leaves

_NO_BACKGROUND = (
    "no background was given, so the input was compared with zeros alone: pass"
    " background=rows of your data"
)


@register_method("expected_gradients")
@dataclass(frozen=True)
class ExpectedGradients(GradientMethod):
    """Attribute f(x) − mean f(b) to the inputs, the mean over the rows b of a background.

    a_i = E_{b, t} [ (x_i − b_i) ∂f(b + t(x − b)) / ∂x_i ],   b uniform in `background`, t in [0, 1]

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − mean f(b) up
    to `gap`, and `baseline_score` is that mean over the whole background. `background` is an array
    or rows of a data set, in the form of x (one for each input, as x has them; `preprocess` is
    applied); without one, zeros, with a warning. `samples` m is made even: two draws in each of
    m/2 equal parts of the path, rows dealt out so that each serves equally often; the same draws
    for every sample of a batch. `budget` caps m, with x and the background counted in full. With
    `layer`, paths run between what the layer returns for b and for x. Whole-number inputs stay at
    x. `stderr` is the standard error of this design from the differences within parts; where each
    row serves several times it is an upper bound, up to some five times too wide. Cost: a forward
    and a backward for each of m points, a backward at x, a forward for each row of the background
    (for each sample, with `layer` or whole-number inputs).
    Source: Erion et al. 2021 (arXiv 1906.10670), eq. 2. Departs from the paper: stratified,
    balanced draws instead of independent ones; and where rows did not serve equally often,
    (mean of drawn b − mean of all b) · mean gradient is added, which is 0 otherwise.

    Raises `InputError` for a background that does not fit x, `MethodError` for fewer than 4
    samples, also where a budget leaves no more.

    >>> e = explain(linear, x, "expected_gradients", background=[[0.0, 0.0], [2.0, 2.0]])
    >>> e.values, e.baseline_score       # (x − mean b) · w, and f(mean b)
    (array([[4., 3.]], dtype=float32), array([3.], dtype=float32))
    """

    background: Any = None
    samples: int = 100
    budget: int | None = None
    layer: str | None = None

    opens_with_gradient = True
    claims_completeness = True
    cost = "2 F a sample: 100; 1 F a row of the background"
    source = "Erion et al. 2021"

    def __post_init__(self) -> None:
        if self.samples < 4:
            raise MethodError(f"{self.name} needs at least 4 samples, got {self.samples}.")

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"samples": self.samples + self.samples % 2}

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        rows = background_rows(task.origin, self.background)
        count = self._count(len(rows[0]))
        if task.opened is not None:
            rows = (task.opened.values(rows),)
        values, errors = _Design(task, rows, count).run()
        scores = _mean_scores(task, rows)
        return tuple(
            Attribution(
                values[i],
                stderr=errors[i],
                baseline_score=scores[i],
                parameters={"samples": count},
                warnings=(_NO_BACKGROUND,) if self.background is None else (),
            )
            for i in range(len(task.targets))
        )

    def _count(self, background: int) -> int:
        allowed = self.samples + self.samples % 2
        if self.budget is not None:
            allowed = min(allowed, (self.budget - 1 - background) // 2 * 2)
        if allowed < 4:
            raise MethodError(
                f"A budget of {self.budget} evaluations leaves fewer than 4 samples beside x and"
                f" {background} rows of background: raise it, or give fewer rows."
            )
        return allowed


class _Design:
    """Pairs of draws: two in each part of the path, each with its own row of the background."""

    def __init__(self, task: Task, rows: tuple[np.ndarray, ...], count: int) -> None:
        self.task, self.rows, self.count = task, rows, count
        self.native = task.in_own_type(tuple(map(task.asarray, rows)))
        draws = np.random.default_rng([task.seed, 4])
        decks = -(-count // len(rows[0]))
        self.deck = np.concatenate([draws.permutation(len(rows[0])) for _ in range(decks)])[:count]
        self.positions = (np.arange(count) // 2 + draws.random(count)) / (count / 2)

    def run(self) -> tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]]]:
        """Attributions and standard errors, per target and leaf."""
        task, pairs = self.task, self.count // 2
        at_x = task.gradients()
        pivots = [tuple(map(task.asarray, grads)) for grads in at_x]
        samples = np.repeat(np.arange(task.count), pairs)
        pair = np.tile(np.arange(pairs), task.count)

        def ends(a: int, b: int) -> tuple[np.ndarray, Leaves, Leaves]:
            draws = (2 * pair[a:b, None] + np.arange(2)).ravel()
            high = task.take(task.x, np.repeat(samples[a:b], 2))
            return draws, task.take(self.native, self.deck[draws]), high

        def points(a: int, b: int) -> Leaves:
            draws, low, high = ends(a, b)
            return between(task, low, high, self.positions[draws])

        def terms(target: int, grads: Leaves, a: int, b: int) -> Leaves:
            _, low, high = ends(a, b)
            about = task.take(pivots[target], samples[a:b])
            made = [self._terms(*each) for each in zip(grads, low, high, about, strict=True)]
            return tuple(term for kind in zip(*made, strict=True) for term in kind)

        sums = GradientSums(task, copies=4)
        sums.add(task, samples, np.ones((1, len(samples))), points, terms, per_item=2)
        return self._results(sums, at_x)

    def _terms(self, grad: Any, low: Any, high: Any, pivot: Any) -> tuple[Any, Any, Any, Any]:
        """Of each pair: Σ φ, Σ g, d², d · Δb, with d = Δφ + p Δb and Δ first minus second."""
        task = self.task
        low, high, grad = (float32(task, a) for a in (low, high, grad))
        first, second = _halves(task, grad * (high - low))
        one, other = _halves(task, grad)
        b, c = _halves(task, low)
        apart = first - second + pivot * (b - c)
        return first + second, one + other, apart * apart, apart * (b - c)

    def _results(
        self, sums: GradientSums, at_x: tuple[tuple[np.ndarray, ...], ...]
    ) -> tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]]]:
        task, m, leaves = self.task, self.count, len(self.rows)
        values, errors = [], []
        for target in range(len(task.targets)):
            maps, spread = [], []
            for leaf, real in enumerate(task.differentiable):
                total, slope, squares, mixed = (
                    sums.totals[kind * leaves + leaf][target, 0] for kind in range(4)
                )
                if not real:
                    maps.append(np.zeros(total.shape, dtype=np.float32))
                    spread.append(maps[-1])
                    continue
                mean = slope / m
                drawn = self.rows[leaf].astype(np.float64)[self.deck]
                shift = drawn.mean(axis=0) - self.rows[leaf].mean(axis=0, dtype=np.float64)
                maps.append((total / m + shift * mean).astype(np.float32))
                # About the mean gradient, the part of φ that is linear in b has no variance.
                more = mean - at_x[target][leaf]
                apart = ((drawn[0::2] - drawn[1::2]) ** 2).sum(axis=0)
                variance = squares + 2 * more * mixed + more**2 * apart
                spread.append((np.sqrt(np.maximum(variance, 0)) / m).astype(np.float32))
            values.append(tuple(maps))
            errors.append(tuple(spread))
        return values, errors


def _halves(task: Task, a: Any) -> tuple[Any, Any]:
    """The first and the second row of each pair."""
    shape = tuple(int(s) for s in a.shape[1:])
    paired = task.xp.reshape(a, (int(a.shape[0]) // 2, 2, *shape))
    return paired[:, 0], paired[:, 1]


def _mean_scores(task: Task, rows: tuple[np.ndarray, ...]) -> np.ndarray:
    """Mean f over the background for each target and sample, `(targets, n)`."""
    size, count = len(rows[0]), task.count
    native = task.in_own_type(tuple(map(task.asarray, rows)))
    if task.opened is None and all(task.differentiable):
        outputs = task.outputs_of(native)
        everyone = np.arange(count)
        means = [task.scores_of(outputs, np.full(size, i)).mean(axis=1) for i in everyone]
        return np.stack(means, axis=1)
    samples, numbers = np.repeat(np.arange(count), size), np.tile(np.arange(size), count)

    def evaluate(a: int, b: int) -> np.ndarray:
        low, high = task.take(native, numbers[a:b]), task.take(task.x, samples[a:b])
        leaves = between(task, low, high, np.zeros(b - a))
        return task.scores_at(leaves, samples[a:b])

    parts = [s for _, _, s in task.schedule.run(len(samples), evaluate, key="forward")]
    return np.concatenate(parts, axis=1).reshape(len(task.targets), count, size).mean(axis=2)
