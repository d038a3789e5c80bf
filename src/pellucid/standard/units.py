"""What is removed as one, where single positions would be too fine."""

from collections.abc import Sequence

import numpy as np

from pellucid.inputs.features import make_features
from pellucid.inputs.layout import space_axes

FINE = 1024
CELLS = 14


def unit_numbers(shapes: Sequence[tuple[int, ...]], dims: Sequence[tuple[str, ...]]) -> np.ndarray:
    """The unit of each position of inputs with positions of these shapes, `(positions,)`.

    Cells of a grid, 14 along the longest side, of images, series and volumes of more than 1 024
    positions: single pixels, chosen anywhere, tell a network nothing but noise. Each position its
    own of all else.
    """
    found, first = [], 0
    for shape, names in zip(shapes, dims, strict=True):
        size = int(np.prod(shape))
        if size <= FINE or not space_axes(names):
            own = np.arange(size)
        else:
            bare = tuple(d for d in names if d != "channel")
            own = make_features(f"grid:{CELLS}", np.empty((1, *shape)), bare).units.ravel()
        found.append(first + own)
        first += int(own.max()) + 1
    return np.concatenate(found)
