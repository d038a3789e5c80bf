"""Reference inputs of a task, and what the model says of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.errors import InputError, ModelError
from pellucid.inputs.baselines import make_baseline
from pellucid.inputs.batch import Batch
from pellucid.inputs.frames import is_frame, is_frame_row
from pellucid.running.outputs import repeat_outputs, single_output

if TYPE_CHECKING:
    from pellucid.task import Task


def make_baselines(
    spec: Any, batch: Batch, *, seed: int, keep_integers: bool
) -> tuple[np.ndarray, ...]:
    """A reference for each input, `(n, ...)`; `spec` as in `make_baseline`, or one per input."""
    return tuple(
        make_baseline(s, a, dims, seed=seed, name=name, keep_integers=keep_integers)
        for s, a, dims, name in zip(
            _per_input(spec, batch), batch.arrays, batch.dims, batch.names, strict=True
        )
    )


def row_of_frame(task: "Task", spec: Any) -> np.ndarray | None:
    """The reference that a row (or rows) of a data frame, or a dict by column, stands for."""
    columns, categories = task.batch.columns, task.batch.categories
    if len(task.batch.arrays) == 1 and columns is not None:
        if is_frame(spec):
            rows = task.wrapped.accept(spec, more=True).arrays[0]
            if len(rows) not in {1, task.count}:
                raise InputError(f"Expected a baseline of 1 or {task.count} rows, got {len(rows)}.")
            return rows
        by_column = isinstance(spec, Mapping) and not set(spec) <= set(task.batch.names)
        if categories is not None and (by_column or is_frame_row(spec)):
            return task.model.adapter.accept_row(dict(spec))
    words = [c for c, known in zip(columns or (), categories or (), strict=False) if known]
    if words and not (isinstance(spec, np.ndarray) and spec.ndim):
        raise InputError(
            f"The column {words[0]!r} holds categories, and a baseline of {spec!r} is none.\n"
            "  A row of the data is one for all columns, baseline=frame.iloc[[0]]; the Shapley"
            " methods take many, background=frame."
        )
    return None


def baseline_scores(task: "Task", baseline: tuple[np.ndarray, ...]) -> np.ndarray:
    """f(x') of each sample for each target, `(targets, n)`; see `Task.baseline_scores_each`."""
    shared = task.opened is None and all(bool((b == b[:1]).all()) for b in baseline)
    native = task.in_own_type(tuple(map(task.asarray, baseline)))

    def evaluate(start: int, stop: int) -> np.ndarray:
        rows = np.arange(start, stop)
        leaves = tuple(a[start : stop if not shared else start + 1] for a in native)
        with task.naming_samples(leaves, rows[: int(leaves[0].shape[0])]):
            outputs = task.run(leaves, rows)
        if shared:
            outputs = repeat_outputs(single_output(outputs), task.count, task.xp)
            rows = np.arange(task.count)
        return task.scores_of(outputs, rows)

    if shared:
        return finite_scores(evaluate(0, 1))
    run = task.schedule.run(task.count, evaluate, key="forward")
    return finite_scores(np.concatenate([scores for _, _, scores in run], axis=1))


def finite_scores(scores: np.ndarray) -> np.ndarray:
    """Scores of reference inputs, `(targets, n)`; `ModelError` where one is NaN or infinite."""
    if not np.isfinite(scores).all():
        raise ModelError(
            f"The model returned NaN or infinity for the baseline of the rows"
            f" {np.flatnonzero(~np.isfinite(scores).all(axis=0))[:20].tolist()}.\n"
            "  Choose a baseline that the model is defined on, such as a typical row of the data."
        )
    return scores


def _per_input(spec: Any, batch: Batch) -> tuple[Any, ...]:
    count = len(batch.arrays)
    if isinstance(spec, dict):
        try:
            return tuple(spec[name] for name in batch.names)
        except KeyError as error:
            raise InputError(
                f"Expected a baseline for each of the inputs {', '.join(map(repr, batch.names))},"
                f" got {', '.join(map(repr, spec))}: {error} is missing."
            ) from error
    if isinstance(spec, tuple) and count > 1:
        if len(spec) != count:
            raise InputError(f"Expected {count} baselines, one per input, got {len(spec)}.")
        return spec
    return (spec,) * count
