"""Shapley values of features: exact, by kernel regression, by permutations."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import comb
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.base import Attribution, Method
from pellucid.methods.perturbation.coalitions import (
    KernelRegression,
    draw_coalitions,
)
from pellucid.methods.perturbation.game import Game, Values, play
from pellucid.methods.registry import register_method
from pellucid.task import Task

_MOST_PLAYERS = 16
_BUDGET = 512
_BOTH = (("baseline", "background"),)


def _play(task: Task, method: Any, solve: Callable[[Game], Values]) -> Attribution:
    baseline = "zeros" if method.baseline is None else method.baseline
    return play(task, method.features, baseline, method.background, solve)


@register_method("exact_shapley")
@dataclass(frozen=True)
class ExactShapley(Method):
    """The Shapley value of each feature, from all 2^M coalitions.

    φ_i = Σ_{S ∌ i} |S|! (M − |S| − 1)! / M! · (v(S ∪ i) − v(S))

    v(S) is the score of x with the features outside S replaced: by `baseline` (one reference, a
    zero by default), or by each row of `background` in turn, averaged: two different value
    functions. `features` says what the M players are (see `explain`). Returns the input's shape
    without channels, in units of the explained score, signed; a feature's value in equal parts on
    its positions, and in `extras["unit_values"] (n, M)` as it is. Σ φ = f(x) − v(∅) exactly.
    Cost: 2^M forwards, times the rows of the background; `max_players` (16) guards it.
    Source: Shapley 1953; Lundberg & Lee 2017 (arXiv 1705.07874), eq. 4.

    Raises `MethodError` for more players than `max_players`.

    >>> explain(linear, x, "exact_shapley").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    max_players: int = _MOST_PLAYERS

    family = "perturbation"
    claims_completeness = True
    conflicts = _BOTH
    cost = "2^M F for M features"
    source = "Shapley 1953"

    def attribute(self, task: Task) -> Attribution:
        return _play(task, self, self._solve)

    def _solve(self, game: Game) -> Values:
        if game.players > self.max_players:
            raise MethodError(
                f"{game.players} features have 2^{game.players} coalitions, above max_players ="
                f" {self.max_players}.\n  kernel_shap samples them; features= makes fewer."
            )
        masks = np.array(list(product([False, True], repeat=game.players)))
        phi = np.empty((len(game.samples), game.players))
        none = np.empty(len(phi))
        solve = _exact_weights(masks)

        def finish(place: int, worth: np.ndarray) -> None:
            phi[place], none[place] = solve @ worth, worth[0]

        game.worth(masks, finish)
        return Values(phi, none)


def _exact_weights(masks: np.ndarray) -> np.ndarray:
    """`(M, 2^M)`: what each coalition's worth contributes to each player's value."""
    players, sizes = masks.shape[1], masks.sum(axis=1)
    joined = np.array([1 / (players * comb(players - 1, max(s - 1, 0))) for s in sizes])
    apart = np.array([1 / (players * comb(players - 1, min(s, players - 1))) for s in sizes])
    return np.where(masks.T, joined, -apart)


