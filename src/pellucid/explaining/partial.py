"""What was found before something was raised."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pellucid.errors import PellucidError
from pellucid.explanation import Explanation
from pellucid.methods.base import Attribution
from pellucid.task import Task


def keep_finished(
    error: BaseException, task: Task, explained: Callable[[Attribution], Explanation]
) -> None:
    """Give `error` the explanation of the samples that have values, as its `partial`.

    What the method warned of stays, such as values that were to be known better.

    `explained` builds the explanation of an attribution of the whole batch.
    """
    if task.kept is None:
        return
    rows, attribution = task.kept
    if not len(rows):
        return
    whole = explained(replace(attribution, warnings=()))
    names = f"{rows[:20].tolist()}" + (", ..." if len(rows) > 20 else "")
    missing = np.setdiff1d(np.arange(task.count), rows)
    warning = (
        f"interrupted by {type(error).__name__}: these are the samples {names} of a batch of"
        f" {task.count}"
    )
    partial = replace(whole[rows], warnings=(warning, *attribution.warnings))
    if isinstance(error, PellucidError):
        error.partial = partial
    else:
        setattr(error, "partial", partial)  # noqa: B010 - any exception takes it
    error.add_note(
        f"{len(rows)} of {task.count} samples have values, {missing[:20].tolist()} have none."
        " The exception's `partial` is the explanation of those that have."
    )
