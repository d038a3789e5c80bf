"""Tables between what a user passes and what an estimator was fitted on."""

import sys
from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_nearest

Names = tuple[str, ...] | None
"""The columns an estimator was fitted on, where it knows them."""


def as_table(x: Any, fitted: Names) -> np.ndarray:
    """Numbers in rows and columns, in the order of the columns the estimator was fitted on.

    Raises `InputError` for a column that is missing or holds no numbers.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(x, pandas.DataFrame):
        return _numbers_of_frame(x if fitted is None else _chosen(x, fitted), pandas)
    array = np.asarray(x.toarray() if hasattr(x, "toarray") else x)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"Expected a table of numbers, got a {type(x).__name__} of {array.dtype}.\n"
            "  Encode texts and categories first, and wrap the part of the pipeline that follows."
        )
    return array


def _chosen(frame: Any, fitted: tuple[str, ...]) -> Any:
    columns = tuple(map(str, frame.columns))
    missing = [name for name in fitted if name not in columns]
    if missing:
        raise InputError(
            f"The table has no column {missing[0]!r}; the estimator was fitted on"
            f" {', '.join(map(repr, fitted))}.\n  {quote_nearest(missing[0], columns)}"
        )
    return frame.iloc[:, [columns.index(name) for name in fitted]]


def _numbers_of_frame(frame: Any, pandas: Any) -> np.ndarray:
    numeric = pandas.api.types.is_numeric_dtype
    words = [str(name) for name, kind in frame.dtypes.items() if not numeric(kind)]
    if words:
        raise InputError(
            f"The column {words[0]!r} holds no numbers ({len(words)} of {frame.shape[1]} columns do"
            " not), and only numbers can be set to a baseline.\n  Number its categories before the"
            " pipeline is fitted; an encoder inside the pipeline may stay."
        )
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def as_fitted(table: np.ndarray, fitted: Names) -> Any:
    """The table as the estimator knows it: a data frame where it was fitted on one."""
    if fitted is None:
        return table
    import pandas  # what knows the names of its columns was fitted on a data frame

    return pandas.DataFrame(table, columns=list(fitted))
