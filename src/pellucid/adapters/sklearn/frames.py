"""Arrays between what a user passes and what an estimator was fitted on."""

from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.inputs.frames import is_frame_row
from pellucid.number_types import real_table

Names = tuple[str, ...] | None
"""The columns an estimator was fitted on, where it knows them."""


def as_table(x: Any) -> np.ndarray:
    """Real numbers in rows and columns. Raises `InputError` for words outside a data frame."""
    array = np.asarray(x.toarray() if hasattr(x, "toarray") else x)
    if array.dtype.kind not in "fiub":
        hint = (
            "One row of a data frame has lost its columns' types: pass frame.iloc[[0]]."
            if is_frame_row(x)
            else "Pass the data frame itself: its words and categories are kept as they are."
        )
        raise InputError(
            f"Expected a table of numbers, got a {type(x).__name__} of {array.dtype}.\n  {hint}"
        )
    return real_table(array)


def as_fitted(table: np.ndarray, fitted: Names) -> Any:
    """The table as the estimator knows it: a data frame where it was fitted on one."""
    if fitted is None:
        return table
    import pandas  # what knows the names of its columns was fitted on a data frame

    return pandas.DataFrame(table, columns=list(fitted))
