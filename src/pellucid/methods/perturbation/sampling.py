"""Coalitions evaluated in stages, until each sample is known as well as was asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pellucid.methods.perturbation.coalitions import (
    KernelRegression,
    allot,
    allot_at_random,
    draw_coalitions,
    exact_weights,
)
from pellucid.methods.perturbation.distinct import first_of_each
from pellucid.methods.perturbation.game import Game
from pellucid.methods.perturbation.precision import Precision, doubled
from pellucid.methods.perturbation.values import Estimate

_HELD = 2**19
"""Worths that are held at once while samples wait for their next stage."""


Solver = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""`(worth (k, m), v(∅) (k,), v(N) (k,)) -> (values, standard errors)`, `(k, players)` each."""


@dataclass(frozen=True)
class Stage:
    """Coalitions `masks (m, players)`, those `fresh` that no stage before had, and their solver.

    Apart from the fresh ones they are those of the stage before, in the same order.
    """

    masks: np.ndarray
    fresh: np.ndarray
    solve: Solver
    warning: str = ""
    """What is to be said of estimates from so few."""


class Design(ABC):
    """Coalitions of one number of players: each stage those of the one before, and more."""

    least: int
    """Coalitions below which there is no estimate."""

    @abstractmethod
    def stage(self, count: int) -> Stage:
        """The stage of at most `count` coalitions, the empty and the full one included."""


