"""Mean and variance of each unit over batches that come one after the other."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared differences of each unit, in float64."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Of rows `(m, units)`."""
        mean = values.mean(axis=0, dtype=np.float64)
        return cls(len(values), mean, np.square(values - mean).sum(axis=0))

    def with_more(self, other: "Moments") -> "Moments":
        """Of the rows of both.

        M = M_a + M_b + (mean_b − mean_a)² n_a n_b / (n_a + n_b)     (Chan, Golub, LeVeque 1979)
        """
        total = self.count + other.count
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * (self.count * other.count / total)
        return Moments(total, self.mean + apart * (other.count / total), squares)

    @property
    def variance(self) -> np.ndarray:
        """Of the rows as they are (divided by their number), `(units,)`."""
        return self.squares / self.count


def by_unit(values: np.ndarray, axis: int) -> np.ndarray:
    """`(everything else, units)`: all samples and positions of each unit."""
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
