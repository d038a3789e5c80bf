"""Shapley interactions: how much of a value two features have only together."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from pellucid.methods.perturbation.cooperative import CooperativeMethod
from pellucid.methods.perturbation.distinct import first_of_each
from pellucid.methods.perturbation.game import Game
from pellucid.methods.perturbation.shapley import (
    all_coalitions,
    all_worths,
    with_ends,
)
from pellucid.methods.perturbation.values import Estimate
from pellucid.methods.registry import register_method

_USUAL = 4096


@register_method("shapley_interactions")
@dataclass(frozen=True)
class ShapleyInteractions(CooperativeMethod):
    """Shapley values, and for each pair of features what they have only together.

    I_ij = Σ_{S ∌ i,j} |S|! (M − |S| − 2)! / (M − 1)! · δ_ij(S),
    δ_ij(S) = v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S)

    Returns the Shapley values as exact_shapley does, and the matrix in `extras["interactions"] (n,
    M, M)` as shap does: I_ij / 2 on either side of the diagonal, on it what is left of φ_i, so that
    rows add up to φ and all of it to f(x) − v(∅). v, `features`, `baseline`, `background` and
    `value_function` as for exact_shapley. Exact where `budget` (4096 coalitions by default, M ≤ 12)
    allows all 2^M; else from random orders, each pair of features adjacent in as many of them, with
    `stderr` and `extras["interactions_stderr"]` over repetitions.
    Cost: `budget` evaluations a sample, each coalition taking one on every row of the background.
    Source: Grabisch & Roubens 1999, eq. 3; Lundberg et al. 2020 (arXiv 1802.03888), section 4.2.

    Raises `MethodError` for a budget that allows less than two repetitions, of about M² coalitions
    each.

    >>> e = explain(lambda z: z[:, 0] * z[:, 1], [[3.0, 4.0]], "shapley_interactions")
    >>> e.extras["interactions"]
    array([[[0., 6.],
            [6., 0.]]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    value_function: str = "marginal"
    budget: int | None = None

    cost = "4096 F, times the rows of the background"
    source = "Grabisch & Roubens 1999"
    refusals = {  # noqa: RUF012 - declared a ClassVar in Method
        "tolerance": "its orders come in repetitions of M² coalitions and more, too few to look at"
        " in between; budget= says how many, and stderr what they leave open"
    }

    def solve(self, game: Game) -> Iterator[Estimate]:
        allowed = self.allowed(game.players, game.rows)
        if 2**game.players <= allowed:
            return _exactly(game)
        self.require(2 * _coalitions_of_repetition(game.players) + 2, game)
        return _sampled(game, allowed)

    def usual(self, players: int) -> int:
        return _USUAL


def _exactly(game: Game) -> Iterator[Estimate]:
    masks, players = all_coalitions(game.players), game.players
    sizes = masks.sum(axis=1)
    shares = np.array([1 / ((players - 1) * comb(players - 2, s)) for s in range(players - 1)])
    gains = np.array([1 / (players * comb(players - 1, s)) for s in range(players)])
    for places, worth in all_worths(game, masks):
        phi = np.empty((*worth.shape[:2], players))
        both = np.zeros((*phi.shape, players))
        for i in range(players):
            own = masks[:, i]
            phi[..., i] = worth @ (np.where(own, 1, -1) * gains[sizes - own])
            for j in range(i):
                other = masks[:, j]
                signs = np.where(own == other, 1, -1) * shares[sizes - own - other]
                both[..., i, j] = both[..., j, i] = worth @ signs
        matrix = _as_shap(phi, both)
        yield Estimate(places, phi, None, len(masks), more={"interactions": matrix})


def _as_shap(phi: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Halves of the interactions `(..., M, M)` beside the diagonal, the rest of φ on it."""
    matrix = both / 2
    own = np.arange(phi.shape[-1])
    matrix[..., own, own] = 0
    matrix[..., own, own] = phi - matrix.sum(axis=-1)
    return matrix


def _coalitions_of_repetition(players: int) -> int:
    """Beginnings of the orders of a zigzag, and those with their last two exchanged, at most."""
    return len(_zigzag(players)) * 2 * (players - 1)


def _sampled(game: Game, budget: int) -> Iterator[Estimate]:
    players = game.players
    zigzag = _zigzag(players)
    repetitions = (budget - 2) // _coalitions_of_repetition(players)
    generator = game.task.generator(30)
    names = np.stack([generator.permutation(players) for _ in range(repetitions)])
    orders = names[:, zigzag].reshape(-1, players)
    masks, which = _beginnings(orders)
    for places, worth in game.worths(np.arange(len(game.samples)), masks):
        found = with_ends(game, places, worth)[..., which]
        yield _estimate(places, found, orders, repetitions, len(masks) + 2)


def _zigzag(players: int) -> np.ndarray:
    """Orders in which each pair of players is adjacent equally often (Walecki), `(k, players)`."""
    line = np.empty(players, dtype=np.intp)
    line[::2], line[1::2] = np.arange((players + 1) // 2), players - 1 - np.arange(players // 2)
    count = players // 2 if players % 2 == 0 else players
    return (line[None] + np.arange(count)[:, None]) % players


def _beginnings(orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coalitions to look at, and `(orders, M − 1, 4)` where each pair finds its four.

    Pair k of an order is its players k and k + 1: before them, with the first, with the second,
    with both. Number 0 stands for the empty coalition, 1 for the first mask, the last for all.
    """
    count, players = orders.shape
    ranks = orders.argsort(axis=1)
    prefix = ranks[:, None, :] < np.arange(players + 1)[None, :, None]
    before, first, both = prefix[:, :-2], prefix[:, 1:-1], prefix[:, 2:]
    second = both & ~(first & ~before)
    four = np.stack([before, first, second, both], axis=2).reshape(-1, players)
    inner = four.any(axis=1) & ~four.all(axis=1)
    own, inverse = first_of_each(np.packbits(four[inner], axis=1))
    masks = four[inner][own]
    which = np.where(four.any(axis=1), len(masks) + 1, 0)
    which[inner] = inverse + 1
    return masks, which.reshape(count, players - 1, 4)


def _estimate(
    places: np.ndarray, found: np.ndarray, orders: np.ndarray, repetitions: int, coalitions: int
) -> Estimate:
    """From `found (targets, k, orders, M − 1, 4)`, repetition by repetition."""
    shape, players = (*found.shape[:2], repetitions), orders.shape[1]
    delta = found[..., 3] - found[..., 2] - found[..., 1] + found[..., 0]
    # The gains along each order: of its first player, and of each one after another.
    gains = np.concatenate(
        [found[..., :1, 1] - found[..., :1, 0], found[..., 3] - found[..., 1]], axis=-1
    )
    phi = np.zeros((*shape, players))
    both = np.zeros((*shape, players, players))
    times = np.zeros((repetitions, players, players))
    per = len(orders) // repetitions
    for number, order in enumerate(orders):
        r = number // per
        phi[:, :, r, order] += gains[:, :, number] / per
        left, right = order[:-1], order[1:]
        both[:, :, r, left, right] += delta[:, :, number]
        times[r, left, right] += 1
    both = both + both.swapaxes(-1, -2)
    times = times + times.swapaxes(-1, -2)
    both /= np.maximum(times, 1)
    matrices = _as_shap(phi, both)
    root = np.sqrt(repetitions)
    return Estimate(
        places, phi.mean(axis=2), phi.std(axis=2, ddof=1) / root, coalitions,
        more={
            "interactions": matrices.mean(axis=2),
            "interactions_stderr": matrices.std(axis=2, ddof=1) / root,
        },
    )  # fmt: skip