@register_method("kernel_shap")
@dataclass(frozen=True)
class KernelShap(Method):
    """Shapley values by weighted least squares over some of the 2^M coalitions.

    φ = argmin Σ_S w_S (v(S) − v(∅) − Σ_{i∈S} φ_i)²  subject to  Σ φ_i = f(x) − v(∅)

    v, `features`, `baseline`, `background` and what comes back as for exact_shapley, with
    `stderr`: the standard error from sampling coalitions (0 where the budget allows them all, and
    the values are then exact). Cost: `budget` (512) coalitions a sample, each evaluated on every
    row of the background. No feature is dropped. Coalitions are drawn once, in pairs of
    complements and without replacement, the same number of every size, and shared by all samples.
    Source: Lundberg & Lee 2017 (arXiv 1705.07874), theorem 2. Departs from the paper: leverage
    sampling (Musco & Witter 2025, arXiv 2410.01917) within strata of size, and the sum is a
    constraint (Covert & Lee 2021, arXiv 2012.01536, eq. 7), not a large weight.

    Raises `MethodError` for a budget below 2 M + 4.

    >>> explain(linear, x, "kernel_shap").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    budget: int = _BUDGET

    family = "perturbation"
    claims_completeness = True
    conflicts = _BOTH
    cost = "512 F, times the rows of the background"
    source = "Lundberg & Lee 2017"

    def attribute(self, task: Task) -> Attribution:
        return _play(task, self, self._solve)

    def _solve(self, game: Game) -> Values:
        players = game.players
        least = min(2 * players + 4, 2**players)
        if self.budget < least:
            raise MethodError(
                f"kernel_shap needs a budget of {least} for {players} features, got {self.budget}."
            )
        coalitions = draw_coalitions(players, self.budget - 2, game.task.generator(5))
        regression = KernelRegression(coalitions)
        ends = np.array([[False] * players, [True] * players])
        masks = np.concatenate([ends, coalitions.masks])
        phi, errors = np.empty((2, len(game.samples), players))
        none = np.empty(len(phi))

        def finish(place: int, worth: np.ndarray) -> None:
            rest = worth[2:], worth[0], worth[1]
            phi[place] = regression.values(*rest)
            errors[place] = regression.standard_errors(*rest, phi[place])
            none[place] = worth[0]

        game.worth(masks, finish)
        return Values(phi, none, errors)


@register_method("permutation_shap")
@dataclass(frozen=True)
class PermutationShap(Method):
    """Shapley values as mean gains along random orders of the features, each also backwards.

    φ_i = mean over orders π of v(those before i in π, and i) − v(those before i in π)

    v, `features`, `baseline`, `background` and what comes back as for exact_shapley, with
    `stderr` over the pairs of an order and its reverse; of few pairs (below about 8) it is an
    estimate of few numbers itself, and 0 where no order drawn shows a difference. Cost: `budget`
    (512) coalitions a sample, each evaluated on every row of the background; the orders are drawn
    once and shared by all samples. Every order adds up to f(x) − v(∅), so the mean does. For the
    same budget kernel_shap is more exact.
    Source: Castro, Gómez, Tejada 2009, algorithm 1; antithetic as in Mitchell, Cooper, Frank,
    Holmes 2022 (arXiv 2104.12199), section 2.

    Raises `MethodError` for a budget below 4 M − 2, which is two pairs of orders.

    >>> explain(linear, x, "permutation_shap").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    budget: int = _BUDGET

    family = "perturbation"
    claims_completeness = True
    conflicts = _BOTH
    cost = "512 F, times the rows of the background"
    source = "Castro et al. 2009"

    def attribute(self, task: Task) -> Attribution:
        return _play(task, self, self._solve)

    def _solve(self, game: Game) -> Values:
        players = game.players
        pairs = (self.budget - 2) // (2 * (players - 1))
        if pairs < 2:
            raise MethodError(
                f"permutation_shap needs a budget of {4 * players - 2} for {players} features,"
                f" got {self.budget}."
            )
        generator = game.task.generator(6)
        orders = np.stack([generator.permutation(players) for _ in range(pairs)])
        orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, players)
        ranks = orders.argsort(axis=1)
        # Row k of an order's walk holds its first k + 1 players.
        walks = ranks[:, None, :] <= np.arange(players - 1)[None, :, None]
        ends = np.array([[False] * players, [True] * players])
        masks = np.concatenate([ends, walks.reshape(-1, players)])
        phi, errors = np.empty((2, len(game.samples), players))
        none = np.empty(len(phi))

        def finish(place: int, worth: np.ndarray) -> None:
            steps = np.empty((len(orders), players + 1))
            steps[:, 0], steps[:, -1] = worth[0], worth[1]
            steps[:, 1:-1] = worth[2:].reshape(len(orders), -1)
            gains = np.take_along_axis(np.diff(steps, axis=1), ranks, axis=1)
            by_pair = gains.reshape(pairs, 2, players).mean(axis=1)
            phi[place] = by_pair.mean(axis=0)
            errors[place] = by_pair.std(axis=0, ddof=1) / np.sqrt(pairs)
            none[place] = worth[0]

        game.worth(masks, finish)
        return Values(phi, none, errors)
