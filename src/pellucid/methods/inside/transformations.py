"""Small movements of an image that a feature should survive: jitter, scale, rotation, padding."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

_PURPOSE = 62


@dataclass(frozen=True)
class Transformations:
    """How far an image is moved at each step, at most; drawn evenly, for all images alike.

    `jitter` positions along each axis, `scale` a share of the size, `rotate` degrees (pictures
    only), `pad` positions of the middle value around it. Draws are of
    `default_rng([seed, 62, step])`: offsets, scale, angle.
    """

    jitter: int = 0
    scale: float = 0.0
    rotate: float = 0.0
    pad: int = 0

    @property
    def none(self) -> bool:
        """Whether images stay where they are."""
        return not (self.jitter or self.scale or self.rotate or self.pad)

    def at(self, step: int, seed: int, space: tuple[int, ...]) -> "Resampling | None":
        """The movement of one step; None for none."""
        if self.none or not space:
            return None
        generator = np.random.default_rng([seed, _PURPOSE, step])
        offset = generator.integers(-self.jitter, self.jitter + 1, size=len(space))
        zoom = 1 + generator.uniform(-self.scale, self.scale)
        angle = np.deg2rad(generator.uniform(-self.rotate, self.rotate))
        turn = np.eye(len(space))
        if len(space) == 2:
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        side = np.array(space, dtype=np.float64)
        shrink = (side + 2 * self.pad) / side / zoom
        return Resampling(space, turn * shrink, offset.astype(np.float64))


class Resampling:
    """Linear interpolation at moved places; what lies outside has the middle value.

    out(u) = image(c + o + M (u − c)) with c the centre: a matrix, so its derivative is its
    transpose.
    """

    def __init__(self, space: tuple[int, ...], matrix: np.ndarray, offset: np.ndarray) -> None:
        from scipy.sparse import csr_array

        count = int(np.prod(space))
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in space), indexing="ij"))
        centre = (np.array(space)[:, None] - 1) / 2
        source = centre + offset[:, None] + matrix @ (grid.reshape(len(space), -1) - centre)
        low = np.floor(source).astype(np.int64)
        share = source - low
        rows, columns, weights = [], [], []
        for corner in product((0, 1), repeat=len(space)):
            step = np.array(corner)[:, None]
            place = low + step
            weight = np.where(step == 1, share, 1 - share).prod(axis=0)
            inside = ((place >= 0) & (place < np.array(space)[:, None])).all(axis=0) & (weight > 0)
            rows.append(np.flatnonzero(inside))
            columns.append(np.ravel_multi_index(tuple(place[:, inside]), space))
            weights.append(weight[inside])
        entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
        self._matrix: Any = csr_array(entries, shape=(count, count))
        self._outside = 1 - np.asarray(self._matrix.sum(axis=1)).reshape(-1)

    def apply(self, images: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Images `(k, *space, c)` moved, with `middle` outside."""
        moved = self._each(self._matrix, images)
        outside = self._outside.reshape(1, *images.shape[1:-1], 1)
        return moved + outside * middle

    def pullback(self, gradient: np.ndarray) -> np.ndarray:
        """The transpose, for gradients."""
        return self._each(self._matrix.T, gradient)

    def _each(self, matrix: Any, images: np.ndarray) -> np.ndarray:
        count, channels = len(images), images.shape[-1]
        flat = np.moveaxis(images.reshape(count, -1, channels), 0, 1).reshape(-1, count * channels)
        moved = np.asarray(matrix @ flat).reshape(-1, count, channels)
        return np.moveaxis(moved, 1, 0).reshape(images.shape)
