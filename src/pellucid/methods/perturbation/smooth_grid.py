"""RISE's masks as a regression sees them: coarse grids drawn smoothly, moved by half a cell."""

from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np

from pellucid.arrays import apply_along
from pellucid.inputs.features import Features, grid_cells
from pellucid.inputs.layout import space_axes
from pellucid.methods.perturbation.removal import Parts, Units


@dataclass(frozen=True)
class SmoothGrid(Parts):
    """Masks between whose coins, one a cell, a position is interpolated linearly.

    Along each axis the coins lie in the middles of the cells or, moved by half a cell, on their
    borders. A mask is straight between knots half a cell apart, so its values there are all of it:
    they are the parts, `2 · cells + 1` along each axis.
    """

    shape: tuple[int, ...]
    cells: tuple[int, ...]

    @property
    def knots(self) -> tuple[int, ...]:
        return tuple(2 * c + 1 for c in self.cells)

    @property
    def counts(self) -> np.ndarray:
        return np.array([np.prod(self.knots)])

    @property
    def coins(self) -> int:
        """How many coins a mask takes: of the moved ones the last along an axis is not used."""
        return int(np.prod([c + 2 for c in self.cells]))

    def drawn(self, coins: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Values at the knots `(m, knots)` from coins `(m, coins)`, axes `moved (m, axes)`."""
        grids = coins.reshape(-1, *(c + 2 for c in self.cells)).astype(np.float64)
        found = np.zeros((len(coins), *self.knots))
        for way in product((0, 1), repeat=len(self.cells)):
            rows = np.flatnonzero((moved == way).all(axis=1))
            axes = {
                i + 1: _between(c)[w] for i, (c, w) in enumerate(zip(self.cells, way, strict=True))
            }
            found[rows] = apply_along(axes, grids[rows], tuple(axes))
        return found.reshape(len(coins), -1)

    def masks(self, kept: np.ndarray, samples: np.ndarray) -> np.ndarray:
        values = kept.reshape(-1, *self.knots)
        axes = {i + 1: self._hats(i).astype(values.dtype) for i in range(len(self.shape))}
        return apply_along(axes, values, tuple(axes)).astype(np.float32)

    def paint(self, values: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return self.masks(values, samples)

    def _hats(self, axis: int) -> np.ndarray:
        """How much of each knot a position along an axis has, `(positions, knots)`."""
        size, cells = self.shape[axis], self.cells[axis]
        at = (np.arange(size) + 0.5) * 2 * cells / size
        return np.maximum(1 - np.abs(at[:, None] - np.arange(2 * cells + 1)), 0.0)

    @property
    def covariance(self) -> np.ndarray:
        """Of the knots of random masks, coins of a half, in quarters."""
        return reduce(np.kron, [_covariance(c) for c in self.cells])

    def paint_errors(self, covariance: np.ndarray) -> np.ndarray:
        """The standard error of what `paint` makes of values with this covariance."""
        below, share = [], []
        for axis, (size, cells) in enumerate(zip(self.shape, self.cells, strict=True)):
            low = ((np.arange(size) + 0.5) * 2 * cells / size).astype(int)
            below.append(low)
            share.append(np.stack([self._hats(axis)[np.arange(size), low + i] for i in (0, 1)]))
        corners = []
        for corner in product((0, 1), repeat=len(self.shape)):
            at = np.ix_(*(low + c for low, c in zip(below, corner, strict=True)))
            weight = reduce(np.multiply.outer, [s[c] for s, c in zip(share, corner, strict=True)])
            corners.append((np.ravel_multi_index(np.broadcast_arrays(*at), self.knots), weight))
        variance = np.zeros(self.shape)
        for (one, by), (other, times) in product(corners, repeat=2):
            variance += by * times * covariance[one, other]
        return np.sqrt(np.maximum(variance, 0))


def _between(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """From `cells + 2` coins to the knots: coins in the middles of cells, and on their borders."""
    middles, borders = np.zeros((2, 2 * cells + 1, cells + 2))
    for knot in range(2 * cells + 1):
        for matrix, first in ((middles, (knot + 1) / 2), (borders, knot / 2)):
            low = int(first)
            matrix[knot, low] += 1 - (first - low)
            matrix[knot, min(low + 1, cells + 1)] += first - low
    return middles, borders


def _covariance(cells: int) -> np.ndarray:
    middles, borders = _between(cells)
    return (middles @ middles.T + borders @ borders.T) / 2


def smooth_grid(shape: tuple[int, ...], dims: tuple[str, ...], cells: int) -> Parts:
    """`cells` along the longest axis of an image or series; the columns of a table."""
    space = tuple(shape[i] for i in space_axes(dims))
    if not space:
        width = int(np.prod(shape[1:]))
        return Units(Features(np.arange(width).reshape(1, *shape[1:])))
    return SmoothGrid(space, grid_cells(space, cells))