def sample(game: Game, design: Design, budget: int, precision: Precision) -> Iterator[Estimate]:
    """Estimates of all games by `budget` coalitions, or as few as `precision` allows.

    With a precision the number of coalitions doubles from stage to stage, and games that are
    settled stop.
    """
    counts = doubled(design.least, budget) if precision.asked else [budget]
    stages: list[Stage] = []
    everyone, targets = np.arange(len(game.samples)), len(game.none)
    at_once = max(1, _HELD // (budget * targets))
    for first in range(0, len(everyone), at_once):
        waiting = everyone[first : first + at_once]
        worth = np.empty((targets, len(waiting), 0))
        for number, count in enumerate(counts):
            if number == len(stages):
                stages.append(design.stage(count))
            stage, last = stages[number], number == len(counts) - 1
            wider = np.empty((targets, len(waiting), len(stage.masks)))
            wider[..., ~stage.fresh] = worth
            done = np.zeros(len(waiting), dtype=bool)
            for places, found in _fresh_worths(game, stage, waiting):
                rows = np.searchsorted(waiting, places)
                wider[np.ix_(np.arange(targets), rows, np.flatnonzero(stage.fresh))] = found
                phi, errors = _solved(stage, game, places, wider[:, rows])
                done[rows] = precision.settled(phi, errors).all(axis=0)
                settled = done[rows] if precision.asked else None
                yield Estimate(
                    places, phi, errors, len(stage.masks) + 2, settled, warning=stage.warning
                )
            if last or done.all():
                break
            waiting, worth = waiting[~done], wider[:, ~done]


def _fresh_worths(
    game: Game, stage: Stage, waiting: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`Game.worths` of the stage's fresh coalitions, of which there may be none."""
    if not stage.fresh.any():
        return iter([(waiting, np.empty((len(game.none), len(waiting), 0)))])
    return game.worths(waiting, stage.masks[stage.fresh])


def _solved(
    stage: Stage, game: Game, places: np.ndarray, worth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors `(targets, k, players)` by `worth (targets, k, m)`."""
    ends = game.none[:, places].ravel(), game.everyone[:, places].ravel()
    found = stage.solve(worth.reshape(-1, worth.shape[2]), *ends)
    return tuple(a.reshape(*worth.shape[:2], -1) for a in found)  # type: ignore[return-value]


class KernelDesign(Design):
    """Pairs of complements by leverage sampling; `generator(size)` draws those of a size."""

    def __init__(self, players: int, generator: Callable[[int], np.random.Generator]) -> None:
        self._players, self._generator = players, generator
        self._drawn: dict[int, int] | None = None
        self.least = enough_for_kernel(players)

    def stage(self, count: int) -> Stage:
        before, warning = self._drawn or {}, ""
        if count < self.least:
            drawn, means = allot_at_random(self._players, count - 2, self._generator(0))
            coalitions = draw_coalitions(drawn, self._players, self._generator, means)
            warning = (
                f"few coalitions: {count} for {self._players} features, below the {self.least} from"
                " which on every size of coalition is looked at several times; values and standard"
                " errors are rough"
            )
        else:
            drawn = allot(self._players, count - 2, self._drawn)
            coalitions = draw_coalitions(drawn, self._players, self._generator)
        fresh = np.concatenate(
            [np.arange(2 * now) >= 2 * before.get(size, 0) for size, now in drawn.items() if now]
        )
        self._drawn = drawn
        regression = KernelRegression(coalitions)

        def solve(
            worth: np.ndarray, none: np.ndarray, everyone: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            phi = regression.values(worth, none, everyone)
            return phi, regression.standard_errors(worth, none, phi)

        return Stage(coalitions.masks, fresh, solve, warning)


def enough_for_kernel(players: int) -> int:
    """Coalitions from which on every size is drawn several times: 8 a player, or all."""
    return min(8 * players + 2, 2 ** min(players, 62))


class OrderDesign(Design):
    """Walks along orders of the players, each followed by its reverse.

    `draw(pairs)` gives that many orders `(pairs, players)`, those of fewer pairs first. Coalitions
    that several walks pass are looked at once. With `all_orders`, every order is as likely as any
    other: once all coalitions were seen, the values are exact.
    """

    def __init__(
        self, players: int, draw: Callable[[int], np.ndarray], *, all_orders: bool = False
    ) -> None:
        self._players, self._draw = players, draw
        self._seen, self._all_orders = 0, all_orders
        self.least = 16 * (players - 1) + 2

    def pairs(self, count: int) -> int:
        return (count - 2) // (2 * (self._players - 1))

    def stage(self, count: int) -> Stage:
        players = self._players
        orders = self._draw(self.pairs(count))
        pairs = len(orders)
        orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, players)
        ranks = orders.argsort(axis=1)
        # Row k of an order's walk holds its first k + 1 players.
        walks = ranks[:, None, :] <= np.arange(players - 1)[None, :, None]
        walks = walks.reshape(-1, players)
        first, which = first_of_each(np.packbits(walks, axis=1))
        fresh = np.arange(len(first)) >= self._seen
        self._seen = len(first)
        if self._all_orders and len(first) == 2 ** min(players, 62) - 2:
            return Stage(walks[first], fresh, _exact_solver(walks[first]))

        def solve(
            worth: np.ndarray, none: np.ndarray, everyone: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            steps = np.empty((len(worth), len(orders), players + 1))
            steps[:, :, 0], steps[:, :, -1] = none[:, None], everyone[:, None]
            steps[:, :, 1:-1] = worth[:, which].reshape(len(worth), len(orders), -1)
            gains = np.take_along_axis(np.diff(steps, axis=2), ranks[None], axis=2)
            by_pair = gains.reshape(len(worth), pairs, 2, players).mean(axis=2)
            return by_pair.mean(axis=1), by_pair.std(axis=1, ddof=1) / np.sqrt(pairs)

        return Stage(walks[first], fresh, solve)


def _exact_solver(masks: np.ndarray) -> Solver:
    """Shapley values of games of which every coalition between none and all was seen."""
    players = masks.shape[1]
    weights = exact_weights(np.concatenate([masks, [[False] * players, [True] * players]]))

    def solve(
        worth: np.ndarray, none: np.ndarray, everyone: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        phi = np.column_stack([worth, none, everyone]) @ weights.T
        return phi, np.zeros_like(phi)

    return solve
