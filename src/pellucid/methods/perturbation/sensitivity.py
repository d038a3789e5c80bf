"""Sobol and HSIC: how much of what the score does under random masks each part accounts for."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.layout import space_axes
from pellucid.methods.base import Attribution
from pellucid.methods.perturbation.game import make_units
from pellucid.methods.perturbation.precision import PreciseMethod, doubled
from pellucid.methods.perturbation.removal import (
    Estimates,
    Removal,
    copies_allowed,
    most_parts,
    references_of,
)
from pellucid.methods.perturbation.stages import counted, in_stages
from pellucid.methods.perturbation.unit_maps import explain_units
from pellucid.methods.registry import register_method
from pellucid.task import Task

_GRID = 8
_DESIGNS = 32
_MASKS = 500
_LEAST_DESIGNS, _LEAST_MASKS = 16, 64
"""Rows and masks before a standard error is believed."""


def _cells(task: Task, features: Any) -> Any:
    """A grid of 8 cells where nothing else is asked for, as the papers have it."""
    if features is not None:
        return features
    own = tuple(f"grid:{_GRID}" if space_axes(dims) else None for dims in task.batch.dims)
    return own[0] if len(own) == 1 else own


@register_method("sobol")
@dataclass(frozen=True)
class Sobol(PreciseMethod):
    """The share of the score's variance, under random fading, in which a part has a hand.

    T_i = E[Var(f | all but i)] / Var(f) ≈ Σ_j (f(A_j) − f(A_j with i of B_j))² / (2 N Var f)

    Each part of the input (`features`: a grid of 8 along the longer side by default, columns of a
    table) fades into the `baseline` to a random degree, uniform in [0, 1] and independent;
    whole numbers and missing values are shown above ½ and hidden below. A and B are Latin
    hypercubes of N rows: (`budget` − 1) // (parts + 2), or 32. `order="first"` gives S_i =
    Var(E[f | i]) / Var f instead, what the part does alone (Saltelli et al. 2010, table 2b); the
    total is what it does alone and with others. Σ S ≤ 1 ≤ Σ T, equal where parts only add up.

    With `tolerance` (of the largest standard error, in units of the largest share) or `top` (how
    many parts' order is to be settled) rows double until a sample is there, `budget` at most:
    `extras["copies"]` says how many forwards it took, `extras["stopped"]` why no more ("settled" or
    "budget"), `warnings` which are not there.

    Returns one map a sample without channels, shares without a sign (estimates of S may fall below
    0 by their error), with standard errors; `extras["unit_values"]`, and `variance` that of the
    score. A constant score has shares of 0. Cost: N (parts + 2) forwards: 2112 for 64 cells.
    Source: Fel, Cadene, Chalvidal, Cord, Vigouroux, Serre 2021 (arXiv 2111.04138), eq. 4; Jansen
    1999. Departs from the paper: Latin hypercubes instead of a Sobol sequence, and the variance is
    that of both A and B.

    Raises `MethodError` for a budget of fewer than 2 rows, a tolerance or top out of range.

    >>> explain(linear, x, "sobol", budget=20_000).values.round(1)    # 36 and 16 of 52
    array([[0.7, 0.3]], dtype=float32)
    """

    features: Any = None
    baseline: Any = "zeros"
    budget: int | None = None
    order: str = "total"
    tolerance: float | None = None
    top: int | None = None

    family = "perturbation"
    shares_forward = True
    cost = "2112 F for 64 cells"
    source = "Fel et al. 2021"

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        if self.order not in {"total", "first"}:
            raise MethodError(f"Expected order to be 'total' or 'first', got {self.order!r}.")
        spec = _cells(task, self.features)
        references = tuple(b[:, None] for b in task.baselines(self.baseline))
        recorded: dict[str, Any] = {"features": spec}
        return explain_units(
            task, make_units(task, spec), references,
            lambda removal: self._solve(removal, recorded), parameters=recorded,
        )  # fmt: skip

    def expected(self, task: Task) -> int | None:
        parts = most_parts(make_units(task, _cells(task, self.features)))
        return task.count * (1 + self._rows(parts) * (parts + 2))

    def _rows(self, parts: int) -> int:
        return copies_allowed(self.budget, _DESIGNS * (parts + 2)) // (parts + 2)

    def _solve(self, removal: Removal, recorded: dict[str, Any]) -> Estimates:
        parts = removal.count
        rows = self._rows(parts)
        if rows < 2:
            raise MethodError(
                f"sobol needs a budget of {2 * (parts + 2) + 1} for {parts} parts, got"
                f" {self.budget}."
            )
        recorded["budget"] = self.budget or rows * (parts + 2) + 1
        both = _latin_hypercube(rows, 2 * parts, removal.task.generator(20))
        a, b = both[:, :parts], both[:, parts:]
        mixed = np.repeat(a[None], parts, axis=0)
        index = np.arange(parts)
        mixed[index, :, index] = b.T
        kept = np.concatenate([a, b, mixed.reshape(-1, parts)])
        targets, count = len(removal.task.targets), len(removal.samples)
        values, errors = np.zeros((2, targets, count, parts))
        variances = np.zeros((targets, count))
        removal.progress.estimates = Estimates(values, errors, {"variance": variances})
        stages = doubled(min(_LEAST_DESIGNS, rows), rows)

        def estimate(place: int, scores: np.ndarray, stage: int) -> tuple[np.ndarray, np.ndarray]:
            n = stages[stage]
            for t, own in enumerate(scores):
                found = _indices(
                    own[:n], own[n : 2 * n], own[2 * n :].reshape(parts, n), self.order
                )
                values[t, place], errors[t, place], variances[t, place] = found
            return values[:, place], errors[:, place]

        in_stages(
            removal, removal.masks_of(kept), counted(stages, blocks=parts + 2), self.precision,
            estimate,
        )  # fmt: skip
        return removal.progress.estimates


def _latin_hypercube(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """Uniform numbers `(rows, columns)`, one in each of `rows` layers of every column."""
    layers = np.stack([generator.permutation(rows) for _ in range(columns)], axis=1)
    return (layers + generator.random((rows, columns))) / rows


def _indices(
    a: np.ndarray, b: np.ndarray, mixed: np.ndarray, order: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Shares of the variance, their standard errors by the delta method, and the variance."""
    both = np.concatenate([a, b])
    middle = both.mean()
    variance = float(both.var(ddof=1))
    if variance <= 1e-14 * max(middle**2, 1e-300):
        return np.zeros(len(mixed)), np.zeros(len(mixed)), variance
    terms = (a - mixed) ** 2 / 2 if order == "total" else (b - middle) * (mixed - a)
    own_variance = ((a - middle) ** 2 + (b - middle) ** 2) / 2
    shares = terms.mean(axis=1) / variance
    spread = (terms - shares[:, None] * own_variance).std(axis=1, ddof=1)
    return shares, spread / variance / np.sqrt(len(a)), variance


@register_method("hsic")
@dataclass(frozen=True)
class Hsic(PreciseMethod):
    """How far the score depends on whether a part is shown: a test statistic of dependence.

    HSIC_i = tr(K_i H L H) / (n − 1)² = 2 z_iᵀ H L H z_i / (n − 1)²,  K_i = ½ − (z_i − z_i')²,
    L = exp(−(y − y')² / 2 σ²)

    z in {0, 1}^(n × parts) says which parts (`features`: a grid of 8 along the longer side by
    default) random masks show, each by a fair coin, and y are the scores of the copies, hidden
    parts replaced by `baseline`. H takes off the mean. σ is the `bandwidth`, the median distance
    between scores by default. For two-valued z the trace is a quadratic form, so all parts cost
    one matrix product.

    `tolerance` and `top` as for sobol.

    Returns one map a sample without channels, not negative and without a unit, at most ¼; what is
    independent has (1 − mean L) / (2 n) on average. With the standard error from drawing masks,
    both terms of a U-statistic's variance. Cost: 500 forwards a sample and f(x), or `budget`.
    Source: Novello, Fel, Vigouroux 2022 (arXiv 2206.06219), eq. 5 and 9. Departs from the paper:
    coins instead of a Latin hypercube, and the bandwidth is the median *distance* of the scores
    where its authors' code takes the median score.

    Raises `MethodError` for a budget below 9, a bandwidth that is not above 0, a tolerance or
    top out of range.

    >>> bool(explain(linear, x, "hsic").values.argmax() == 0)
    True
    """

    features: Any = None
    baseline: Any = "zeros"
    budget: int | None = None
    bandwidth: float | None = None
    tolerance: float | None = None
    top: int | None = None

    family = "perturbation"
    shares_forward = True
    cost = "500 F"
    source = "Novello et al. 2022"

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        if self._copies < 8:
            raise MethodError(f"hsic needs a budget of 9 or more, got {self.budget}.")
        if self.bandwidth is not None and not 0 < self.bandwidth < np.inf:
            raise MethodError(f"Expected a bandwidth above 0, got {self.bandwidth!r}.")
        spec = _cells(task, self.features)
        units = make_units(task, spec)
        references, inpainted = references_of(task, self.baseline, units)
        return explain_units(
            task, units, references, self._solve, inpainted=inpainted,
            parameters={"features": spec, "budget": self._copies + 1},
        )  # fmt: skip

    def expected(self, task: Task) -> int | None:
        return task.count * (1 + self._copies)

    @property
    def _copies(self) -> int:
        return copies_allowed(self.budget, _MASKS)

    def _solve(self, removal: Removal) -> Estimates:
        parts = removal.count
        kept = removal.task.generator(21).random((self._copies, parts)) < 0.5
        targets, count = len(removal.task.targets), len(removal.samples)
        values, errors = np.zeros((2, targets, count, parts))
        removal.progress.estimates = Estimates(values, errors)

        stages = counted(doubled(min(_LEAST_MASKS, self._copies), self._copies))

        def estimate(place: int, scores: np.ndarray, stage: int) -> tuple[np.ndarray, np.ndarray]:
            shown = kept[stages[stage]]
            for t, own in enumerate(scores):
                values[t, place], errors[t, place] = hsic_of_masks(shown, own, self.bandwidth)
            return values[:, place], errors[:, place]

        in_stages(removal, removal.masks_of(kept), stages, self.precision, estimate)
        return removal.progress.estimates


def hsic_of_masks(
    kept: np.ndarray, scores: np.ndarray, bandwidth: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """HSIC of each column of `kept (n, parts)` with `scores (n,)`, and its standard error."""
    n = len(scores)
    outputs = np.subtract.outer(scores, scores).astype(np.float64, copy=False)
    if bandwidth is None:
        bandwidth = float(np.median(np.abs(outputs[np.triu_indices(n, 1)])))
    if bandwidth <= 1e-12 * max(float(np.abs(scores).max()), 1e-300):
        # Half of the scores or more are the same number: the mean distance still tells them apart.
        bandwidth = float(np.abs(outputs).mean())
    if bandwidth <= 1e-12 * max(float(np.abs(scores).max()), 1e-300):
        return np.zeros(kept.shape[1]), np.zeros(kept.shape[1])
    # In place: for some hundred masks making n x n arrays takes longer than the arithmetic.
    outputs *= outputs
    outputs *= -1 / (2 * bandwidth**2)
    np.exp(outputs, out=outputs)
    means = outputs.mean(axis=0)
    outputs -= means
    outputs += (means.mean() - means)[:, None]
    signs = kept - kept.mean(axis=0)
    rows = outputs @ signs
    rows *= signs
    rows *= 2 / n  # row j: mean over its pairs of both kernels' product
    biased = (n / (n - 1)) ** 2  # the paper's sum over pairs, itself with itself too, by (n − 1)²
    values = rows.mean(axis=0)
    outputs *= outputs
    signs *= signs
    second = 4 * np.einsum("jp,jp->p", signs, outputs @ signs) / n**2
    first = rows.var(axis=0)
    variance = 4 * first / n + 2 * np.maximum(second - values**2 - 2 * first, 0) / n**2
    return biased * values, biased * np.sqrt(np.maximum(variance, 0))
