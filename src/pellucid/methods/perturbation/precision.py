"""When enough is known of a sample, and what is said where it is not."""

from dataclasses import dataclass

import numpy as np

from pellucid.errors import MethodError
from pellucid.methods.base import Method

_SURE = 1.96


@dataclass(frozen=True)
class Precision:
    """When a sample needs no more evaluations.

    `tolerance` is the largest standard error, in units of the sample's largest value; `top` the
    number of features whose order is to be settled: neighbours of them differ by more than 1.96
    times the sum of their errors, which holds however the errors go together.
    """

    tolerance: float | None = None
    top: int | None = None

    def check(self, name: str) -> None:
        """Raise `MethodError` for what cannot be reached."""
        if self.tolerance is not None and not self.tolerance > 0:
            raise MethodError(f"{name} needs a tolerance above 0, got {self.tolerance}.")
        whole = isinstance(self.top, int | np.integer) and not isinstance(self.top, bool)
        if self.top is not None and (not whole or self.top < 1):
            raise MethodError(f"Expected top to be a whole number of 1 or more, got {self.top!r}.")

    @property
    def asked(self) -> bool:
        return self.tolerance is not None or self.top is not None

    def settled(self, phi: np.ndarray, stderr: np.ndarray) -> np.ndarray:
        """Which games are known well enough, by their values and errors `(..., k, players)`."""
        done = np.ones(phi.shape[:-1], dtype=bool)
        size = np.abs(phi)
        if self.tolerance is not None:
            done &= stderr.max(axis=-1) <= self.tolerance * size.max(axis=-1)
        if self.top is not None:
            order = np.argsort(-size, axis=-1, kind="stable")[..., : self.top + 1]
            ranked = np.take_along_axis(size, order, axis=-1)
            errors = np.take_along_axis(stderr, order, axis=-1)
            apart = -np.diff(ranked) >= _SURE * (errors[..., :-1] + errors[..., 1:])
            done &= apart.all(axis=-1)
        return done


def doubled(least: int, most: int) -> list[int]:
    """Numbers from `least` to `most`, each twice the one before: when to look again."""
    counts = [min(least, most)]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    return counts


def not_converged(late: np.ndarray) -> tuple[str, ...]:
    """The warning that names the samples `late (n,)`, which were to be known better."""
    found = np.flatnonzero(late)
    if not len(found):
        return ()
    return (
        f"not converged: sample(s) {found[:20].tolist()} of the batch did not reach the"
        " tolerance, or the order of their top features, within the budget; raise budget, or"
        " accept this error",
    )


def why_stopped(late: np.ndarray) -> np.ndarray:
    """What ended the evaluations of each sample: "settled" or "budget"."""
    return np.where(late, "budget", "settled")


class PreciseMethod(Method):
    """A method that stops at a precision where one is asked for; subclasses have these fields."""

    tolerance: float | None

    def __post_init__(self) -> None:
        self.precision.check(self.name)

    @property
    def precision(self) -> Precision:
        """When a sample needs no more evaluations."""
        return Precision(self.tolerance, self.parameters().get("top"))
