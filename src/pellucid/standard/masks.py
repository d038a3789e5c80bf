"""Where the objects are, one truth value a position."""

from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.standard.subject import Subject


def make_masks(masks: Any, subject: Subject) -> np.ndarray | None:
    """`masks (n, *positions)` as `(n, positions)` booleans; None where none are given.

    Raises `InputError` for another shape, and for values that are not 0 or 1.
    """
    if masks is None:
        return None
    given = np.asarray(masks)
    if len(subject.shapes) > 1:
        raise InputError("Masks say where an object is in one input; this model has several.")
    shape = next(iter(subject.shapes))
    wanted = (subject.count, *shape)
    if given.shape == shape and not subject.task.batch.batched:
        given = given[None]
    if given.shape != wanted:
        raise InputError(f"Expected masks of shape {wanted}, one a sample, got {given.shape}.")
    if not np.isin(given, (0, 1)).all():
        raise InputError("Expected masks of truth values, or of 0 and 1.")
    return given.astype(bool).reshape(len(given), -1)
