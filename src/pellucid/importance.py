"""What each column counts for over a data set, with an interval."""

from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.explanation import Explanation, shorten
from pellucid.methods.registry import registered
from pellucid.units import by_unit

ROUNDING = 1e-9
"""A mean below this is taken as none."""
OF_WORDS = "mean |a| of an occurrence"
"""The statistic where lines are words and not columns."""
_AT_ONCE = 64
"""Bootstrap draws held at a time."""


@dataclass(frozen=True)
class Importance:
    """Columns by importance: `rows` of (feature, importance, low, high), largest first."""

    rows: tuple[tuple[str, float, float, float], ...]
    statistic: str
    """"mean |a|", or "mean a" for methods whose values are a loss."""
    level: float
    count: int
    """How many samples the mean is over."""
    note: str = ""
    """What has to be known to read it: that samples were explained for different classes."""

    def top(self, k: int) -> "Importance":
        """The k columns that count most."""
        return replace(self, rows=self.rows[:k])

    def beyond_chance(self) -> "Importance":
        """The columns whose whole interval lies above zero, and above rounding."""
        return replace(self, rows=tuple(r for r in self.rows if r[2] > ROUNDING))

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        """Columns of text."""
        width = max([len(r[0]) for r in self.rows] + [7])
        head = f"{'feature':<{width}}  {self.statistic:>11}  {self.level:.0%} interval"
        lines = [f"{n:<{width}}  {m:>11.4g}  {low:.4g} to {high:.4g}" for n, m, low, high in self]
        over = f"over {self.count} samples" + (f"; {self.note}" if self.note else "")
        return "\n".join([over, head, *lines])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{escape(n)}</td><td>{m:.4g}</td><td>{low:.4g} to {high:.4g}</td></tr>"
            for n, m, low, high in self.rows
        )
        return (
            f"<table><caption>over {self.count} samples {escape(self.note)}</caption>"
            f"<thead><tr><th>feature</th><th>{escape(self.statistic)}</th>"
            f"<th>{self.level:.0%} interval</th></tr></thead>"
            f"<tbody>{cells}</tbody></table>"
        )


def importance(
    explanation: Explanation, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Importance:
    """Mean |a| of each column over the samples, with a percentile bootstrap interval.

    I_j = (1/n) Σ_i |a_ij|; the interval holds the middle `level` of I_j over `draws` resamplings
    of the samples (multinomial weights of `default_rng([seed, 12])`, the same for all columns). It
    says how I_j would vary with other samples of the same kind, not how exact each a_ij is: that is
    `stderr`. For feature_permutation, whose values are losses, the mean of a itself. Columns of
    several table inputs come together; a group of `features=` counts as one column. Source: Efron &
    Tibshirani 1993, section 13.3.

    Raises `InputError` where no input is a table, for one sample, and for a level outside (0, 1).

    >>> explain(model, table, "occlusion").importance().rows[0][0]
    'dose'
    """
    if not 0 < level < 1 or draws < 2:
        raise InputError(
            f"Expected 0 < level < 1 and 2 or more draws, got level={level!r}, draws={draws!r}."
        )
    names, values = _columns(explanation)
    if len(values) < 2:
        raise InputError("Importance is a mean over samples with an interval: explain 2 or more.")
    method = registered().get(explanation.method)
    losses = method is not None and method.values_are_losses
    sizes = values if losses else np.abs(values)
    means = _resampled(sizes, draws, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    mean = sizes.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    rows = tuple((names[j], float(mean[j]), float(low[j]), float(high[j])) for j in order)
    return Importance(rows, "mean a" if losses else "mean |a|", level, len(values),
                      mixed_classes(explanation))  # fmt: skip


def mixed_classes(explanation: Explanation) -> str:
    """A word where samples were explained for different classes, as with target=None."""
    names = tuple(dict.fromkeys(explanation.target_names))
    if len(names) < 2:
        return ""
    shown = ", ".join(map(shorten, names[:3])) + (", ..." if len(names) > 3 else "")
    return (
        f"each for a class of its own ({shown}), which are mixed here; target= one class asks the"
        " same of all"
    )


def _columns(explanation: Explanation) -> tuple[list[str], np.ndarray]:
    tables = [by_unit(p) for p in explanation.parts if p.dims == ("sample", "feature")]
    if not tables:
        raise InputError(
            f"Importance is of the columns of a table; this explanation is of axes"
            f" {explanation.parts[0].dims}."
        )
    names = []
    for part in tables:
        prefix = f"{part.name}: " if len(explanation.parts) > 1 else ""
        known = part.feature_names or [f"feature {i}" for i in range(part.values.shape[1])]
        names += [prefix + name for name in known]
    return names, np.concatenate([p.values for p in tables], axis=1).astype(np.float64)


def _resampled(sizes: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means of resampled rows, `(draws, columns)`."""
    count = len(sizes)
    generator = np.random.default_rng([seed, 12])
    found = []
    for start in range(0, draws, _AT_ONCE):
        part = min(_AT_ONCE, draws - start)
        weights = generator.multinomial(count, np.full(count, 1 / count), size=part)
        found.append(weights @ sizes / count)
    return np.concatenate(found)
