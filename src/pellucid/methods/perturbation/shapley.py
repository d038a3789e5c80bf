"""Shapley values of features: exact, by kernel regression, by permutations."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.perturbation.coalitions import exact_weights
from pellucid.methods.perturbation.cooperative import (
    MOST_PLAYERS,
    USUAL_COALITIONS,
    CooperativeMethod,
    SampledCooperativeMethod,
)
from pellucid.methods.perturbation.game import Game
from pellucid.methods.perturbation.sampling import (
    KernelDesign,
    OrderDesign,
    enough_for_kernel,
    sample,
)
from pellucid.methods.perturbation.values import Estimate
from pellucid.methods.registry import register_method


@register_method("exact_shapley")
@dataclass(frozen=True)
class ExactShapley(CooperativeMethod):
    """The Shapley value of each feature, from all 2^M coalitions.

    φ_i = Σ_{S ∌ i} |S|! (M − |S| − 1)! / M! · (v(S ∪ i) − v(S))

    v(S) is the score of x with the features outside S replaced: by `baseline` (one reference, a
    zero by default), or by each row of `background` in turn, averaged: two different value
    functions. `value_function="conditional"` is a third, for tables of numbers: the rows of the
    background are moved along their regression on the features in S, so the others are as likely
    as they are in the data, given those (E[f(X) | X_S = x_S] of a normal distribution with the
    background's mean and covariance; exact for linear models). A feature the model does not use
    then counts for what it tells of others; "marginal" says what the model does with its input.
    `features` says what the M players are (see `explain`). Returns the input's shape without
    channels, in units of the explained score, signed; a feature's value in equal parts on its
    positions, and in `extras["unit_values"] (n, M)` as it is. Σ φ = f(x) − v(∅) exactly.
    Cost: 2^M forwards, times the rows of the background; `max_players` (16) guards it.
    Source: Shapley 1953; Lundberg & Lee 2017 (arXiv 1705.07874), eq. 4; conditional ones Aas,
    Jullum, Løland 2021 (arXiv 1903.10464), section 3.2, the residuals from the background itself.

    Raises `MethodError` for more players than `max_players`.

    >>> explain(linear, x, "exact_shapley").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    value_function: str = "marginal"
    max_players: int = MOST_PLAYERS

    cost = "2^M F for M features"
    source = "Shapley 1953"
    refusals = {  # noqa: RUF012 - declared a ClassVar in Method
        "tolerance": "its values are exact, so there is no sampling error to reach; kernel_shap"
        " takes one"
    }

    def solve(self, game: Game) -> Iterator[Estimate]:
        if game.players > self.max_players:
            raise MethodError(
                f"{game.players} features have 2^{game.players} coalitions, above max_players ="
                f" {self.max_players}.\n  kernel_shap samples them; features= makes fewer."
            )
        masks = all_coalitions(game.players)
        solve = exact_weights(masks)
        for places, worth in all_worths(game, masks):
            yield Estimate(places, worth @ solve.T, None, len(masks))


def all_coalitions(players: int) -> np.ndarray:
    """Every coalition, the empty one first and the full one last, `(2^players, players)`."""
    return np.array(list(product([False, True], repeat=players)))


def all_worths(game: Game, masks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`Game.worths` of `all_coalitions`, of which two are known."""
    for places, worth in game.worths(np.arange(len(game.samples)), masks[1:-1]):
        yield places, with_ends(game, places, worth)


def with_ends(game: Game, places: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """`worth (targets, k, m)` between what the empty and the full coalition are worth."""
    ends = game.none[:, places, None], worth, game.everyone[:, places, None]
    return np.concatenate(ends, axis=2)


@register_method("kernel_shap")
@dataclass(frozen=True)
class KernelShap(SampledCooperativeMethod):
    """Shapley values by weighted least squares over some of the 2^M coalitions.

    φ = argmin Σ_S w_S (v(S) − v(∅) − Σ_{i∈S} φ_i)²  subject to  Σ φ_i = f(x) − v(∅)

    v, `features`, `baseline`, `background`, `value_function` and what comes back as for
    exact_shapley, with `stderr`: the standard error from sampling coalitions (0 where the budget
    allows them all, and the values are then exact). Cost: `budget` evaluations a sample, each
    coalition taking one on every row of the background; without a budget 512 coalitions, or 8 M + 2
    where that is more. No feature is dropped. Coalitions are drawn once, in pairs of complements
    and without replacement, the same number of every size, and shared by all samples. Fewer than 8
    M + 2 leave out sizes by chance: unbiased on average, rough, and `warnings` says so. With
    `tolerance` (of the largest standard error, in units of the largest value) or `top` (how many
    features' order is to be settled) the number of coalitions doubles until a sample is there,
    `budget` at most: `extras["coalitions"]` says how many, `extras["stopped"]` why no more
    ("settled" or "budget"), `warnings` which are not there.
    Source: Lundberg & Lee 2017 (arXiv 1705.07874), theorem 2. Departs from the paper: leverage
    sampling (Musco & Witter 2025, arXiv 2410.01917) within strata of size, and the sum is a
    constraint (Covert & Lee 2021, arXiv 2012.01536, eq. 7), not a large weight.

    Raises `MethodError` for a budget below 2 M + 4 coalitions, a tolerance or top out of range.

    >>> explain(linear, x, "kernel_shap").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    value_function: str = "marginal"
    budget: int | None = None
    tolerance: float | None = None
    top: int | None = None

    source = "Lundberg & Lee 2017"

    def solve(self, game: Game) -> Iterator[Estimate]:
        players = game.players
        self.require(min(2 * players + 4, 2**players), game)
        design = KernelDesign(players, lambda size: game.task.generator(5, size))
        allowed = min(self.allowed(players, game.rows), 2**players)
        return sample(game, design, allowed, self.precision)

    def usual(self, players: int) -> int:
        return max(USUAL_COALITIONS, enough_for_kernel(players))


@register_method("permutation_shap")
@dataclass(frozen=True)
class PermutationShap(SampledCooperativeMethod):
    """Shapley values as mean gains along random orders of the features, each also backwards.

    φ_i = mean over orders π of v(those before i in π, and i) − v(those before i in π)

    v, `features`, `baseline`, `background`, `value_function` and what comes back as for
    exact_shapley, with `stderr` over the pairs of an order and its reverse; of few pairs (below
    about 8) it is an estimate of few numbers itself, and 0 where no order drawn shows a difference.
    Cost: `budget` evaluations a sample, each coalition taking one on every row of the background;
    without a budget 512 coalitions, or 16 M where that is more. Where all 2^M coalitions were seen
    the values are exact, with an error of 0. The orders are drawn once and shared by all samples.
    Every order adds up to f(x) − v(∅), so the mean does. For the same budget kernel_shap is more
    exact. `tolerance` and `top` as for kernel_shap.
    Source: Castro, Gómez, Tejada 2009, algorithm 1; antithetic as in Mitchell, Cooper, Frank,
    Holmes 2022 (arXiv 2104.12199), section 2.

    Raises `MethodError` for a budget below 4 M − 2 coalitions (two pairs of orders), a tolerance or
    top out of range.

    >>> explain(linear, x, "permutation_shap").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    value_function: str = "marginal"
    budget: int | None = None
    tolerance: float | None = None
    top: int | None = None

    source = "Castro et al. 2009"

    def solve(self, game: Game) -> Iterator[Estimate]:
        players = game.players

        def draw(pairs: int) -> np.ndarray:
            generator = game.task.generator(6)
            return np.stack([generator.permutation(players) for _ in range(pairs)])

        self.require(4 * players - 2, game)
        design = OrderDesign(players, draw, all_orders=True)
        return sample(game, design, self.allowed(players, game.rows), self.precision)
