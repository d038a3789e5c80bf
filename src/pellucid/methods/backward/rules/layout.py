"""Where the samples are in what an operation returns, so that a rule can tell them apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation
from pellucid.types import Array


@dataclass(frozen=True)
class Layout:
    """`axis` runs over `outer` places, in each over the samples, and in each over `inner` places.

    So (0, 1, 1) is the batch axis as it usually is, (0, places, 1) one in which the samples of
    each place stand side by side, as behind torch's attention.
    """

    axis: int = 0
    outer: int = 1
    inner: int = 1

    def fits(self, shape: Sequence[int], rows: int) -> bool:
        """Whether an array of this shape can hold so many samples in this way."""
        places = self.outer * rows * self.inner
        return self.axis < len(shape) and int(shape[self.axis]) == places

    def apart(self, shape: Sequence[int], rows: int) -> tuple[int, ...]:
        """The shape in which the samples have an axis of their own, the one after `axis`."""
        a = self.axis
        return (*shape[:a], self.outer, rows, self.inner, *shape[a + 1 :])

    def largest(self, xp: Any, size: Array, rows: int) -> Array:
        """The largest number of each sample, to stand beside its numbers."""
        shape = tuple(map(int, size.shape))
        own = self.axis + 1
        split = xp.reshape(size, self.apart(shape, rows))
        others = tuple(i for i in range(len(shape) + 2) if i != own)
        found = xp.reshape(xp.max(split, axis=others), (1, rows, 1))
        found = xp.broadcast_to(found, (self.outer, rows, self.inner))
        return xp.reshape(found, [-1 if i == self.axis else 1 for i in range(len(shape))])


def layouts_told(
    run: Callable[[int, Callable[[Operation], Array]], Any],
    wanted: frozenset[int],
    to_numpy: Callable[[Array], np.ndarray],
) -> dict[int, Layout]:
    """The layouts of what the operations `wanted` return, told by numbers; some may not be.

    `run(n, intercept)` runs the model on n copies of one sample: its numbers stand twice among
    those of two, and in one order only unless they repeat.
    """
    found: dict[int, Layout] = {}
    single: dict[int, np.ndarray] = {}

    def keep(op: Operation) -> Array:
        out = op()
        if op.index in wanted:
            single[op.index] = to_numpy(out)
        return out

    def compare(op: Operation) -> Array:
        out = op()
        one = single.pop(op.index, None)
        layout = None if one is None else _told_by(one, to_numpy(out))
        if layout is not None:
            found[op.index] = layout
        return out

    if wanted:
        run(1, keep)
        run(2, compare)
    return found


def _told_by(one: np.ndarray, two: np.ndarray) -> Layout | None:
    """The only layout in which `two` holds the numbers of `one` twice, or none."""
    shapes = list(zip(one.shape, two.shape, strict=False))
    grown = [a for a, (m, n) in enumerate(shapes) if n == 2 * m]
    if one.ndim != two.ndim or len(grown) != 1 or sum(m != n for m, n in shapes) != 1:
        return None
    (axis,) = grown
    places = one.shape[axis]
    fitting = []
    for outer in range(1, places + 1):
        if places % outer:
            continue
        layout = Layout(axis, outer, places // outer)
        both = np.moveaxis(two.reshape(layout.apart(two.shape, 2)), axis + 1, 0)
        if all(_alike(sample.reshape(one.shape), one) for sample in both):
            fitting.append(layout)
    return fitting[0] if len(fitting) == 1 else None


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether they differ by no more than rounding does in any type."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return not prod(b.shape) or bool(np.abs(a - b).max() <= 1e-2 * np.abs(b).max())
