"""How many copies a line of LIME's needs, and the lines of all samples."""

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.perturbation.removal import Estimates
from pellucid.methods.perturbation.surrogate import Fit

WIDTH_OF_TABLES = 0.75
"""The kernel's width, in square roots of the number of columns."""
_LEAST = 64


def enough_copies(units: int) -> int:
    """Copies from which on a standard error is believed."""
    return max(_LEAST, 4 * units)


def require_copies(
    copies: int, units: int, rows: int = 1, *, budget: int | None, penalised: bool
) -> None:
    """Raise `MethodError` for fewer copies than a line through so many units wants."""
    wanted = 8 if penalised else 2 * units + 4  # a penalty makes up for what copies leave open
    least = min(wanted, 2 ** min(units, 30))
    if copies < least:
        many = f" on {rows} background rows" if rows > 1 else ""
        fewer = "; pellucid.inputs.summarise(background, n) makes fewer rows" if many else ""
        raise MethodError(
            f"lime needs a budget of {least * rows + 1} for {units} features{many}, got"
            f" {budget}.\n"
            f"  features= makes fewer, such as 'grid:5' or 'superpixels:20'{fewer}."
        )


class Lines:
    """The lines of all samples as they are fitted, `(targets, samples, units)`."""

    def __init__(self, targets: int, samples: int, units: int) -> None:
        values, errors = np.zeros((2, targets, samples, units))
        names = ("intercept", "r2", "local_prediction")
        self.estimates = Estimates(
            values, errors, {name: np.zeros((targets, samples)) for name in names}
        )

    def keep(self, place: int, line: Fit, at_x: np.ndarray) -> None:
        found = self.estimates
        found.values[:, place] = line.coefficients
        if found.stderr is not None:
            found.stderr[:, place] = line.stderr
        found.extras["intercept"][:, place] = line.intercept
        found.extras["r2"][:, place] = line.r2
        found.extras["local_prediction"][:, place] = line.intercept + line.coefficients @ at_x
