"""Numbers made in NumPy in the type of a model's input, which may hold whole numbers only."""

import numpy as np

from pellucid.errors import InputError


def real_table(array: np.ndarray) -> np.ndarray:
    """A row or table of whole numbers or truth values as real numbers; all else as it is.

    What is absent may be half of one: a mean, a quantile, a drawn neighbour.
    """
    return array.astype(np.float64) if array.dtype.kind in "iub" and array.ndim <= 2 else array


def in_type(made: np.ndarray, kind: np.dtype, what: str) -> np.ndarray:
    """`made` as an array of `kind`. Raises `InputError` for numbers that it does not hold.

    Real numbers are rounded to what a real `kind` holds, as everywhere.
    """
    if kind.kind == "f" or made.dtype == kind:
        return made.astype(kind, copy=False)
    with np.errstate(invalid="ignore"):
        own = made.astype(kind)
    wrong = made[own != made]
    if wrong.size:
        raise InputError(
            f"The input is of type {kind}, which does not hold {wrong.ravel()[0]!s} of {what}.\n"
            "  Pass x as real numbers if the model takes them, or whole numbers here."
        )
    return own


def nearest_in_type(made: np.ndarray, kind: np.dtype) -> np.ndarray:
    """`made` as an array of `kind`, rounded to whole numbers where it holds no others."""
    return (made if kind.kind == "f" else np.rint(made)).astype(kind)
