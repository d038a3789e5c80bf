"""Data frames as tables of numbers and back: every category gets a number while it is perturbed."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pellucid.errors import InputError, MissingExtraError, quote_nearest

MISSING = "missing"
"""What a category that is not there is called."""

_LIBRARIES = {
    "pandas": "DataFrame", "polars": "DataFrame", "modin.pandas": "DataFrame", "pyarrow": "Table",
}  # fmt: skip
_WITH_ROWS = ("pandas", "polars", "modin.pandas")
"""Libraries that have an object for a single row or column by itself."""


def is_frame(x: Any) -> bool:
    """Whether `x` is a data frame; a library that was not imported cannot have made one."""
    loaded = ((sys.modules.get(name), kind) for name, kind in _LIBRARIES.items())
    return any(
        module is not None and isinstance(x, getattr(module, kind)) for module, kind in loaded
    )


def is_frame_row(x: Any) -> bool:
    """Whether `x` is one row or column of a data frame, which says no types of its own."""
    loaded = (sys.modules.get(name) for name in _WITH_ROWS)
    return any(module is not None and isinstance(x, module.Series) for module in loaded)


def indexed_otherwise(x: Any, y: Any) -> bool:
    """Whether `x` and `y` are a frame and a column with indices that differ (pandas, modin)."""
    if not (is_frame(x) and (is_frame(y) or is_frame_row(y))):
        return False
    import narwhals as nw

    first = nw.maybe_get_index(nw.from_native(x))
    second = nw.maybe_get_index(nw.from_native(y, allow_series=True))
    return first is not None and second is not None and not first.equals(second)


class Frame:
    """The columns of a data frame: what they hold, and the numbers of their categories.

    A column of numbers (or truth values) stays as it is, a missing number as NaN. Any other
    column is a category: each distinct value, a missing one too, has a number, in the order of
    the values, those of rows that come later after them. What is swapped between rows by number
    is swapped between them as it is.

    Raises `InputError` for columns of the same name, and where `fitted` names one that is missing.
    """

    def __init__(self, x: Any, fitted: Sequence[str] | None = None) -> None:
        frame = _read(x)
        self.names = _chosen(frame.columns, fitted)
        self._library = frame.implementation
        self._types = {n: (frame[n].dtype, _native_type(frame[n])) for n in self.names}
        self._known = {
            name: _distinct(frame[name])
            for name in self.names
            if not _holds_numbers(self._types[name][0])
        }
        self._numbers = {name: _numbered(values) for name, values in self._known.items()}

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...]:
        """For each column the words of its categories by number; None where it holds numbers."""
        return tuple(
            tuple(_word(v) for v in self._known[n].to_list()) if n in self._known else None
            for n in self.names
        )

    def encode(self, x: Any) -> np.ndarray:
        """`(n, columns)` float64 of a frame with these columns; new categories get new numbers.

        Raises `InputError` for a column that is missing or holds words where x had numbers.
        """
        frame = _read(x)
        _chosen(frame.columns, self.names)
        columns = [self._column(name, frame[name]) for name in self.names]
        return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))

    def named(self, x: Any) -> Any:
        """An array of numbers as a data frame with these columns.

        Raises `InputError` for another number of columns, and where a column is a category.
        """
        import narwhals as nw

        array = np.asarray(x)
        array = array[None] if array.ndim == 1 else array
        words = [str(n) for n in self.names if n in self._known]
        if words or array.ndim != 2 or array.shape[1] != len(self.names):
            raise InputError(
                f"Expected rows with the columns {', '.join(repr(str(n)) for n in self.names)},"
                f" got an array of shape {array.shape}.\n  Pass a data frame: "
                + (f"{words[0]!r} is a category." if words else "its columns are found by name.")
            )
        columns = {n: array[:, i] for i, n in enumerate(self.names)}
        made = {n: nw.new_series(str(n), c, backend=self._library) for n, c in columns.items()}
        return nw.from_dict(
            {n: s.to_native() for n, s in made.items()}, backend=self._library
        ).to_native()

    def encode_row(self, row: Any) -> np.ndarray:
        """One row given as a dict or a row of a data frame, `(columns,)` float64."""
        given = {str(name): value for name, value in dict(row).items()}
        absent = [str(n) for n in self.names if str(n) not in given]
        if absent:
            raise InputError(
                f"The row given as a dict by column has no {', '.join(map(repr, absent))}.\n"
                "  A row has a value for every column: dict(frame.iloc[0]), or frame.iloc[[0]]."
            )
        found = np.empty(len(self.names))
        for i, name in enumerate(self.names):
            value = given[str(name)]
            if name in self._known:
                found[i] = self._number(name, value)
            else:
                found[i] = _as_number(name, value)
        return found

    def _number(self, name: Any, value: Any) -> int:
        """The number of a category, a new one for a value that no row had so far."""
        import narwhals as nw

        numbers = self._numbers[name]
        if _key(value) in numbers:
            return numbers[_key(value)]
        kind, native = self._types[name]
        folded = {str(k).strip().casefold() for k in numbers}
        try:
            series = nw.new_series(str(name), [value], backend=self._library)
            if kind in {nw.Categorical, nw.Enum} and series.implementation.is_pandas_like():
                series = nw.from_native(series.to_native().astype(native), series_only=True)
            else:
                series = series.cast(kind)
            fits = series.null_count() == 0 and str(value).strip().casefold() not in folded
        except Exception as error:
            raise self._no_category(name, value) from error
        if not fits:
            raise self._no_category(name, value)
        self._learn(name, series)
        return numbers[_key(value)]

    def _no_category(self, name: Any, value: Any) -> InputError:
        known = self.categories[self.names.index(name)] or ()
        return InputError(
            f"The column {name!r} has no category {value!r}; those of the data are"
            f" {', '.join(map(repr, known))}."
        )

    def decode(self, table: np.ndarray) -> Any:
        """Rows of numbers as a data frame of the kind, and with the types, that came."""
        import narwhals as nw

        made = {}
        for i, name in enumerate(self.names):
            if name in self._known:
                numbers = table[:, i].astype(np.int64)
                series = nw.maybe_reset_index(self._known[name][numbers])
            else:
                values = np.ascontiguousarray(table[:, i])
                series = nw.new_series(str(name), values, backend=self._library)
                series = _typed(series, values, *self._types[name])
            made[name] = series.to_native()
        return nw.from_dict(made, backend=self._library).to_native()

    def _column(self, name: Any, series: Any) -> np.ndarray:
        if name not in self._known:
            return _numbers_of(name, series)
        keys = [_key(value) for value in series.to_list()]
        if not set(keys) <= set(self._numbers[name]):
            self._learn(name, series)
        return np.array([self._numbers[name][key] for key in keys], dtype=np.float64)

    def _learn(self, name: Any, series: Any) -> None:
        import narwhals as nw

        numbers = self._numbers[name]
        fresh = _distinct(series, known=numbers)
        if fresh.implementation != self._library:
            values = nw.new_series(str(name), fresh.to_list(), backend=self._library)
            fresh = values.cast(self._types[name][0])
        known = nw.concat([s.alias("c").to_frame() for s in (self._known[name], fresh)])
        self._known[name] = nw.maybe_reset_index(known["c"])
        numbers.update({_key(v): len(numbers) + i for i, v in enumerate(fresh.to_list())})


def rows_of_frame(x: Any, places: np.ndarray) -> Any:
    """The rows at some places of a data frame, as a data frame of its kind."""
    return _read(x)[places.tolist()].to_native()


def arrow_to_pandas(x: Any) -> Any:
    """A pyarrow table as a pandas frame, for what takes no other; anything else as it is."""
    pyarrow = sys.modules.get("pyarrow")
    return x.to_pandas() if pyarrow is not None and isinstance(x, pyarrow.Table) else x


def _native_type(series: Any) -> Any:
    """The library's own type of a column, where it says more than narwhals' (pandas alone)."""
    return series.to_native().dtype if series.implementation.is_pandas_like() else None


def _read(x: Any) -> Any:
    try:
        import narwhals as nw
    except ModuleNotFoundError as error:
        raise MissingExtraError("narwhals", "tables", "Explaining a data frame") from error
    try:
        return nw.from_native(x, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        raise InputError(
            f"The data frame has columns of the same name: {error}\n"
            "  Rename them, so that each attribution has a name of its own."
        ) from error


def _chosen(columns: Sequence[Any], wanted: Sequence[Any] | None) -> list[Any]:
    """The columns named, as the frame itself has their names; all where none are."""
    if wanted is None:
        return list(columns)
    named = {str(name): name for name in columns}
    missing = [str(name) for name in wanted if str(name) not in named]
    if missing:
        raise InputError(
            f"The table has no column {missing[0]!r}; expected"
            f" {', '.join(repr(str(n)) for n in wanted)}."
            + f"\n  {quote_nearest(missing[0], named)}".rstrip()
        )
    return [named[str(name)] for name in wanted]


def _holds_numbers(kind: Any) -> bool:
    import narwhals as nw

    return kind.is_numeric() or kind == nw.Boolean


def _distinct(series: Any, known: Mapping[Any, int] = {}) -> Any:
    """Each value that is not known once, in the type of the column and the order of the values.

    What is missing comes last; values without an order (words beside numbers) as they come.
    """
    import narwhals as nw

    first: dict[Any, int] = {}
    for place, value in enumerate(series.to_list()):
        if _key(value) not in known:
            first.setdefault(_key(value), place)
    there = [key for key in first if key is not None]
    if series.dtype in {nw.Categorical, nw.Enum} and series.implementation.is_pandas_like():
        order = {c: i for i, c in enumerate(series.to_native().cat.categories)}
        there.sort(key=lambda key: order[key])
    else:
        with suppress(TypeError):
            there.sort()
    places = [first[key] for key in there] + ([first[None]] if None in first else [])
    return nw.maybe_reset_index(series[places])


def _numbered(values: Any) -> dict[Any, int]:
    return {_key(value): number for number, value in enumerate(values.to_list())}


def _key(value: Any) -> Any:
    """A value as a key: all that is missing is one."""
    return None if _is_missing(value) else value


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    other = value != value  # so it is of NaN and NaT; pandas's NA does not even answer
    return not isinstance(other, bool | np.bool_) or bool(other)


def _word(value: Any) -> str:
    return MISSING if _key(value) is None else str(value)


def _numbers_of(name: Any, series: Any) -> np.ndarray:
    import narwhals as nw

    if not _holds_numbers(series.dtype):
        raise InputError(
            f"The column {name!r} holds {series.dtype} here, and numbers in the rows that are"
            " explained."
        )
    return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)


def _as_number(name: Any, value: Any) -> float:
    try:
        return np.nan if _is_missing(value) else float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"The column {name!r} holds numbers, got {value!r}.") from error


def _typed(series: Any, values: np.ndarray, kind: Any, native: Any) -> Any:
    """Numbers in their column's type where that holds them: means and missing ones stay real."""
    import narwhals as nw

    there = np.isfinite(values)
    whole = kind.is_integer() and (values[there] == np.rint(values[there])).all()
    truth = kind == nw.Boolean and np.isin(values[there], (0, 1)).all()
    if not (kind.is_float() or whole or truth):
        return series
    if series.implementation.is_pandas_like():
        # NumPy's whole numbers and truth values know nothing missing; pandas's own types do.
        if not there.all() and isinstance(native, np.dtype) and native.kind != "f":
            return series
        return nw.from_native(series.to_native().astype(native), series_only=True)
    return series.fill_nan(None).cast(kind)
