"""RISE: what the score is on average when a place is seen, over random masks."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pellucid.arrays import resize
from pellucid.errors import MethodError
from pellucid.methods.base import Attribution
from pellucid.methods.perturbation.precision import PreciseMethod, doubled
from pellucid.methods.perturbation.removal import Parts, Removal, Units, copies_allowed
from pellucid.methods.perturbation.smooth_grid import SmoothGrid, smooth_grid
from pellucid.methods.perturbation.stages import counted, in_stages
from pellucid.methods.perturbation.surrogate import WeightedRidge
from pellucid.methods.registry import register_method
from pellucid.task import Task

_ESTIMATORS = ("regression", "classic")
_USUAL = 1000
_LEAST_PAIRS = 32
"""Pairs of masks before a standard error is believed."""
_CHUNK = 64
"""So many full-size masks are in memory at once."""


@register_method("rise")
@dataclass(frozen=True)
class Rise(PreciseMethod):
    """What seeing a place adds to the score, over random smooth masks.

    E_m[f(x ⊙ m) m] / E[m] − E_m[f(x ⊙ m) (1 − m)] / E[1 − m] = 4 Cov(f(x ⊙ m), m), by
    c = argmin over a, c of Σ_j (f(x ⊙ m_j) − a − z_j · c)² + ridge · tr Cov(z) · |c|²

    m are coarse grids of fair coins drawn smoothly over the input, moved by half a cell or not,
    each with its complement: the mean score where a place is seen less that where it is hidden.
    z_j are all that there is of a mask, its values half a cell apart, and the covariance is taken
    of the line, 4 Cov(z) c, so that a score that adds up over the positions is answered exactly
    (with `ridge=0`). `grid` (7) cells lie along the longer side; of tables the cells are the
    columns, and the map is c. What a mask hides is replaced by `baseline`. The `ridge` (0.1) is
    worth that many masks for each of the z: it shrinks what differs much from place to place.
    Whole numbers and missing values are shown where a mask is above ½, and hidden elsewhere.
    `estimator="classic"` is the paper's: the mean score of the masks that show a place,
    Σ_j f(x ⊙ m_j) m_j / Σ_j m_j, over grids one cell larger that are cut out at a random shift,
    cells shown with `probability` (0.5). It holds the score itself, so only its differences mean
    something, half of those above, and wants several times the masks for as sure a picture.

    With `tolerance` (of the largest standard error, in units of the map's largest value; of
    "classic" its distance from the map's mean) masks double until a sample is there, `budget` at
    most: `extras["copies"]` says how many it took, `extras["stopped"]` why no more ("settled" or
    "budget"), `warnings` which are not there. What the ridge shrinks is no part of that error.

    Returns one map a sample without channels, in units of the explained score, signed, with the
    standard error from drawing masks. Cost: 1000 forwards a sample and f(x), or `budget`; of
    "classic" 4000 are usual.
    Source: Petsiuk, Das, Saenko 2018 (arXiv 1806.07421), eq. 6. Departs from the paper: regression
    on complementary masks by default; "classic" divides by Σ m_j, not by its expectation.

    Raises `MethodError` for `ridge=0` with less than 2 masks a cell, an unknown estimator, or a
    tolerance that is not above 0.

    >>> explain(linear, x, "rise", ridge=0).values
    array([[6., 4.]], dtype=float32)
    """

    grid: int = 7
    baseline: Any = "zeros"
    budget: int | None = None
    ridge: float = 0.1
    estimator: str = "regression"
    probability: float = 0.5
    tolerance: float | None = None

    family = "perturbation"
    shares_forward = True
    cost = "1000 F"
    source = "Petsiuk et al. 2018"
    refusals = {  # noqa: RUF012 - declared a ClassVar in Method
        "top": "its map is smooth, so places next to each other have no order that could settle;"
        " tolerance= stops at an error"
    }

    @property
    def _copies(self) -> int:
        return copies_allowed(self.budget, _USUAL)

    def expected(self, task: Task) -> int | None:
        return task.count * (1 + self._copies)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        self._check()
        batch = task.batch
        parts = tuple(
            smooth_grid(a.shape, dims, self.grid)
            for a, dims in zip(batch.arrays, batch.dims, strict=True)
        )
        references = tuple(b[:, None] for b in task.baselines(self.baseline))
        removal = Removal(task, parts, references, np.arange(task.count))
        classic = self.estimator == "classic"
        if not classic and not self.ridge and self._copies < 2 * removal.count + 2:
            cells = "cells" if all(isinstance(p, Units) for p in parts) else "half cells"
            raise MethodError(
                f"rise without a ridge needs a budget of {2 * removal.count + 3} for"
                f" {removal.count} {cells}, got {self.budget}."
            )
        maps = self._maps(removal)

        try:
            (self._classic if classic else self._regression)(removal, maps)
        except BaseException:
            rows = np.array(removal.progress.finished, dtype=np.intp)
            task.kept = rows, self._attributions(removal, maps)[0]
            raise
        return self._attributions(removal, maps)

    def _attributions(self, removal: Removal, maps: list[np.ndarray]) -> tuple[Attribution, ...]:
        task = removal.task
        dims = tuple(tuple(d for d in dims if d != "channel") for dims in task.batch.dims)
        said, warnings = removal.progress.told()
        return tuple(
            Attribution(
                tuple(m[0, t].astype(np.float32) for m in maps),
                stderr=tuple(m[1, t].astype(np.float32) for m in maps),
                dims=dims,
                parameters={"budget": self._copies + 1},
                extras=said,
                warnings=warnings,
            )
            for t in range(len(task.targets))
        )

    def _check(self) -> None:
        if self.estimator not in _ESTIMATORS:
            raise MethodError(
                f"Expected rise's estimator to be one of {_ESTIMATORS}, got {self.estimator!r}."
            )
        if self.grid < 1 or self._copies < 4 or not 0 <= self.ridge < np.inf:
            raise MethodError(
                "Expected rise's grid of 1 or more, budget of 5 or more and ridge of 0 or more, got"
                f" {self.grid}, {self.budget} and {self.ridge}."
            )
        if not 0 < self.probability < 1:
            raise MethodError(f"Expected a probability within 0 and 1, got {self.probability}.")
        if self.estimator == "regression" and self.probability != 0.5:
            raise MethodError(
                "A probability other than 0.5 is for estimator='classic': the regression's masks"
                " come with their complements."
            )

    def _maps(self, removal: Removal) -> list[np.ndarray]:
        """Room for values and errors of each input, `(2, targets, n, *positions)`."""
        one, zero = np.zeros((1, 1)), np.zeros(1, dtype=np.intp)
        shapes = [
            part.paint(np.repeat(one, count, axis=1), zero).shape[1:]
            for part, count in zip(removal.parts, removal.counts, strict=True)
        ]
        leading = (2, len(removal.task.targets), len(removal.samples))
        return [np.zeros((*leading, *shape)) for shape in shapes]

    def _regression(self, removal: Removal, maps: list[np.ndarray]) -> None:
        half = _drawn(removal.parts, removal.counts, self._copies // 2, removal.task.generator(9))
        kept = np.stack([half, 1 - half], axis=1).reshape(-1, removal.count)
        spreads = [_spread(p, n) for p, n in zip(removal.parts, removal.counts, strict=True)]
        worth = sum(np.trace(s) if s.ndim == 2 else s.sum() for s in spreads) / 4
        penalty = self.ridge * worth
        borders = np.cumsum((0, *removal.counts))
        pairs = doubled(min(max(removal.count, _LEAST_PAIRS), len(half)), len(half))
        stages = counted(pairs, width=2)

        @cache
        def line(stage: int) -> WeightedRidge:
            own = kept[stages[stage]]
            return WeightedRidge(own, np.ones(len(own)), penalty=penalty, cluster=2)

        def estimate(place: int, scores: np.ndarray, stage: int) -> tuple[np.ndarray, np.ndarray]:
            fit = line(stage).fit(scores)
            for k, part in enumerate(removal.parts):
                own = slice(borders[k], borders[k + 1])
                values = _through(spreads[k], fit.coefficients[:, own])
                maps[k][0, :, place] = part.paint(values, np.full(len(values), place))
                for t, covariance in enumerate(fit.covariance[:, own, own]):
                    turned = _through(spreads[k], _through(spreads[k], covariance).T)
                    maps[k][1, t, place] = _errors(part, turned)
            return _flat(maps, place)

        in_stages(removal, removal.masks_of(kept), stages, self.precision, estimate)

    def _classic(self, removal: Removal, maps: list[np.ndarray]) -> None:
        shifted = [
            _Shifted(part, count, self.probability, self._copies, removal.task.generator(10 + k))
            for k, (part, count) in enumerate(zip(removal.parts, removal.counts, strict=True))
        ]

        def estimate(place: int, scores: np.ndarray, stage: int) -> tuple[np.ndarray, np.ndarray]:
            for own, grid in zip(maps, shifted, strict=True):
                own[:, :, place] = _weighted_means(grid, scores)
            values, errors = _flat(maps, place)
            return values - values.mean(axis=1, keepdims=True), errors  # the score itself is in all

        def masks(samples: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
            return tuple(g.masks(numbers) for g in shifted)

        stages = counted(doubled(min(2 * _LEAST_PAIRS, self._copies), self._copies))
        in_stages(removal, masks, stages, self.precision, estimate)


def _flat(maps: list[np.ndarray], place: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors of a sample over all inputs' positions, `(targets, positions)` each."""
    both = [m[:, :, place].reshape(*m.shape[:2], -1) for m in maps]
    values, errors = np.concatenate(both, axis=2)
    return values, errors


def _drawn(
    parts: tuple[Parts, ...], counts: tuple[int, ...], rows: int, rng: np.random.Generator
) -> np.ndarray:
    """What random masks show of all parts, `(rows, parts)`: fair coins, or knots between them."""
    needed = [
        p.coins if isinstance(p, SmoothGrid) else n for p, n in zip(parts, counts, strict=True)
    ]
    coins = np.split(rng.random((rows, sum(needed))) < 0.5, np.cumsum(needed)[:-1], axis=1)
    found = []
    for part, own in zip(parts, coins, strict=True):
        if isinstance(part, SmoothGrid):
            own = part.drawn(own, rng.integers(0, 2, (rows, len(part.cells))))
        found.append(own.astype(np.float64))
    return np.concatenate(found, axis=1)


def _spread(part: Parts, count: int) -> np.ndarray:
    """Four times the covariance of what random masks show of the parts; its diagonal, if that."""
    return part.covariance if isinstance(part, SmoothGrid) else np.ones(count)


def _through(spread: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What coefficients `(m, parts)` make each part's shown and hidden means differ by."""
    return values @ spread if spread.ndim == 2 else values * spread


def _errors(part: Parts, covariance: np.ndarray) -> np.ndarray:
    if isinstance(part, SmoothGrid):
        return part.paint_errors(covariance)
    variance = np.maximum(np.diag(covariance), 0)
    return np.sqrt(part.paint(variance[None], np.zeros(1, dtype=np.intp))[0])


class _Shifted:
    """The paper's masks of one input: coarse grids a cell too large, cut out at random shifts."""

    def __init__(
        self, part: Parts, count: int, probability: float, budget: int, rng: np.random.Generator
    ) -> None:
        self._part = part
        self._smooth = isinstance(part, SmoothGrid)
        if not isinstance(part, SmoothGrid):
            self._grids = rng.random((budget, count)) < probability
            return
        cells = tuple(c + 1 for c in part.cells)
        steps = [-(-s // c) for s, c in zip(part.shape, part.cells, strict=True)]
        self._grids = (rng.random((budget, *cells)) < probability).astype(np.float32)
        self._shifts = np.stack([rng.integers(0, step, budget) for step in steps], axis=1)
        self._large = tuple(s * c for s, c in zip(steps, cells, strict=True))

    def masks(self, numbers: np.ndarray) -> np.ndarray:
        if not isinstance(self._part, SmoothGrid):
            return self._part.masks(self._grids[numbers], np.zeros(len(numbers), dtype=np.intp))
        axes = tuple(range(1, self._grids.ndim))
        wide = resize(self._grids[numbers], self._large, axes)
        return np.stack(
            [
                one[tuple(slice(a, a + s) for a, s in zip(shift, self._part.shape, strict=True))]
                for one, shift in zip(wide, self._shifts[numbers], strict=True)
            ]
        )


def _weighted_means(grid: _Shifted, scores: np.ndarray) -> np.ndarray:
    """Σ f m / Σ m and its standard error, `(2, targets, *positions)`."""
    sums: list[Any] = [0.0] * 5
    shape = grid.masks(np.zeros(1, dtype=np.intp)).shape[1:]
    for start in range(0, scores.shape[1], _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, scores.shape[1]))
        m, f = grid.masks(numbers).astype(np.float64).reshape(len(numbers), -1), scores[:, numbers]
        found = m.sum(0), f @ m, (m * m).sum(0), f @ (m * m), (f * f) @ (m * m)
        sums = [a + b for a, b in zip(sums, found, strict=True)]
    shown, seen, squares, once, twice = sums
    mean = seen / np.maximum(shown, 1e-12)
    left = twice - 2 * mean * once + mean**2 * squares
    error = np.sqrt(np.maximum(left, 0)) / np.maximum(shown, 1e-12)
    return np.stack([mean, error]).reshape(2, len(scores), *shape)
