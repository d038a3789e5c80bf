"""What a data set is: sizes, ranges, gaps, classes, and a hash of its content."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pellucid.inputs.batch import Batch
from pellucid.model import Model

MOST_COLUMNS = 60
"""Columns of a table that are listed one by one."""


@dataclass(frozen=True)
class ColumnCard:
    """One column: range and quartiles of its numbers, or its most frequent category."""

    name: str
    kind: str
    """"number" or "category"."""
    missing: int
    low: float | None
    median: float | None
    high: float | None
    most: str


@dataclass(frozen=True)
class DataCard:
    """A data set as the model takes it, past any preprocessing.

    `shapes` are of one sample of each input; `low` and `high` over all of them. `labels` counts
    the rows of each label, None where none were given. `digest` is a hash of every number.
    """

    rows: int
    kind: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    types: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    missing: int
    repeated: int
    """Rows that equal an earlier one in all inputs."""
    columns: tuple[ColumnCard, ...]
    labels: tuple[tuple[str, int], ...] | None
    label_count: int | None
    """How many different labels there are, of which the 20 most frequent are listed."""
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)


def data_card(model: Model, batch: Batch, labels: Any = None) -> DataCard:
    """The card of a batch, with its labels where there are any."""
    digest = hashlib.sha256()
    for array in batch.arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    seen = [_extremes(a) for a in batch.arrays]
    return DataCard(
        rows=len(batch),
        kind=model.modality(batch) if len(batch.arrays) == 1 else f"{len(batch.arrays)} inputs",
        names=batch.names,
        shapes=tuple(tuple(map(int, a.shape[1:])) for a in batch.arrays),
        types=tuple(str(a.dtype) for a in batch.arrays),
        low=tuple(low for low, _ in seen),
        high=tuple(high for _, high in seen),
        missing=sum(int(np.isnan(a).sum()) for a in batch.arrays if a.dtype.kind == "f"),
        repeated=_repeated(batch.arrays),
        columns=_columns(model, batch),
        labels=None if labels is None else _counted(labels),
        label_count=None if labels is None else len(set(np.asarray(labels).tolist())),
        digest=digest.hexdigest()[:16],
    )


def _extremes(array: np.ndarray) -> tuple[float, float]:
    if array.dtype.kind not in "fiub" or not array.size or np.isnan(array).all():
        return float("nan"), float("nan")
    return float(np.nanmin(array)), float(np.nanmax(array))


def _repeated(arrays: Sequence[np.ndarray]) -> int:
    def content(row: int) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            digest.update(np.ascontiguousarray(array[row]).tobytes())
        return digest.digest()

    count = len(arrays[0])
    return count - len({content(row) for row in range(count)})


def _counted(labels: Any) -> tuple[tuple[str, int], ...] | None:
    values = np.asarray(labels)
    if values.dtype.kind == "f" and len(np.unique(values)) > 20:
        return None
    return tuple((str(v), n) for v, n in Counter(values.tolist()).most_common(20))


def _columns(model: Model, batch: Batch) -> tuple[ColumnCard, ...]:
    if len(batch.arrays) != 1 or batch.dims[0] != ("sample", "feature"):
        return ()
    array = batch.arrays[0]
    names = model.feature_names or batch.columns
    if names is None or len(names) != array.shape[1]:
        names = tuple(f"feature {i}" for i in range(array.shape[1]))
    words = batch.categories or (None,) * array.shape[1]
    return tuple(
        _column(str(names[i]), array[:, i], words[i])
        for i in range(min(array.shape[1], MOST_COLUMNS))
    )


def _column(name: str, values: np.ndarray, words: tuple[str, ...] | None) -> ColumnCard:
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    kept = values[~missing]
    if words is not None:
        numbers, counts = np.unique(kept.astype(int), return_counts=True)
        most = int(np.argmax(counts)) if len(counts) else 0
        known = len(numbers) > 0 and 0 <= numbers[most] < len(words)
        said = f"{words[numbers[most]]} ({counts[most] / len(values):.0%})" if known else ""
        return ColumnCard(name, "category", int(missing.sum()), None, None, None, said)
    low, median, high = (
        (float(kept.min()), float(np.median(kept)), float(kept.max()))
        if kept.size
        else (None, None, None)
    )
    return ColumnCard(name, "number", int(missing.sum()), low, median, high, "")
