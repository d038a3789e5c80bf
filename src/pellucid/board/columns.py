"""What is known of each row beside the prediction: the columns that slices are cut from."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.inputs.batch import Batch
from pellucid.inputs.frames import Frame, is_frame
from pellucid.model import Model

_FEW = 10
"""A column of so few whole numbers is cut at each of them."""

_BINS = 5
_SHOWN_BINS = 20
_SHOWN_WORDS = 12
_NUMBERS = (int, float, np.integer, np.floating, np.bool_)
_MAY_BE_NONE = (float, np.floating, np.datetime64, np.timedelta64)


@dataclass(frozen=True, eq=False)
class Column:
    """One value a row, `(n,)` float64, NaN where it is missing; words of a category by number."""

    name: str
    values: np.ndarray
    words: tuple[str, ...] | None = None
    of: str = "input"
    """"input", "answer" (the label), or "given" (by the user)."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """How a column's values lie: counts in bins, or of its commonest words, and the mean error."""

    name: str
    edges: np.ndarray | None
    words: tuple[str, ...] | None
    counts: np.ndarray
    errors: np.ndarray
    """The mean error of the rows in each; NaN where there are none."""
    missing: int
    distinct: int


def columns_of(model: Model, batch: Batch) -> list[Column]:
    """The columns of tables; of pictures brightness and contrast, of series level and spread."""
    found = []
    several = len(batch.arrays) > 1
    for i, (array, dims) in enumerate(zip(batch.arrays, batch.dims, strict=True)):
        prefix = f"{batch.names[i]}: " if several else ""
        if array.dtype.kind not in "fiub":
            continue
        if dims == ("sample", "feature"):
            found += _of_table(model, batch, array, prefix, first=i == 0)
        elif {"height", "width"} <= set(dims):
            found += _two_numbers(array, f"{prefix}brightness", f"{prefix}contrast")
        elif "step" in dims:
            found += _two_numbers(array, f"{prefix}mean level", f"{prefix}spread")
    return found


def _of_table(
    model: Model, batch: Batch, array: np.ndarray, prefix: str, *, first: bool
) -> list[Column]:
    width = array.shape[1]
    names = model.feature_names or batch.columns
    if names is None or len(names) != width or not first:
        names = tuple(f"feature {j}" for j in range(width))
    known = batch.categories if first and batch.categories else (None,) * width
    return [
        Column(f"{prefix}{names[j]}", array[:, j].astype(np.float64), known[j])
        for j in range(width)
    ]


def _two_numbers(array: np.ndarray, mean: str, spread: str) -> list[Column]:
    """Mean and standard deviation of each row, a block of rows at a time."""
    flat = array.reshape(len(array), -1)
    found = np.empty((2, len(flat)))
    for start in range(0, len(flat), 256):
        part = flat[start : start + 256].astype(np.float64)
        found[:, start : start + 256] = part.mean(axis=1), part.std(axis=1)
    return [Column(mean, found[0]), Column(spread, found[1])]


def columns_given(given: Any, count: int) -> list[Column]:
    """What the user knows of the rows besides: a data frame, or a mapping of names to values."""
    if given is None:
        return []
    if is_frame(given):
        frame = Frame(given)
        table = frame.encode(given)
        columns = [
            Column(str(n), table[:, i], frame.categories[i], "given")
            for i, n in enumerate(frame.names)
        ]
    elif isinstance(given, Mapping):
        columns = [_given(str(name), values) for name, values in given.items()]
    else:
        raise InputError(
            "Expected slices to be a data frame, or a dict of a name and one value a row, got"
            f" {type(given).__name__}."
        )
    for column in columns:
        if column.values.shape != (count,):
            raise InputError(
                f"Expected slices[{column.name!r}] to hold one value for each of {count} rows, got"
                f" shape {column.values.shape}."
            )
        if np.isinf(column.values).any():
            odd = np.flatnonzero(np.isinf(column.values))
            raise InputError(
                f"Expected slices[{column.name!r}] to hold finite numbers, got infinity in"
                f" {len(odd)} rows, the first of them {odd[:10].tolist()}.\n"
                "  NaN says that a value is missing."
            )
    return columns


