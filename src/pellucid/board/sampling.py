"""Which rows are looked at where all of them would take too long."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.inputs.batch import Batch
from pellucid.model import Model

IMPORTANCE = 2000
_TRIAL = 256
_FEWEST = 200
_PREDICTIONS = 2_000_000


def timed(began: float) -> float:
    """Seconds since then."""
    return time.perf_counter() - began


def rows_of(model: Model, batch: Batch, rows: np.ndarray) -> Batch:
    """The batch of some rows; the same where these are all."""
    if len(rows) == len(batch):
        return batch
    arrays = tuple(a[rows] for a in batch.arrays)
    return replace(
        batch,
        leaves=tuple(map(model.adapter.asarray, arrays)),
        arrays=arrays,
        display=tuple(None if d is None else d[rows] for d in batch.display),
    )


def chosen_rows(
    run: Callable[[Batch], Any],
    model: Model,
    batch: Batch,
    sample: int | None,
    max_seconds: float | None,
    seed: int,
) -> tuple[np.ndarray, float | None]:
    """The rows to look at, in order, and the seconds a row takes where that was tried.

    With `max_seconds`, 256 rows are run twice, the first time to warm up.
    """
    count = len(batch)
    if sample is not None and (isinstance(sample, bool) or int(sample) != sample or sample < 2):
        raise InputError(f"Expected sample to be 2 rows or more, or None for all, got {sample!r}.")
    if max_seconds is not None and not max_seconds > 0:
        raise InputError(f"Expected max_seconds above 0, got {max_seconds!r}.")
    wanted, per_row = min(count, sample or count), None
    if max_seconds is not None and count > _TRIAL:
        trial = rows_of(model, batch, np.arange(_TRIAL))
        run(trial)
        began = time.perf_counter()
        run(trial)
        per_row = timed(began) / _TRIAL
        wanted = min(wanted, max(_FEWEST, int(max_seconds / 2 / per_row)))
    if wanted == count:
        return np.arange(count), per_row
    return np.sort(np.random.default_rng([seed, 64]).permutation(count)[:wanted]), per_row


def rows_for_importance(
    count: int,
    array: np.ndarray,
    per_row: float | None,
    max_seconds: float | None,
    repeats: int,
    seed: int,
) -> np.ndarray:
    """The rows that columns are shuffled over: 2 000, or what a quarter of the time allows.

    Of many columns fewer, of two million predictions, and never fewer than 200.
    """
    wanted = min(count, IMPORTANCE)
    if array.ndim == 2:
        wanted = min(wanted, max(_FEWEST, _PREDICTIONS // (repeats * max(1, array.shape[1]))))
    if per_row is not None and max_seconds is not None and array.ndim == 2:
        rows = int(max_seconds / 4 / (per_row * repeats * array.shape[1]))
        wanted = min(wanted, max(_FEWEST, rows))
    if wanted == count:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 66]).permutation(count)[:wanted])
