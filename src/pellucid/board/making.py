"""The one call: a model, a data set, its labels, and a page of how the model behaves on it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.board.answers import Answers, read_answers
from pellucid.board.columns import Column, Distribution, columns_given, columns_of, distribution
from pellucid.board.examples import ExampleGroup, check_each, make_examples
from pellucid.board.importance import REPEATS, make_importance
from pellucid.board.labels import check_labels
from pellucid.board.performance import classification, regression
from pellucid.board.places import make_places
from pellucid.board.result import Board, Stage
from pellucid.board.sampling import chosen_rows, rows_for_importance, rows_of, timed
from pellucid.board.slices import Slices, find_slices
from pellucid.counting import CountedModel
from pellucid.engine.progress import ProgressBar
from pellucid.engine.schedule import Progress, Schedule
from pellucid.errors import InputError
from pellucid.explaining.before import check_feature_names, check_seed
from pellucid.explaining.provenance import provenance
from pellucid.explanation import Explanation
from pellucid.inputs.batch import Batch
from pellucid.inputs.frames import indexed_otherwise
from pellucid.model import Model, wrap
from pellucid.running.outputs import check_class_names
from pellucid.task import Task

_SLICED = 50_000
_SHOWN_COLUMNS = 60
_BY_POSITION = (
    "The index of y is not that of x: labels were matched to rows by position. Pass"
    " y.loc[x.index] where they belong together by index."
)


def board(
    model: Any,
    x: Any,
    y: Any,
    *,
    method: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    examples: int = 4,
    slices: Any = None,
    alpha: float = 0.05,
    sample: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str = "How the model behaves",
    batch_size: int | str = "auto",
    progress: Progress | bool | None = None,
) -> Board:
    """A model's behaviour over a data set: how well it does, where it errs, and why.

    `x` is a batch as `explain` takes it, `y` one label a row: class numbers or names, or numbers
    to be predicted. All rows are predicted and scored; columns are shuffled over 2 000 of them,
    and `examples` rows of each kind (surely wrong, least sure, surely right) are explained by
    `method` with `parameters`, by default one that fits (see docs/board.md). Slices, conditions
    on one column or two whose rows err more than the rest, are searched over the columns of
    tables, over brightness and true class of pictures, and over `slices`, a dict or data frame of
    what else is known of the rows; with probability `alpha` at most one is found where errors fall
    at random. Labels are matched by position: another index than that of `x` is a warning.

    `sample` is how many rows to look at, drawn by `default_rng([seed, 64])`, None for all;
    `max_seconds` draws a sample where a trial shows that predictions of all rows would take half
    of that time or more, which the board says. `progress` is as in `explain`.

    Raises `InputError` for labels that are missing, of another length, or no classes of the model,
    `CapabilityError` for a model without one row of numbers for each input.

    >>> b = board(estimator, table, labels, examples=2)
    >>> b.importance.rows[0][0]          # the column that matters most
    'dose'
    """
    check_seed(seed)
    wrapped = wrap(model, example=x, class_names=class_names, feature_names=feature_names)
    wrapped = replace(wrapped, adapter=wrapped.adapter.for_one_explanation())
    batch = wrapped.accept(x)
    check_feature_names(wrapped, batch)
    each, labels = check_each(examples), check_labels(y, len(batch))
    by_position = indexed_otherwise(x, y)
    if len(batch) < 2:
        raise InputError("A board is of a data set: pass 2 rows or more.")
    if not 0 < alpha < 1:
        raise InputError(f"Expected 0 < alpha < 1, got {alpha!r}.")
    given, count = columns_given(slices, len(batch)), len(batch)
    began = time.perf_counter()
    run = _runner(wrapped, batch_size, progress, seed)
    rows, per_row = chosen_rows(lambda b: run(b, None), wrapped, batch, sample, max_seconds, seed)
    batch, labels = rows_of(wrapped, batch, rows), labels[rows]
    given = [replace(c, values=c.values[rows]) for c in given]
    bar = ProgressBar("predicting") if progress is True else None
    try:
        task = run(batch, bar if progress is True else progress or None)
    finally:
        if bar is not None:
            bar.close()
    answers = read_answers(task, labels)
    stages = [_stage("predictions", len(batch), task.model.evaluations.forward, began)]
    made = _made(
        wrapped, batch, answers, given, stages, rows, count=count, each=each, method=method,
        parameters=parameters or {}, alpha=alpha, seed=int(seed), title=title,
        batch_size=batch_size, per_row=per_row, max_seconds=max_seconds,
    )  # fmt: skip
    return replace(made, warnings=(_BY_POSITION, *made.warnings)) if by_position else made


def _made(
    model: Model,
    batch: Batch,
    answers: Answers,
    given: list[Column],
    stages: list[Stage],
    at: np.ndarray,
    *,
    count: int,
    each: int,
    method: str | None,
    parameters: Mapping[str, Any],
    alpha: float,
    seed: int,
    title: str,
    batch_size: int | str,
    per_row: float | None,
    max_seconds: float | None,
) -> Board:
    """The board of a batch whose rows stand in the data set at `at`."""
    classes = answers.probabilities is not None
    errors, warnings = answers.errors, _warnings(answers)
    began = time.perf_counter()
    if answers.probabilities is None:
        performance = regression(answers.labels, answers.predicted, seed)
    else:
        performance = classification(
            answers.labels, answers.predicted, answers.probabilities, answers.class_names, seed
        )
    stages.append(_stage("scores and curves", len(batch), 0, began))
    began = time.perf_counter()
    columns = columns_of(model, batch) + given
    sliced = columns + _class_as_column(batch, answers)
    found = _sliced(sliced, errors, alpha, seed, at)
    shown = [distribution(c, errors) for c in columns[:_SHOWN_COLUMNS]]
    stages.append(_stage("columns and slices", min(len(batch), _SLICED), 0, began))
    began = time.perf_counter()
    rows = rows_for_importance(len(batch), batch.arrays[0], per_row, max_seconds, REPEATS, seed)
    importance, spent, why = make_importance(
        model, batch, answers, rows, seed=seed, batch_size=batch_size
    )
    stages.append(_stage("importance", len(rows) if importance else 0, spent, began))
    began = time.perf_counter()
    shown_rows = make_examples(
        model, batch, answers, each=each, method=method, parameters=parameters, seed=seed,
        batch_size=batch_size, at=at,
    )  # fmt: skip
    groups, explanation = shown_rows.groups, shown_rows.explanation
    number = 0 if explanation is None else len(explanation)
    stages.append(_stage("examples", number, shown_rows.forward, began))
    began = time.perf_counter()
    places, looked, spent = make_places(
        model, batch, answers, explanation, parameters=parameters, per_row=per_row,
        max_seconds=max_seconds, seed=seed, batch_size=batch_size,
    )  # fmt: skip
    if places is not None:
        stages.append(_stage("places", looked, spent, began))
    facts = {k: v for k, v in provenance(model).items() if isinstance(v, str | int | float)}
    return Board(
        title=title,
        task="classification" if classes else "regression",
        count=count,
        rows=len(batch),
        class_names=answers.class_names,
        label_counts=np.bincount(answers.labels, minlength=len(answers.class_names))
        if classes
        else None,
        performance=performance,
        answers=() if classes else _numbers(answers),
        inputs=tuple(shown),
        slices=found,
        examples=groups,
        explanation=explanation,
        importance=importance,
        places=places,
        stages=tuple(stages),
        seed=seed,
        model=facts,
        notes=tuple(n for n in (*answers.notes, why, shown_rows.note) if n) + _left_out(columns),
        warnings=(
            *warnings,
            *filter(None, [shown_rows.warning]),
            *_of_examples(explanation, groups),
        ),
    )


def _runner(
    model: Model, batch_size: int | str, progress: Progress | bool | None, seed: int
) -> Callable[[Batch, Any], Task]:
    """What predicts a batch by the model's own outputs, in micro-batches."""

    def run(batch: Batch, told: Progress | None) -> Task:
        schedule = Schedule(
            batch_size,
            is_out_of_memory=model.adapter.is_out_of_memory,
            memory=model.batch_sizes,
            progress=told,
            kind=" ".join(f"{a.shape[1:]}{a.dtype}" for a in batch.arrays) + " ",
            layouts=model.adapter.layouts,
        )
        counted = CountedModel(model.adapter, peel=False)
        task = Task(model, batch, counted, seed=seed, schedule=schedule, keeps_integers=False)
        task.predict()
        check_class_names(model.class_names, task.outputs)
        return task

    return run


