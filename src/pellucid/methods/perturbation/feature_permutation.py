"""Feature permutation: what shuffling a column over a data set does to the model's answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features, make_features
from pellucid.methods.base import Attribution, Method
from pellucid.methods.perturbation.losses import Loss, make_loss
from pellucid.methods.registry import register_method
from pellucid.task import Task

_PURPOSE = 11


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
    Cost: `repeats` forwards a unit; `budget` caps them.
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

    family = "perturbation"
    modalities = frozenset({"table"})
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
        found = _shuffle(task, made, units, repeats, loss)
        errors = _spread(found.spread() / np.sqrt(repeats), made)
        by_repeat = found.by_repeat
        return Attribution(
            (_spread(found.mean(), made).astype(np.float32),),
            stderr=(errors.astype(np.float32),),
            extras={
                "importance": by_repeat.mean(axis=0).astype(np.float32),
                "importance_stderr": (by_repeat.std(axis=0, ddof=1) / np.sqrt(repeats)).astype(
                    np.float32
                ),
            },
            parameters={"repeats": repeats, "loss": loss.name},
        )

    def _repeats(self, units: int) -> int:
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
    """Sums over the shuffles, as they come: `(n, units)`, and means over rows by shuffle."""

    total: np.ndarray
    squares: np.ndarray
    by_repeat: np.ndarray

    def mean(self) -> np.ndarray:
        return self.total / len(self.by_repeat)

    def spread(self) -> np.ndarray:
        count = len(self.by_repeat)
        variance = (self.squares - self.total**2 / count) / (count - 1)
        return np.sqrt(np.maximum(variance, 0.0))


def _shuffle(task: Task, made: Features, units: int, repeats: int, loss: Loss) -> _Sums:
    x, count = task.batch.arrays[0], task.count
    generator = task.generator(_PURPOSE)
    orders = np.stack([generator.permutation(count) for _ in range(repeats)])
    columns = [made.of(0) == unit for unit in range(units)]
    sums = _Sums(np.zeros((count, units)), np.zeros((count, units)), np.zeros((repeats, units)))

    def evaluate(start: int, stop: int) -> np.ndarray:
        items = np.arange(start, stop)
        repeat, unit, rows = np.unravel_index(items, (repeats, units, count))
        given = x[rows].copy()
        donors = x[orders[repeat, rows]]
        taken = np.stack([columns[u] for u in unit])
        given[taken] = donors[taken]
        return loss.change((task.asarray(given),), rows)

    for start, stop, change in task.schedule.run(repeats * units * count, evaluate, key="forward"):
        repeat, unit, rows = np.unravel_index(np.arange(start, stop), (repeats, units, count))
        np.add.at(sums.total, (rows, unit), change)
        np.add.at(sums.squares, (rows, unit), change**2)
        np.add.at(sums.by_repeat, (repeat, unit), change / count)
    return sums


def _spread(values: np.ndarray, made: Features) -> np.ndarray:
    """Values of units on their columns, in equal parts."""
    units = made.of(0)
    held = units >= 0
    spread = np.zeros((len(values), len(units)))
    spread[:, held] = (values / np.bincount(units[held]))[:, units[held]]
    return spread
