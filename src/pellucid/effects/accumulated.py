"""Accumulated local effects: what small steps along a column do, added up."""

from typing import Any

import numpy as np

from pellucid.effects.accumulated_pairs import accumulated_pairs, steps_of_pairs
from pellucid.effects.effect import Effect, column_of, the_table, words_of
from pellucid.engine.schedule import Progress
from pellucid.errors import InputError
from pellucid.explaining.preparing import prepare
from pellucid.task import Task
from pellucid.types import TargetLike

_USUAL = {1: 20, 2: 10}
"""Bins of a column, where there are one or two of them."""


def ale(
    model: Any,
    data: Any,
    feature: Any,
    *,
    target: TargetLike = None,
    bins: int | None = None,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> Effect:
    """The mean change of the score along a column, from steps within the rows that are there.

    ALE(z_k) = Σ_{j ≤ k} (1/n_j) Σ_{i in bin j} [f(x_i, col. ← z_j) − f(x_i, col. ← z_{j−1})] − c

    z_0 … z_K are quantiles of the column (fewer where values repeat; `bins` is 20), and c makes the
    mean over the data zero. Unlike `partial_dependence` it asks only about steps to the ends of a
    row's own bin, so it holds where columns go together; it says nothing of the level. Returns an
    `Effect` in units of the explained score with a standard error over the rows within bins. Rows
    whose value is missing are left out. Cost: two forwards a row.

    Of a pair of columns it is what they do together beyond what each does alone: second differences

    Δ_i = f(x_i, ← z_k, w_m) − f(x_i, ← z_{k−1}, w_m) − f(x_i, ← z_k, w_{m−1}) + f(x_i, ← z_{k−1},
    w_{m−1}),

    mean over the rows of each cell of a grid (`bins` 10 a column), added up along both, less the
    accumulated effect of either column in that sum, mean zero over the data. It is 0 where the two
    only add up. `values (K + 1, M + 1)`; cells without rows take the mean of the nearest that has
    some. Cost: four forwards a row.
    Source: Apley & Zhu 2020 (arXiv 1612.08468), eq. 15 and 16; of pairs eq. 17 to 20.

    Raises `InputError` for an unknown column, a category (it has no order: `partial_dependence`),
    or a column of one value; `CapabilityError` for what is no table.

    >>> ale(model, table, "dose", bins=4).grid[0].shape
    (5,)
    """
    named = tuple(feature) if isinstance(feature, tuple | list) else (feature,)
    if len(named) not in _USUAL:
        raise InputError(f"Expected one column or a pair, got {feature!r}.")
    bins = _USUAL[len(named)] if bins is None else bins
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise InputError(f"Expected bins to be a whole number of 1 or more, got {bins!r}.")
    task = prepare(model, data, target, batch_size=batch_size, progress=progress)
    columns = [column_of(task, f) for f in named]
    if len({number for number, _ in columns}) < len(columns):
        raise InputError(f"Expected two different columns, got {feature!r}.")
    rows = np.arange(task.count)
    for column, name in columns:
        if words_of(task, column) is not None:
            raise InputError(
                f"{name!r} is a category, and steps along it need an order.\n"
                "  partial_dependence works on categories."
            )
        own = the_table(task)[:, column].astype(np.float64)
        rows = rows[np.isfinite(own[rows])]
    edges, places = [], []
    for column, name in columns:
        own = the_table(task)[rows, column].astype(np.float64)
        edges.append(_edges(own, int(bins), name))
        places.append(np.clip(np.searchsorted(edges[-1], own), 1, len(edges[-1]) - 1))
    if len(columns) == 1:
        steps = _steps(task, columns[0][0], rows, edges[0], places[0])
        values, errors = _accumulated(steps, places[0], len(edges[0]) - 1)
    else:
        both = columns[0][0], columns[1][0]
        steps = steps_of_pairs(task, both, rows, (edges[0], edges[1]), (places[0], places[1]))
        cells = len(edges[0]) - 1, len(edges[1]) - 1
        values, errors = accumulated_pairs(steps, (places[0], places[1]), cells)
    return Effect(
        kind="ale", features=tuple(name for _, name in columns), grid=tuple(edges),
        values=values, stderr=errors, categories=(None,) * len(columns),
        data=tuple(the_table(task)[:, c].astype(np.float64) for c, _ in columns),
        target_name=task.target.names[0], explained=task.wrapped.explained(task.x),
        evaluations=task.model.evaluations,
    )  # fmt: skip


def _edges(own: np.ndarray, bins: int, name: str) -> np.ndarray:
    """Quantiles of a column's values, each once."""
    at = np.linspace(0, 1, bins + 1)
    edges = np.unique(np.quantile(own, at, method="inverted_cdf")) if len(own) else own
    if len(edges) < 2:
        raise InputError(f"{name!r} has one value only, so there is no step along it.")
    return edges


def _steps(
    task: Task, column: int, rows: np.ndarray, edges: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """F at the upper end of each row's bin, less f at its lower end."""
    x = the_table(task)
    ends = np.empty((len(rows), 2))

    def evaluate(start: int, stop: int) -> np.ndarray:
        at, end = np.divmod(np.arange(start, stop), 2)
        given = x[rows[at]].astype(np.float64)
        given[:, column] = edges[places[at] - 1 + end]
        return task.score_of((task.asarray(given),), rows[at])

    for start, stop, scores in task.schedule.run(ends.size, evaluate, key="forward"):
        ends.reshape(-1)[start:stop] = scores
    return ends[:, 1] - ends[:, 0]


def _accumulated(steps: np.ndarray, places: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The centred curve at the edges and its standard error, exact for a sum of bin means."""
    counts = np.bincount(places - 1, minlength=bins).astype(np.float64)
    there = np.maximum(counts, 1)
    means = np.bincount(places - 1, weights=steps, minlength=bins) / there
    left = np.bincount(places - 1, weights=(steps - means[places - 1]) ** 2, minlength=bins)
    # Of a bin with one row the spread is not known: the mean spread of all bins stands in.
    pooled = left.sum() / max(len(steps) - (counts > 0).sum(), 1)
    variance = np.where(counts > 1, left / np.maximum(counts - 1, 1), pooled)
    # Row k of `sums` says how often each bin's step is in the curve at edge k.
    sums = np.tril(np.ones((bins + 1, bins)), -1)
    centre = (counts / counts.sum()) @ ((sums[:-1] + sums[1:]) / 2)
    shares = sums - centre
    return shares @ means, np.sqrt(shares**2 @ (variance / there))
