"""What all Shapley methods share: the model as a game, its cost, a stop when enough is known."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.base import Attribution, Method
from pellucid.methods.perturbation.conditional import VALUE_FUNCTIONS
from pellucid.methods.perturbation.game import Game, make_units, with_weights
from pellucid.methods.perturbation.sampling import Precision
from pellucid.methods.perturbation.values import Estimate, play
from pellucid.task import Task

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

    def expected(self, task: Task) -> int | None:
        """Rows the model runs at most: the prediction, the references, and the coalitions.

        None for a method without a budget that would look at more than 2^16 coalitions.
        """
        most = self.parameters().get("budget")
        players = sum(int(np.max(f.counts)) for f in make_units(task, self.features))
        if most is None and players > MOST_PLAYERS:
            return None
        coalitions = 2**players if most is None else min(most, 2**players)
        if self.background is None:
            return task.count * (coalitions - 1) + task.count
        rows = len(task.wrapped.accept(with_weights(self.background)[0], more=True))
        return task.count * (1 + (coalitions - 2) * rows) + rows

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        baseline = "zeros" if self.baseline is None else self.baseline
        self._check_value_function()
        conditional = self.value_function == "conditional"
        return play(
            task, self.features, baseline, self.background, self.solve, conditional=conditional
        )

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


class SampledCooperativeMethod(CooperativeMethod):
    """One that looks at `budget` coalitions, or at fewer where that is precise enough."""

    budget: int
    tolerance: float | None
    top: int | None

    cost = "512 F, times the rows of the background"

    def __post_init__(self) -> None:
        self.precision.check(self.name)

    @property
    def precision(self) -> Precision:
        """When a sample needs no more coalitions."""
        return Precision(self.tolerance, self.top)
