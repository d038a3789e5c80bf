"""The features of one sample by importance, as a table."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.explanation import Explanation, Part
from pellucid.plain import readable
from pellucid.units import by_unit


@dataclass(frozen=True)
class FeatureTable:
    """Features of one sample by importance: `rows` of (feature, attribution, value)."""

    rows: tuple[tuple[str, float, float | str], ...]
    title: str

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        width = max([len(r[0]) for r in self.rows] + [7])
        lines = [f"{'feature':<{width}}  attribution        value"]
        lines += [f"{name:<{width}}  {a:>+11.4g}  {_cell(v):>11}" for name, a, v in self.rows]
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{escape(n)}</td><td>{a:+.4g}</td><td>{escape(_cell(v))}</td></tr>"
            for n, a, v in self.rows
        )
        return (
            f"<table><caption>{escape(self.title)}</caption><thead><tr><th>feature</th>"
            f"<th>attribution</th><th>value</th></tr></thead><tbody>{cells}</tbody></table>"
        )


def _cell(value: float | str) -> str:
    return "" if value != value else readable(value)


def top_features(explanation: Explanation, k: int, sample: int) -> FeatureTable:
    """See `Explanation.top`."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"Expected k to be a whole number of 1 or more, got {k!r}.")
    count = len(explanation)
    whole = isinstance(sample, int | np.integer) and not isinstance(sample, bool)
    if not whole or not -count <= sample < count:
        raise InputError(f"No sample {sample!r} among {count}: expected 0 to {count - 1}.")
    rows: list[tuple[str, float, float | str]] = []
    for given in explanation[sample].parts:
        part = by_unit(given)
        values = part.values[0]
        flat = values.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:k]
        prefix = f"{part.name}: " if len(explanation.parts) > 1 else ""
        for i in order:
            position = np.unravel_index(int(i), values.shape)
            value = part.value_at(0, int(i))
            name = prefix + _feature(part, position)
            rows.append((name, float(flat[i]), np.nan if value is None else value))
    rows.sort(key=lambda row: -abs(row[1]))
    title = f"{explanation.method}: {explanation.target_names[sample]}"
    return FeatureTable(tuple(rows[:k]), title)


def _feature(part: Part, position: tuple[Any, ...]) -> str:
    if part.feature_names is not None and len(position) == 1:
        return part.feature_names[int(position[0])]
    pairs = zip(part.dims[1:], position, strict=True)
    return ", ".join(f"{name} {int(at)}" for name, at in pairs)
