"""LIME of a table: lines through rows drawn around the data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features
from pellucid.inputs.noise import seed_of
from pellucid.methods.base import Attribution
from pellucid.methods.perturbation.game import background_rows
from pellucid.methods.perturbation.lime_fits import (
    WIDTH_OF_TABLES,
    Lines,
    enough_copies,
    require_copies,
)
from pellucid.methods.perturbation.lime_tables import Neighbourhood, make_neighbourhood
from pellucid.methods.perturbation.precision import Precision, doubled
from pellucid.methods.perturbation.removal import Estimates, Removal
from pellucid.methods.perturbation.surrogate import WeightedRidge
from pellucid.methods.perturbation.unit_maps import explain_units
from pellucid.task import Task

_HELD = 2**19
"""Scores that are held at once while samples wait for their next stage."""


@dataclass(frozen=True)
class AroundTheData:
    """Lines through `copies` rows drawn around a background; fields as LIME's parameters."""

    background: Any
    budget: int | None
    copies: int
    kernel_width: float | None
    ridge: float
    discretizer: str | None
    categorical: Any
    fresh: bool
    precision: Precision

    def explain(self, task: Task, features: Features) -> tuple[Attribution, ...]:
        """An attribution for each target."""
        batch, budget = task.batch, self.copies
        (rows,) = background_rows(task, self.background)
        names = task.wrapped.feature_names or batch.columns
        around = make_neighbourhood(
            rows[0], features, discretizer=self.discretizer,
            categorical=_categorical(self.categorical, task),
        )  # fmt: skip
        require_copies(budget, around.count, budget=self.budget, penalised=self.ridge > 0)
        width = float(self.kernel_width or WIDTH_OF_TABLES * np.sqrt(around.count))
        found = Lines(len(task.targets), task.count, around.count)
        x = batch.arrays[0]
        bins, counts = around.codes(x), [budget]
        if self.precision.asked:
            counts = doubled(enough_copies(around.count), budget)

        def fit(
            removal: Removal, sample: int, drawn: np.ndarray, codes: np.ndarray, scores: np.ndarray
        ) -> bool:
            own = x[sample], bins[sample]
            seen, squared = around.seen_from(*own, drawn, codes)
            weights = np.exp(-squared / (2 * width**2))
            at_x = around.seen_from(*own, x[sample, None], bins[sample, None])[0][0]
            line = WeightedRidge(seen, weights, penalty=self.ridge).fit(scores)
            found.keep(sample, line, at_x)
            known = line.coefficients, line.stderr
            return removal.progress.note(
                sample, len(drawn), bool(self.precision.settled(*known).all())
            )

        def solve(removal: Removal) -> Estimates:
            removal.progress.estimates = found.estimates
            if self.precision.asked:
                removal.progress.start(task.count)
            each = self.fresh or around.held.size
            (self._each if each else self._shared)(task, around, counts, partial(fit, removal))
            return found.estimates

        most = f"up to {budget}" if self.precision.asked else str(budget)
        conditions = np.array([around.conditions(row, names, batch.categories) for row in x])
        return explain_units(
            task, (features,), (), solve,
            parameters={"budget": budget + 1, "kernel_width": width},
            notes=(
                f"lime: neighbours drawn around {len(rows[0])} background rows"
                + ("" if self.fresh else f"; {most} of them shared by all samples"),
            ),
            extras={"conditions": conditions},
        )  # fmt: skip

    @staticmethod
    def _shared(task: Task, around: Neighbourhood, counts: list[int], fit: Any) -> None:
        drawn, codes = around.draw(counts[-1], task.generator(8))
        waiting, before, parts = list(range(task.count)), 0, []
        for count in counts:
            parts.append(task.outputs_of(task.in_own_type((task.asarray(drawn[before:count]),))))
            outputs, before = task.join(parts), count
            waiting = [
                sample
                for sample in waiting
                if not fit(
                    sample, drawn[:count], codes[:count],
                    task.scores_of(outputs, np.full(count, sample)),
                )
            ]  # fmt: skip
            if not waiting:
                return

    def _each(self, task: Task, around: Neighbourhood, counts: list[int], fit: Any) -> None:
        """Rows of each sample's own: a draw of its own, or its values in columns of no unit."""
        batch, most = task.batch, counts[-1]

        def draw(sample: int) -> tuple[np.ndarray, np.ndarray]:
            x = batch.arrays[0][sample]
            own = [task.seed, 8, seed_of(x, batch.dims[0])] if self.fresh else [task.seed, 8]
            rows, codes = around.draw(most, np.random.default_rng(own))
            rows[:, around.held] = x[around.held]
            return rows, codes

        at_once = max(1, _HELD // (len(task.targets) * most))
        for first in range(0, task.count, at_once):
            waiting = np.arange(first, min(first + at_once, task.count))
            scores = np.empty((len(task.targets), len(waiting), most))
            for before, count in pairwise((0, *counts)):
                own = OwnRows(task, waiting, draw, slice(before, count))
                settled = []
                for place, rows, codes, found in own.scores():
                    held = scores[:, waiting[place] - first]
                    held[:, before:count] = found
                    done = fit(waiting[place], rows[:count], codes[:count], held[:, :count])
                    settled.append(done)
                waiting = waiting[~np.array(settled)]
                if not len(waiting):
                    break


@dataclass(frozen=True)
class OwnRows:
    """Rows of each sample's own, and what the model says of some of them.

    `draw(sample)` gives a sample's rows and their bins, of which those in `wanted` are run.
    """

    task: Task
    samples: np.ndarray
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]]
    wanted: slice

    def scores(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """`(place among the samples, rows, bins, scores (targets, wanted))`, one after another.

        Micro-batches go across the samples' borders.
        """
        task, each = self.task, self.wanted.stop - self.wanted.start
        drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        scores = np.empty((len(task.targets), each))

        def evaluate(start: int, stop: int) -> np.ndarray:
            parts = []
            for place, _, own in _pieces(start, stop, each):
                if place not in drawn:
                    drawn[place] = self.draw(int(self.samples[place]))
                parts.append(drawn[place][0][self.wanted][own])
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
            samples = self.samples[np.arange(start, stop) // each]
            return task.scores_of_copies((task.asarray(rows),), samples)

        total = len(self.samples) * each
        for start, stop, found in task.schedule.run(total, evaluate, key="forward"):
            for place, here, own in _pieces(start, stop, each):
                scores[:, own] = found[:, here]
                if own.stop == each:
                    yield place, *drawn.pop(place), scores


def _pieces(start: int, stop: int, each: int) -> Iterator[tuple[int, slice, slice]]:
    """What items start to stop hold of each sample: where among them, and where of its `each`."""
    for sample in range(start // each, (stop - 1) // each + 1):
        first, last = max(start, sample * each), min(stop, (sample + 1) * each)
        yield (
            sample,
            slice(first - start, last - start),
            slice(first - sample * each, last - sample * each),
        )


def _categorical(given: Any, task: Task) -> tuple[int, ...]:
    """The columns that are categories, by number: those of words, and those given."""
    batch = task.batch
    names, width = task.wrapped.feature_names or batch.columns, batch.arrays[0].shape[1]
    found = [c for c, words in enumerate(batch.categories or ()) if words is not None]
    for column in [given] if isinstance(given, str | int) else given:
        if isinstance(column, str) and names is not None and column in names:
            found.append(names.index(column))
        elif isinstance(column, int | np.integer) and 0 <= column < width:
            found.append(int(column))
        else:
            raise MethodError(
                f"Expected categorical to name columns or number them from 0 to {width - 1}, got"
                f" {column!r}."
            )
    return tuple(found)