def _given(name: str, values: Any) -> Column:
    """Numbers as they are, anything else as words; None and what is no number are missing."""
    array = np.asarray(values)
    if array.dtype.kind in "US" and not isinstance(values, np.ndarray):
        array = np.asarray(values, dtype=object)  # a list's NaN would be the word "nan"
    if array.dtype.kind in "fiub":
        return Column(name, array.astype(np.float64), None, "given")
    found = np.full(array.shape, np.nan)
    there = ~np.array([_is_missing(v) for v in array.ravel()], dtype=bool).reshape(array.shape)
    known = array[there]
    if len(known) and all(isinstance(v, _NUMBERS) for v in known.tolist()):
        found[there] = known.astype(np.float64)
        return Column(name, found, None, "given")
    words, codes = np.unique(known.astype(str), return_inverse=True)
    found[there] = codes
    return Column(name, found, tuple(words.tolist()), "given")


def _is_missing(value: Any) -> bool:
    """None, a NaN, a time that is none, or pandas' NA, which is equal to nothing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, _MAY_BE_NONE) and value != value


def cut(column: Column) -> tuple[np.ndarray, list[str]]:
    """The number of the piece each row is in, `(n,)`, and what each piece is called.

    Categories and few whole numbers are a piece each, other numbers five of about equal size, what
    is missing one of its own. The pieces depend on the column alone, never on errors.
    """
    values, name = column.values, column.name
    there = ~np.isnan(values)
    codes = np.zeros(len(values), dtype=np.int64)
    if column.words is not None:
        codes[there] = values[there].astype(np.int64)
        titles = [f"{name} = {word}" for word in column.words]
    else:
        known = values[there]
        distinct = np.unique(known)
        if len(distinct) <= _BINS or (
            len(distinct) <= _FEW and (distinct == np.rint(distinct)).all()
        ):
            codes[there] = np.searchsorted(distinct, known)
            titles = [f"{name} = {_written(v)}" for v in distinct]
        else:
            inner = np.unique(
                np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower")
            )
            inner = inner[inner < distinct[-1]]
            codes[there] = np.searchsorted(inner, known)
            titles = _ranges(name, inner, float(distinct[0]))
    if not there.all():
        codes[~there] = len(titles)
        titles.append(f"{name} is missing")
    return codes, titles


def _ranges(name: str, inner: np.ndarray, least: float) -> list[str]:
    ends = [_written(v) for v in inner]
    between = [f"{low} < {name} ≤ {high}" for low, high in pairwise(ends)]
    first = f"{name} {'=' if inner[0] == least else '≤'} {ends[0]}"
    return [first, *between, f"{name} > {ends[-1]}"]


def _written(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def distribution(column: Column, errors: np.ndarray) -> Distribution:
    """How the column's values lie, and how the errors go with them."""
    there = ~np.isnan(column.values)
    values, own = column.values[there], errors[there]
    distinct = len(np.unique(values))
    if column.words is not None:
        counts = np.bincount(values.astype(np.int64), minlength=len(column.words))
        sums = np.bincount(values.astype(np.int64), weights=own, minlength=len(column.words))
        order = np.argsort(-counts, kind="stable")[:_SHOWN_WORDS]
        order = order[counts[order] > 0]
        words, edges = tuple(column.words[k] for k in order), None
        counts, sums = counts[order], sums[order]
    elif distinct <= _SHOWN_WORDS:
        found, place = np.unique(values, return_inverse=True)
        words, edges = tuple(map(_written, found)), None
        counts = np.bincount(place, minlength=distinct)
        sums = np.bincount(place, weights=own, minlength=distinct)
    else:
        edges = np.histogram_bin_edges(values, _SHOWN_BINS)
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _SHOWN_BINS - 1)
        words = None
        counts = np.bincount(place, minlength=_SHOWN_BINS)
        sums = np.bincount(place, weights=own, minlength=_SHOWN_BINS)
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return Distribution(column.name, edges, words, counts, mean, int((~there).sum()), distinct)