def _sliced(
    columns: list[Column], errors: np.ndarray, alpha: float, seed: int, at: np.ndarray
) -> Slices | None:
    """The slices, searched over at most 50 000 rows; None without columns or errors."""
    if not columns or not errors.any():
        return None
    note = ""
    if len(errors) > _SLICED:
        rows = np.sort(np.random.default_rng([seed, 65]).permutation(len(errors))[:_SLICED])
        columns = [replace(c, values=c.values[rows]) for c in columns]
        errors, at, note = errors[rows], at[rows], f"; over a sample of {_SLICED:,} rows"
    found = find_slices(columns, errors, alpha=alpha)
    if any(c.of == "answer" for c in columns):
        note += "; the true class among them: that errors differ by class is such a finding"
    kept = tuple(replace(s, rows=at[s.rows]) for s in found)
    return replace(found, found=kept, note=found.note + note)


def _class_as_column(batch: Batch, answers: Answers) -> list[Column]:
    """The label to slice by, where inputs have no columns of their own.

    Never the prediction: errors are a function of both, so that pairs of the two are wrong by
    what they say, and a class that is seldom right gathers errors that fall at random.
    """
    table = any(d == ("sample", "feature") for d in batch.dims)
    if table or answers.probabilities is None:
        return []
    labels = answers.labels.astype(np.float64)
    return [Column("true class", labels, answers.class_names, "answer")]


