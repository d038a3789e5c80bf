"""Maps that are not numbers, are 0 everywhere or the same everywhere: what they count for."""

import numpy as np

from pellucid.inputs.layout import space_axes
from pellucid.standard.subject import Subject


def not_finite(positions: np.ndarray) -> np.ndarray:
    """Which samples' maps hold NaN or infinity, `(n,)`: they have no score."""
    return np.asarray(~np.isfinite(positions).all(axis=1))


def of_itself(subject: Subject) -> str:
    """What is to be said where the samples themselves stand for the data."""
    told = (
        "No background= was given: what is put in and how wide noise is are taken from"
        f" {'these samples' if subject.count > 1 else 'this sample'} alone, and scores would differ"
        " beside others."
    )
    lone = subject.count == 1 and not any(space_axes(dims) for dims in subject.dims)
    more = (
        " One row alone has no spread, so nothing can be changed by noise: C3 and C5 say nothing."
    )
    return told + (more if lone else "")


def remarks_on(name: str, positions: np.ndarray) -> list[str]:
    """What is to be said of maps `(n, p)` that say nothing, in sentences."""
    broken = not_finite(positions)
    known = np.where(broken[:, None], 1.0, positions)
    zero = ~broken & (known == 0).all(axis=1)
    flat = ~broken & ~zero & (known == known[:, :1]).all(axis=1)
    chance = "it orders nothing, so scores that go by order are those of an order drawn at random"
    told = (
        (broken, "holds values that are not finite", "such a map has no score"),
        (zero, "is 0 everywhere", chance),
        (flat, "is the same everywhere", chance),
    )
    return [
        f"{name} {what} in {int(rows.sum())} of {len(rows)} samples: {so}."
        for rows, what, so in told
        if rows.any()
    ]
