"""Feature permutation: what shuffling a column over a data set does to the model's answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features, make_features
from pellucid.methods.base import Attribution, Method
from pellucid.methods.perturbation.game import make_units
from pellucid.methods.perturbation.losses import Loss, make_loss
from pellucid.methods.perturbation.removal import most_parts
from pellucid.methods.registry import register_method
from pellucid.task import Task

_PURPOSE = 11
_LEAST = 4
"""Shuffles before a standard error is believed."""


@register_method("feature_permutation")
@dataclass(frozen=True)
class FeaturePermutation(Method):
    """How much worse, or merely different, the model's answers are with a column shuffled.

    a_ij = mean over r of L(y_i, f(x_i, column j from row π_r(i))) − L(y_i, f(x_i))

    A global method: x is the data set, and its rows trade places. With `labels` (class numbers or
    names, or numbers to predict) L is `loss`: "error" (1 for a wrong class, the default for
    classes), "log" (−log p of the label), "r2" (squared error over the variance of the labels,
    the default for numbers), "squared", "absolute", or a function `(outputs, labels) -> (n,)`.
    Without labels a_ij = mean |f(x_i, shuffled) − f(x_i)| of the explained score. `features`
    groups columns that are shuffled together; a group's value is in equal parts on its columns.
    `repeats` shuffles of the whole table are shared by all columns; π_r is the r-th
    `permutation(n)` of `default_rng([seed, 11])`. Returns `(n, columns)` float32, each row's share;
    `extras["importance"] (units,)` is their mean over rows, the permutation importance, and
    `extras["importance_stderr"]` its standard error over shuffles; `stderr` that of a row.
    With `tolerance`, shuffles end once the largest standard error of an importance is so small a
    share of the largest importance; `parameters["repeats"]` says how many there were, `warnings`
    where `repeats` did not do. Cost: `repeats` forwards a unit; `budget` caps them.
    Source: Breiman 2001, section 10; Fisher, Rudin, Dominici 2019 (arXiv 1801.01489), eq. 3.2.
    Departs from the paper: several shuffles instead of one, and a standard error.

    Raises `MethodError` for one row, labels that do not fit, or fewer than 2 shuffles.

    >>> e = explain(estimator, table, "feature_permutation", labels=labels, seed=1)
    >>> e.importance().rows[0][0]          # the column that matters most
    'dose'
    """

    labels: Any = None
    loss: Any = "auto"
    features: Any = None
    repeats: int = 10
    budget: int | None = None
    tolerance: float | None = None

    family = "perturbation"
    modalities = frozenset({"table"})
    values_are_losses = True
    is_global = True
    cost = "10 F a column"
    source = "Breiman 2001"

    def attribute(self, task: Task) -> Attribution:
        batch = task.batch
        if len(batch.arrays) != 1 or task.count < 2:
            raise MethodError(
                "feature_permutation shuffles the rows of one table; it needs 2 rows or more, got"
                f" {task.count} of {len(batch.arrays)} input(s)."
            )
        names = task.wrapped.feature_names or batch.columns
        made = make_features(
            self.features, batch.arrays[0], batch.dims[0], columns=names, name=batch.names[0]
        )
        units = int(made.counts[0])
        repeats = self._repeats(units)
        loss = make_loss(task, self.labels, self.loss)
        found = _Sums(np.zeros((2, task.count, units)), [])
        try:
            _shuffle(task, made, repeats, loss, found, self.tolerance)
        except BaseException:
            if found.repeats >= 2:  # every row is known, from fewer shuffles
                task.kept = np.arange(task.count), self._attribution(made, loss, found)
            raise
        return self._attribution(made, loss, found)

    def _attribution(self, made: Features, loss: Loss, found: "_Sums") -> Attribution:
        repeats = found.repeats
        errors = _spread(found.spread() / np.sqrt(repeats), made)
        by_repeat = np.stack(found.by_repeat)
        late = self.tolerance is not None and not found.within(self.tolerance)
        return Attribution(
            (_spread(found.mean(), made).astype(np.float32),),
            stderr=(errors.astype(np.float32),),
            extras={
                "importance": by_repeat.mean(axis=0).astype(np.float32),
                "importance_stderr": (by_repeat.std(axis=0, ddof=1) / np.sqrt(repeats)).astype(
                    np.float32
                ),
            },
            shared_extras=frozenset({"importance", "importance_stderr"}),
            parameters={"repeats": repeats, "loss": loss.name},
            warnings=(
                f"not converged: {repeats} shuffles leave a standard error above the tolerance;"
                " raise repeats, or accept this error",
            )
            if late
            else (),
            units=(made,),
            in_equal_parts=True,
        )

    def expected(self, task: Task) -> int | None:
        made = make_units(task, self.features)
        return task.count * (1 + self._repeats(most_parts(made)) * most_parts(made))

    def _repeats(self, units: int) -> int:
        if self.tolerance is not None and not self.tolerance > 0:
            raise MethodError(f"Expected a tolerance above 0, got {self.tolerance!r}.")
        repeats = self.repeats
        if self.budget is not None:
            repeats = min(repeats, (self.budget - 1) // units)
        if repeats < 2:
            raise MethodError(
                f"feature_permutation needs 2 shuffles for a standard error: {2 * units + 1}"
                f" evaluations a row for {units} features, got repeats={self.repeats},"
                f" budget={self.budget}."
            )
        return repeats


@dataclass
class _Sums:
    """Sums of a row's change and of its square over the shuffles, `(2, n, units)`.

    And the mean over rows of each whole shuffle, `(units,)`.
    """

    totals: np.ndarray
    by_repeat: list[np.ndarray]

    @property
    def repeats(self) -> int:
        return len(self.by_repeat)

    def add(self, change: np.ndarray) -> None:
        """One more whole shuffle, `(n, units)`."""
        self.totals += change, change**2
        self.by_repeat.append(change.mean(axis=0))

    def mean(self) -> np.ndarray:
        return self.totals[0] / self.repeats

    def spread(self) -> np.ndarray:
        total, squares = self.totals
        variance = (squares - total**2 / self.repeats) / (self.repeats - 1)
        return np.sqrt(np.maximum(variance, 0.0))

    def within(self, tolerance: float) -> bool:
        """Whether the largest error of an importance is that share of the largest, or less."""
        found = np.stack(self.by_repeat)
        errors = found.std(axis=0, ddof=1) / np.sqrt(self.repeats)
        return bool(errors.max() <= tolerance * np.abs(found.mean(axis=0)).max())


def _shuffle(
    task: Task, made: Features, repeats: int, loss: Loss, sums: _Sums, tolerance: float | None
) -> None:
    """Shuffles of all units into `sums`: `repeats`, or as few as the tolerance allows."""
    x, count, units = task.batch.arrays[0], task.count, int(made.counts[0])
    generator = task.generator(_PURPOSE)
    orders = np.stack([generator.permutation(count) for _ in range(repeats)])
    columns = [made.of(0) == unit for unit in range(units)]
    # So many shuffles run as one stream; whether they do is looked at between streams.
    stages = [repeats] if tolerance is None else [*range(_LEAST, repeats, 2), repeats]

    def evaluate(start: int, stop: int) -> np.ndarray:
        items = np.arange(first + start, first + stop)
        repeat, unit, rows = np.unravel_index(items, (repeats, units, count))
        given = x[rows].copy()
        donors = x[orders[repeat, rows]]
        taken = np.stack([columns[u] for u in unit])
        given[taken] = donors[taken]
        return loss.change((task.asarray(given),), rows)

    each = units * count
    for last in stages:
        first = sums.repeats * each
        left = last * each - first
        shuffle, filled = np.empty(each), 0
        for _, _, change in task.schedule.run(left, evaluate, key="forward"):
            while len(change):
                part = change[: each - filled]
                shuffle[filled : filled + len(part)] = part
                filled, change = filled + len(part), change[len(part) :]
                if filled == each:
                    sums.add(shuffle.reshape(units, count).T)
                    filled = 0
        if tolerance is not None and sums.within(tolerance):
            return


def _spread(values: np.ndarray, made: Features) -> np.ndarray:
    """Values of units on their columns, in equal parts."""
    units = made.of(0)
    held = units >= 0
    spread = np.zeros((len(values), len(units)))
    spread[:, held] = (values / np.bincount(units[held]))[:, units[held]]
    return spread