def _numbers(answers: Answers) -> tuple[Distribution, ...]:
    pairs = (("label", answers.labels), ("prediction", answers.predicted))
    return tuple(distribution(Column(n, v), answers.errors) for n, v in pairs)


def _of_examples(
    explanation: Explanation | None, groups: tuple[ExampleGroup, ...]
) -> tuple[str, ...]:
    """What the explanation warns of, with the rows of the data set that its samples are."""
    if explanation is None:
        return ()
    places = {e.place: e.row for g in groups for e in g.examples if e.place is not None}
    rows = ", ".join(str(places[k]) for k in sorted(places))
    return tuple(f"Examples (samples 0, 1, … are rows {rows}): {w}" for w in explanation.warnings)


def _left_out(columns: list[Column]) -> tuple[str, ...]:
    more = len(columns) - _SHOWN_COLUMNS
    return (f"{more} further columns are not drawn.",) if more > 0 else ()


def _warnings(answers: Answers) -> list[str]:
    """What makes a board say little: one class only, or the same answer to everything."""
    found = []
    labels = np.unique(answers.labels)
    if len(labels) == 1:
        what = answers.class_names[int(labels[0])] if answers.class_names else f"{labels[0]:g}"
        found.append(
            f"All labels are {what!r}: there is nothing to tell apart, so curves and what compares"
            " classes are left out."
            if answers.class_names
            else f"All labels are {what}: R² has no meaning."
        )
    if len(np.unique(answers.predicted)) == 1:
        found.append("The model gives every row the same answer.")
    if len(answers.labels) < 100:
        found.append(f"Only {len(answers.labels)} rows: intervals are wide, and slices are few.")
    return found


def _stage(name: str, rows: int, evaluations: int, began: float) -> Stage:
    return Stage(name, rows, evaluations, timed(began))
