"""Partial dependence, and the curves of single rows it is the mean of."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.effects.effect import Effect, column_of, the_table, words_of
from pellucid.engine.schedule import Progress
from pellucid.errors import InputError
from pellucid.explaining.preparing import prepare
from pellucid.number_types import in_type, nearest_in_type
from pellucid.task import Task
from pellucid.types import TargetLike


def partial_dependence(
    model: Any,
    data: Any,
    features: Any,
    *,
    target: TargetLike = None,
    grid: int | Sequence[Any] | None = None,
    percentiles: tuple[float, float] = (0.05, 0.95),
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> Effect:
    """The mean score over a table with one column (or two) set to a value, for many values.

    PD(v) = (1/n) Σ_i f(x_i, columns ← v)

    `features` is a column's name or number, or a pair. `grid` is a number of points between the
    `percentiles` of the column (20, for a pair 10; all values where there are fewer), or the
    values themselves, for a pair one such for each; of a category it is the categories. `target`
    names the output where there are several. Returns an `Effect` in units of the explained score;
    its `stderr` is over the rows as a sample of more. Where columns go together, f is asked about
    rows that cannot be; `ale` is not. Cost: n forwards a point.
    Source: Friedman 2001, section 8.2.

    Raises `InputError` for an unknown column or grid, `CapabilityError` for what is no table.

    >>> partial_dependence(model, table, "dose", grid=[0.0, 1.0]).values.shape
    (2,)
    """
    pair = isinstance(features, tuple | list)
    named = tuple(features) if pair else (features,)
    if len(named) not in {1, 2}:
        raise InputError(f"Expected one column or a pair, got {features!r}.")
    task = prepare(model, data, target, batch_size=batch_size, progress=progress)
    columns = [column_of(task, f) for f in named]
    if len({number for number, _ in columns}) < len(columns):
        raise InputError(f"Expected two different columns, got {features!r}.")
    several = pair and grid is not None and not isinstance(grid, int | np.integer)
    grids = list(grid) if several else [grid] * len(named)  # type: ignore[arg-type]
    if len(grids) != len(named):
        raise InputError(f"Expected a grid for each of the two columns, got {len(grids)}.")
    points = [
        _points(task, c, g, percentiles, few=10 if pair else 20)
        for (c, _), g in zip(columns, grids, strict=True)
    ]
    curves = _curves(task, [c for c, _ in columns], points)
    return _effect(task, columns, points, curves, individual=not pair)


def ice(model: Any, data: Any, feature: Any, **options: Any) -> Effect:
    """The score of every row along one column: the curves whose mean is partial dependence.

    ICE_i(v) = f(x_i, column ← v), in `individual (n, g)`; options and errors as for
    `partial_dependence`, which computes the same and is drawn without them. Curves that cross are
    interactions; `plot(centred=True)` lets them start from one point.
    Source: Goldstein, Kapelner, Bleich, Pitkin 2015 (arXiv 1309.6392), section 3.

    >>> ice(model, table, "dose", grid=[0.0, 1.0]).individual.shape == (len(table), 2)
    True
    """
    if isinstance(feature, tuple | list):
        raise InputError(f"Expected one column, got {feature!r}; partial_dependence takes two.")
    found = partial_dependence(model, data, feature, **options)
    return replace(found, kind="ice")


def _points(
    task: Task, column: int, grid: Any, percentiles: tuple[float, float], *, few: int
) -> np.ndarray:
    words, own = words_of(task, column), the_table(task)[:, column]
    if words is not None:
        return _categories(words, own, grid)
    kind, there = own.dtype, own[np.isfinite(own)].astype(np.float64)
    if grid is not None and not isinstance(grid, int | np.integer):
        points = np.asarray(grid, dtype=np.float64)
        if points.ndim != 1 or not len(points) or not np.isfinite(points).all():
            raise InputError(f"Expected grid to be a number of points or finite values: {grid!r}.")
        in_type(points, kind, "the grid")
        return points
    count = few if grid is None else int(grid)
    low, high = percentiles
    if count < 2 or isinstance(grid, bool) or not 0 <= low < high <= 1:
        raise InputError(
            f"Expected 2 points or more between percentiles within 0 and 1, got grid={grid!r},"
            f" percentiles={percentiles!r}."
        )
    if not len(there):
        raise InputError("The column holds no number to look along: all of it is missing.")
    distinct = np.unique(there)
    if len(distinct) <= count:
        return distinct
    even = np.linspace(np.quantile(there, low), np.quantile(there, high), count)
    # A model of whole numbers is asked about whole numbers.
    return even if kind.kind == "f" else np.unique(nearest_in_type(even, kind)).astype(np.float64)


def _categories(words: tuple[str, ...], own: np.ndarray, grid: Any) -> np.ndarray:
    if grid is None or isinstance(grid, int | np.integer):
        return np.unique(own)
    unknown = [word for word in grid if str(word) not in words]
    if unknown:
        raise InputError(
            f"No category {unknown[0]!r}: those of the data are {', '.join(map(repr, words))}."
        )
    return np.array([float(words.index(str(word))) for word in grid])


def _curves(task: Task, columns: list[int], points: list[np.ndarray]) -> np.ndarray:
    """`(n, points of the first, points of the second)`: every row at every point."""
    x, count = the_table(task), task.count
    sizes = [len(p) for p in points]
    curves = np.empty(count * int(np.prod(sizes)))

    def evaluate(start: int, stop: int) -> np.ndarray:
        rows, *at = np.unravel_index(np.arange(start, stop), (count, *sizes))
        given = x[rows].astype(np.float64)
        for column, values, index in zip(columns, points, at, strict=True):
            given[:, column] = values[index]
        return task.score_of((task.asarray(given),), rows)

    for start, stop, scores in task.schedule.run(len(curves), evaluate, key="forward"):
        curves[start:stop] = scores
    return curves.reshape(count, *sizes)


def _effect(
    task: Task,
    columns: list[tuple[int, str]],
    points: list[np.ndarray],
    curves: np.ndarray,
    *,
    individual: bool,
) -> Effect:
    x = the_table(task)
    count = len(curves)
    spread = curves.std(axis=0, ddof=1) if count > 1 else np.full(curves.shape[1:], np.nan)
    return Effect(
        kind="partial_dependence",
        features=tuple(name for _, name in columns),
        grid=tuple(points),
        values=curves.mean(axis=0),
        stderr=spread / np.sqrt(count),
        categories=tuple(words_of(task, c) for c, _ in columns),
        data=tuple(x[:, c] for c, _ in columns),
        target_name=task.target.names[0],
        explained=task.wrapped.explained(task.x),
        evaluations=task.model.evaluations,
        individual=curves if individual else None,
    )
