"""Explanations of the same inputs by several methods, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.units import by_unit


@dataclass(frozen=True)
class Comparison:
    """Explanations of the same inputs by several methods, and those that could not be made.

    `failures` maps a method to the message of its error; the other results are kept.
    """

    explanations: Mapping[str, Explanation]
    failures: Mapping[str, str]

    def __getitem__(self, method: str) -> Explanation:
        return self.explanations[method]

    def __iter__(self) -> Any:
        return iter(self.explanations)

    def __len__(self) -> int:
        return len(self.explanations)

    def correlation(self, sample: int = 0) -> tuple[list[str], np.ndarray]:
        """Spearman's rank correlation between the methods' maps of one sample.

        Maps without a channel axis are compared with channel sums. `(names, (k, k) matrix)`;
        NaN where a map is constant.
        """
        names = list(self.explanations)
        if not names:
            return [], np.zeros((0, 0))
        maps = [_flat(self.explanations[n], sample) for n in names]
        size = {len(m) for m in maps}
        if len(size) > 1:
            raise InputError(
                "The methods' maps have different sizes, so their ranks do not compare."
            )
        with np.errstate(invalid="ignore"):
            return names, np.atleast_2d(np.corrcoef([_ranks(m) for m in maps]))

    def table(self) -> list[dict[str, Any]]:
        """One row a method: gap, mean standard error, evaluations, seconds, warnings."""
        rows: list[dict[str, Any]] = []
        for name, e in self.explanations.items():
            errors = [s for p in e.parts if (s := by_unit(p).stderr) is not None]
            rows.append(
                {
                    "method": name,
                    "gap": None if e.gap is None else float(np.max(e.gap)),
                    "stderr": float(np.mean([s.mean() for s in errors])) if errors else None,
                    **e.evaluations._asdict(),
                    "seconds": e.seconds,
                    "warnings": list(e.warnings),
                }
            )
        return rows

    def plot(self, sample: int = 0, **options: Any) -> Any:
        """The maps of all methods side by side; a Figure, never shown."""
        from pellucid.plots import grid

        columns = {n: {e.target_names[sample]: e} for n, e in self.explanations.items()}
        return grid(columns, sample, **options)

    def __repr__(self) -> str:
        """The same as `str`."""
        return str(self)

    def __str__(self) -> str:
        """One line a method."""
        lines = [str(e) for e in self.explanations.values()]
        return "\n".join(lines + [f"{n} failed: {why}" for n, why in self.failures.items()])


def _flat(e: Explanation, sample: int) -> np.ndarray:
    parts = []
    for part in e.parts:
        values = part.values[sample]
        if "channel" in part.dims:
            values = values.sum(axis=part.dims.index("channel") - 1)
        parts.append(values.ravel())
    return np.concatenate(parts)


def _ranks(a: np.ndarray) -> np.ndarray:
    """Average ranks, ties shared."""
    _, inverse, counts = np.unique(a, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]
