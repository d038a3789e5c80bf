"""Accumulated local effects of two columns: what they do together beyond what each does alone."""

import numpy as np

from pellucid.effects.effect import the_table
from pellucid.task import Task


def steps_of_pairs(
    task: Task,
    columns: tuple[int, int],
    rows: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Each row's second difference over its own cell, from f at the cell's four corners."""
    x = the_table(task)
    corners = np.empty((len(rows), 4))

    def evaluate(start: int, stop: int) -> np.ndarray:
        at, corner = np.divmod(np.arange(start, stop), 4)
        given = x[rows[at]].astype(np.float64)
        for column, ends, place, upper in zip(
            columns, edges, places, np.divmod(corner, 2), strict=True
        ):
            given[:, column] = ends[place[at] - 1 + upper]
        return task.score_of((task.asarray(given),), rows[at])

    for start, stop, scores in task.schedule.run(corners.size, evaluate, key="forward"):
        corners.reshape(-1)[start:stop] = scores
    low, right, up, both = corners.T
    return both - right - up + low


def accumulated_pairs(
    steps: np.ndarray, places: tuple[np.ndarray, np.ndarray], bins: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The surface at the edges `(K + 1, M + 1)` and its standard error; linear in cell means."""
    cells = int(np.prod(bins))
    cell = np.ravel_multi_index((places[0] - 1, places[1] - 1), bins)
    counts = np.bincount(cell, minlength=cells).astype(np.float64)
    there = np.maximum(counts, 1)
    means = np.bincount(cell, weights=steps, minlength=cells) / there
    left = np.bincount(cell, weights=(steps - means[cell]) ** 2, minlength=cells)
    # Of a cell with one row the spread is not known: the mean spread of all cells stands in.
    pooled = left.sum() / max(len(steps) - (counts > 0).sum(), 1)
    variance = np.where(counts > 1, left / np.maximum(counts - 1, 1), pooled) / there
    source = _nearest_held(counts.reshape(bins))
    # What a step of 1 in each held cell, and those that borrow from it, makes of the surface.
    borrowed = (source == np.arange(cells)[:, None]).astype(np.float64)
    shares = _without_own_effects(borrowed.reshape(cells, *bins), counts.reshape(bins))
    flat = shares.reshape(cells, -1)
    shape = shares.shape[1:]
    return (means @ flat).reshape(shape), np.sqrt(variance @ flat**2).reshape(shape)


def _nearest_held(counts: np.ndarray) -> np.ndarray:
    """For each cell the nearest one, in bins, that holds rows: itself, if it does `(cells,)`."""
    held = np.argwhere(counts > 0)
    everyone = np.argwhere(np.ones_like(counts, dtype=bool))
    distance = ((everyone[:, None] - held) ** 2).sum(axis=2)
    first, second = held[distance.argmin(axis=1)].T
    return first * counts.shape[1] + second


def _without_own_effects(steps: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Cell steps `(..., K, M)` added up, less what each column does alone, mean zero over rows."""
    wide = [(0, 0)] * (steps.ndim - 2) + [(1, 0), (1, 0)]
    surface = np.pad(steps, wide).cumsum(axis=-2).cumsum(axis=-1)
    surface = surface - _own_effect(surface, counts) - np.swapaxes(
        _own_effect(np.swapaxes(surface, -1, -2), counts.T), -1, -2
    )  # fmt: skip
    middles = (
        surface[..., 1:, 1:]
        + surface[..., :-1, 1:]
        + surface[..., 1:, :-1]
        + surface[..., :-1, :-1]
    ) / 4
    return surface - (middles * counts).sum(axis=(-2, -1), keepdims=True) / counts.sum()


def _own_effect(surface: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The accumulated effect of the first column in a surface `(..., K + 1, M + 1)`."""
    steps = np.diff(surface, axis=-2)
    between = (steps[..., 1:] + steps[..., :-1]) / 2
    mean = (between * counts).sum(axis=-1) / np.maximum(counts.sum(axis=1), 1)
    return np.pad(mean.cumsum(axis=-1), [(0, 0)] * (mean.ndim - 1) + [(1, 0)])[..., None]
