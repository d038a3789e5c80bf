"""Background rows as they would be, given what a coalition shows of the sample."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features
from pellucid.inputs.layout import modality
from pellucid.task import Task

VALUE_FUNCTIONS = ("marginal", "conditional")
_HELD = 2**22
"""Numbers of coalitions' matrices that are held at once."""


@dataclass(frozen=True)
class Conditional:
    """Rows of a background moved to where the known columns of a sample say they would be.

    A background row b becomes x_S, and b_S̄ + Σ_S̄S Σ_SS⁺ (x_S − b_S): the regression of the
    columns that are absent on those that are there, with what b has beyond it. Mean and covariance
    of the rows are then those of a normal distribution with the background's moments, given x_S.
    """

    rows: np.ndarray
    """The background, `(rows, columns)`."""
    units: np.ndarray
    """Which player each column belongs to."""
    weights: np.ndarray | None = None

    @cached_property
    def _covariance(self) -> np.ndarray:
        rows = self.rows.astype(np.float64)
        return np.atleast_2d(np.cov(rows, rowvar=False, bias=True, aweights=self.weights))

    @cached_property
    def _known(self) -> dict[bytes, np.ndarray]:
        return {}

    def mixed(self, x: np.ndarray, masks: np.ndarray, some: slice) -> np.ndarray:
        """The rows for samples `x (m, columns)`, one coalition `masks (m, players)` each.

        `(m, rows, columns)`, in the type of the background, of which these are `some`.
        """
        rows = self.rows[some]
        moved = np.stack([self._matrix(mask) for mask in masks])
        kept = masks[:, self.units]
        differs = x.astype(np.float64)[:, None] - rows.astype(np.float64)
        found = rows + differs @ moved
        return np.where(kept[:, None], x[:, None], found).astype(rows.dtype)

    def _matrix(self, mask: np.ndarray) -> np.ndarray:
        """What a difference in the columns of a coalition means for all columns."""
        key = np.packbits(mask).tobytes()
        if key not in self._known:
            if (len(self._known) + 1) * self._covariance.size > _HELD:
                self._known.clear()
            self._known[key] = _regression(self._covariance, mask[self.units])
        return self._known[key]


def _regression(covariance: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Σ_SS⁺ Σ_S· in the rows of S, 0 in the others."""
    found = np.zeros_like(covariance)
    own = covariance[kept]
    if own.size:
        found[kept] = np.linalg.pinv(own[:, kept], hermitian=True) @ own
    return found


def make_conditional(
    task: Task,
    features: tuple[Features, ...],
    background: tuple[np.ndarray, ...],
    weights: np.ndarray | None = None,
) -> Conditional:
    """The conditional rows of a table's background `(1, rows, columns)`.

    Raises `MethodError` for anything that has no covariance to speak of.
    """
    batch, rows = task.batch, background[0][0]
    if len(batch.arrays) != 1 or modality(batch.dims[0]) != "table":
        raise MethodError(
            "value_function='conditional' is for one table of numbers: of images and series no"
            " covariance is known well enough."
        )
    words = any(known is not None for known in batch.categories or ())
    if rows.dtype.kind != "f" or words:
        raise MethodError(
            "value_function='conditional' takes columns to be normal together, so it needs real"
            f" numbers, got {'categories' if words else rows.dtype}.\n"
            "  value_function='marginal' takes any columns."
        )
    if len(rows) < 3 or not np.isfinite(rows).all() or not np.isfinite(batch.arrays[0]).all():
        raise MethodError(
            "value_function='conditional' needs a background of 3 rows or more, and no missing"
            " values in it or in x."
        )
    if (features[0].units < 0).any():
        raise MethodError(
            "value_function='conditional' needs every column to be in a feature; a negative number"
            " in features= leaves some out."
        )
    return Conditional(rows, features[0].units[0], weights)
