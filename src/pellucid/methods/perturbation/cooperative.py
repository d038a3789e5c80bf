"""What all Shapley methods share: the model as a game, its cost, a stop when enough is known."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.checks import check_background
from pellucid.methods.base import Attribution, Method
from pellucid.methods.perturbation.conditional import VALUE_FUNCTIONS
from pellucid.methods.perturbation.game import Game, make_units, with_weights
from pellucid.methods.perturbation.precision import PreciseMethod
from pellucid.methods.perturbation.values import Estimate, play
from pellucid.task import Task

USUAL_COALITIONS = 512
"""Looked at where no budget is given and there are not very many features."""
MOST_PLAYERS = 16
"""Features whose 2^M coalitions are still looked at, or counted beforehand."""


class CooperativeMethod(Method):
    """A method that plays a game of features; subclasses have these three fields."""

    features: Any
    baseline: Any
    background: Any
    value_function: str

    family = "perturbation"
    claims_completeness = True
    shares_forward = True
    conflicts = (("baseline", "background"),)  # what an absent feature is, is said once

    @abstractmethod
    def solve(self, game: Game) -> Iterator[Estimate]:
        """What is known of the games, better estimates after worse ones."""

    def usual(self, players: int) -> int:
        """Coalitions of a game where no budget is given."""
        return 2**players

    def allowed(self, players: int, rows: int) -> int:
        """Coalitions of a game by `budget` evaluations of a sample, `rows` for each."""
        budget = self.parameters().get("budget")
        return self.usual(players) if budget is None else budget // rows

    def require(self, least: int, game: Game) -> None:
        """Raise `MethodError` where the budget allows fewer coalitions than `least`."""
        found = self.allowed(game.players, game.rows)
        if found >= least:
            return
        budget = self.parameters().get("budget")
        many = game.rows > 1
        raise MethodError(
            f"{self.name} needs a budget of {least * game.rows} for {game.players} features"
            + (f" on {game.rows} background rows" if many else "")
            + f", got {found if budget is None else budget}.\n  features= makes fewer features"
            + ("; pellucid.inputs.summarise(background, n) makes fewer rows." if many else ".")
        )

    def expected(self, task: Task) -> int | None:
        """Rows the model runs at most: the prediction, the references, and the coalitions.

        None for a method without a budget that would look at more than 2^16 coalitions.
        """
        players = sum(int(np.max(f.counts)) for f in make_units(task, self.features))
        if self.parameters().get("budget", ...) is ... and players > MOST_PLAYERS:
            return None
        background = self.background is not None
        given = with_weights(self.background)[0]
        if background:
            check_background(given)
        rows = len(task.wrapped.accept(given, more=True)) if background else 1
        coalitions = min(self.allowed(players, rows), 2**players)
        return task.count * (1 + (coalitions - 2) * rows) + (rows if background else task.count)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        baseline = "zeros" if self.baseline is None else self.baseline
        self._check_value_function()
        allowed: set[int] = set()

        def solve(game: Game) -> Iterator[Estimate]:
            allowed.add(self.allowed(game.players, game.rows) * game.rows)
            return self.solve(game)

        found = play(
            task, self.features, baseline, self.background, solve,
            conditional=self.value_function == "conditional",
        )  # fmt: skip
        if self.parameters().get("budget", ...) is not None or len(allowed) > 1:
            return found
        (budget,) = allowed
        return tuple(replace(a, parameters={"budget": budget}) for a in found)

    def _check_value_function(self) -> None:
        if self.value_function not in VALUE_FUNCTIONS:
            raise MethodError(
                f"Expected value_function to be one of {VALUE_FUNCTIONS}, got"
                f" {self.value_function!r}."
            )
        if self.value_function == "conditional" and self.background is None:
            raise MethodError(
                f"{self.name} with value_function='conditional' needs background= rows: their"
                " covariance says what goes with what."
            )


class SampledCooperativeMethod(CooperativeMethod, PreciseMethod):
    """One that looks at as many coalitions as `budget` allows, or fewer if precise enough."""

    budget: int | None

    cost = "512 F, times the rows of the background; budget caps it"

    def usual(self, players: int) -> int:
        # Two evaluations for each of 8 pairs, so that an error can be told, where 512 are too few.
        return max(USUAL_COALITIONS, 16 * (players - 1) + 2)
