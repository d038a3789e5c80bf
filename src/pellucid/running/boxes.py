"""Boxes of space in which copies of one sample differ from it, and how to gather and move them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.sliding import Sliding
from pellucid.types import Array


@dataclass(frozen=True)
class Boxes:
    """For each copy a box of equal `size` along the spatial `axes`, from `starts (copies, axes)`.

    `shape` is that of the whole array, one row of it. A box may hold places that do not differ.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    starts: np.ndarray
    size: tuple[int, ...]

    @property
    def space(self) -> tuple[int, ...]:
        return tuple(self.shape[a] for a in self.axes)

    @property
    def share(self) -> float:
        """What share of the whole array a box is."""
        return float(np.prod(self.size) / np.prod(self.space))

    def rows(self, numbers: np.ndarray) -> "Boxes":
        return Boxes(self.shape, self.axes, self.starts[numbers], self.size)

    def at(self, starts: np.ndarray, stops: np.ndarray, shape: tuple[int, ...]) -> "Boxes":
        """Boxes of one size that hold `starts` to `stops`, moved to lie inside of an array."""
        space = np.array([shape[a] for a in self.axes])
        starts, stops = np.maximum(starts, 0), np.minimum(stops, space)
        size = np.maximum((stops - starts).max(axis=0), 1)
        return Boxes(
            shape, self.axes, np.clip(starts, 0, space - size), tuple(int(n) for n in size)
        )

    def everything(self) -> "Boxes":
        return Boxes(self.shape, self.axes, np.zeros_like(self.starts), self.space)


def joined(boxes: list[Boxes]) -> Boxes:
    """Boxes that hold all of those given, of arrays alike in space."""
    first = boxes[0]
    starts = np.min([b.starts for b in boxes], axis=0)
    stops = np.max([b.starts + np.array(b.size) for b in boxes], axis=0)
    return first.at(starts, stops, first.shape)


def reached(boxes: Boxes, sliding: Sliding, shape: tuple[int, ...]) -> Boxes:
    """The outputs, in an array of `shape`, that look at a place of the boxes."""
    stride, before = np.array(sliding.stride), np.array(sliding.before)
    extent = np.array([sliding.extent(i) for i in range(len(sliding.axes))])
    first = -(-(boxes.starts + before - extent + 1) // stride)
    last = (boxes.starts + np.array(boxes.size) - 1 + before) // stride
    return boxes.at(first, last + 1, shape)


def looked_at(outputs: Boxes, sliding: Sliding) -> tuple[np.ndarray, tuple[int, ...]]:
    """Where the input begins, and how much of it, that boxes of outputs are made from."""
    starts = outputs.starts * np.array(sliding.stride) - np.array(sliding.before)
    size = (
        (n - 1) * s + sliding.extent(i)
        for i, (n, s) in enumerate(zip(outputs.size, sliding.stride, strict=True))
    )
    return starts, tuple(size)


def places(starts: np.ndarray, size: tuple[int, ...], boxes: Boxes) -> tuple[np.ndarray, bool]:
    """Where each place of some windows is found, `(copies · window,)`, and if any is outside.

    Numbers count the places of the whole array, then those of all boxes, then one that is
    outside of the array.
    """
    copies, space = len(starts), boxes.space
    whole = int(np.prod(space))
    held = int(np.prod(boxes.size))
    inside = np.ones((copies, *(1,) * len(size)), dtype=bool)
    changed = inside
    in_array = np.zeros_like(inside, dtype=np.int64)
    in_box = in_array
    for i, (length, n) in enumerate(zip(space, size, strict=True)):
        shape = [1] * (len(size) + 1)
        shape[0], shape[i + 1] = copies, n
        at = (starts[:, i, None] + np.arange(n)).reshape(shape)
        local = at - boxes.starts[:, i].reshape(-1, *(1,) * len(size))
        inside = inside & (at >= 0) & (at < length)
        changed = changed & (local >= 0) & (local < boxes.size[i])
        in_array = in_array * length + at
        in_box = in_box * boxes.size[i] + local
    offsets = np.arange(copies).reshape(-1, *(1,) * len(size)) * held + whole
    found = np.where(changed, in_box + offsets, in_array)
    found = np.where(inside, found, whole + copies * held)
    return np.ascontiguousarray(found.reshape(-1)), not bool(inside.all())


def flat_places(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """One row of an array as `(places, all else)`."""
    moved = np.moveaxis(array[0], [a - 1 for a in axes], range(len(axes)))
    count = int(np.prod([array.shape[a] for a in axes]))
    return np.ascontiguousarray(moved.reshape(count, -1))


class Mover:
    """Takes windows out of one sample's array and the boxes in which its copies differ."""

    def __init__(self, xp: Any, asarray: Any) -> None:
        self._xp, self._asarray = xp, asarray

    def native(self, array: np.ndarray, axes: tuple[int, ...], dtype: Any) -> Array:
        """`flat_places` as a native array."""
        flat = self._asarray(flat_places(array, axes))
        return flat if flat.dtype == dtype else self._xp.astype(flat, dtype)

    def windows(
        self,
        clean: Array,
        boxes: Boxes,
        changed: Array | None,
        starts: np.ndarray,
        size: tuple[int, ...],
        fill: float = 0.0,
    ) -> Array:
        """Windows `(copies, ...)` of `size` at `starts`; `clean` is as `native` makes it.

        `changed` holds the boxes' own values; None where nothing differs.
        """
        xp, parts = self._xp, [clean]
        if changed is None:
            boxes = Boxes(boxes.shape, boxes.axes, starts, (0,) * len(size))
        else:
            parts.append(self._flattened(changed, boxes.axes))
        index, outside = places(starts, size, boxes)
        if outside:
            width = int(clean.shape[1])
            own = self._asarray(np.full((1, width), fill, dtype=np.float32))
            parts.append(own if own.dtype == clean.dtype else xp.astype(own, clean.dtype))
        source = parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)
        taken = xp.take(source, self._asarray(index), axis=0)
        others = [boxes.shape[i] for i in range(1, len(boxes.shape)) if i not in boxes.axes]
        wide = xp.reshape(taken, (len(starts), *size, *others))
        order = _order(len(boxes.shape), boxes.axes)
        return xp.permute_dims(wide, tuple(int(i) for i in np.argsort(order)))

    def _flattened(self, changed: Array, axes: tuple[int, ...]) -> Array:
        shape = tuple(int(n) for n in changed.shape)
        moved = self._xp.permute_dims(changed, _order(len(shape), axes))
        count = shape[0] * int(np.prod([shape[a] for a in axes]))
        return self._xp.reshape(moved, (count, -1))


def _order(rank: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Rows, then the spatial axes, then all else."""
    return (0, *axes, *(i for i in range(1, rank) if i not in axes))
