"""The rows that a game runs: a sample where its coalition is, a reference elsewhere."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pellucid.inputs.layout import space_axes
from pellucid.methods.perturbation.distinct import Stream
from pellucid.types import Leaves

if TYPE_CHECKING:
    from pellucid.methods.perturbation.game import Game

_EXPANDED = 2**24
"""Masks are laid out over the positions once where they are no more than so many values."""


class Layout:
    """Coalitions as masks over the positions of each input."""

    def __init__(self, game: "Game", masks: np.ndarray) -> None:
        self.game, self.masks = game, masks

    @cached_property
    def _kept(self) -> list[np.ndarray | None]:
        """`(m, *positions)` for each input whose units are those of every sample, if not large."""
        found, first = [], 0
        for features, count in zip(self.game.features, self.game.counts, strict=True):
            size = len(self.masks) * features.units[0].size
            shared = len(features.units) == 1 and size <= _EXPANDED
            own = _with_kept(self.masks[:, first : first + count])
            found.append(own[:, features.units[0]] if shared else None)
            first += count
        return found

    def mixed(
        self, samples: np.ndarray, stream: Stream, start: int, stop: int, rows: slice
    ) -> tuple[np.ndarray, Leaves]:
        """Items start to stop of a stream: the sample of each, and the rows to run.

        The stream is of these samples and of the reference rows `rows`.
        """
        count, flat = rows.stop - rows.start, stream.flat(start, stop)
        # Reference rows of a coalition follow each other, so masks are looked up once for all.
        conditional = self.game.conditional
        together = (count > 1 or conditional is not None) and flat[-1] - flat[0] + 1 == len(flat)
        pairs, row = np.divmod(flat, count)
        own = np.arange(pairs[0], pairs[-1] + 1) if together else pairs
        places, coalitions = np.divmod(own, len(self.masks))
        owners, made, first = samples[places], [], 0
        runs = list(_runs(int(flat[0]), int(flat[-1]) + 1, count)) if together else []
        for k, reference in enumerate(self.game.references):
            array = self.game.task.batch.arrays[k]
            mixed = np.empty((len(flat) if together else 0, *array.shape[1:]), dtype=array.dtype)
            if conditional is not None:
                for block, some, here in _blocks(mixed, runs):
                    part = slice(rows.start + here.start, rows.start + here.stop)
                    block[:] = conditional.mixed(
                        array[owners[some]], self.masks[coalitions[some]], part
                    )
                made.append(self.game.task.asarray(mixed))
                continue
            kept = self._masks_of(k, first, coalitions, owners)
            if together:
                for block, some, here in _blocks(mixed, runs):
                    _fill(block, kept[some], array[owners[some]], reference[0, rows][here])
            else:
                others = reference[owners if len(reference) > 1 else 0, rows.start + row]
                same = slice(0, 1) if (owners == owners[0]).all() else slice(None)
                mixed = put_where(kept, array[owners[same]], others)
            made.append(self.game.task.asarray(mixed))
            first += self.game.counts[k]
        return samples[pairs // len(self.masks)], tuple(made)

    def _masks_of(
        self, k: int, first: int, coalitions: np.ndarray, owners: np.ndarray
    ) -> np.ndarray:
        features, dims = self.game.features[k], self.game.task.batch.dims[k]
        shared = self._kept[k]
        if shared is not None:
            return over_channels(shared[coalitions], dims)
        own = _with_kept(self.masks[coalitions, first : first + self.game.counts[k]])
        if len(features.units) == 1:
            return over_channels(np.take(own, features.units[0], axis=1), dims)
        units = features.units[owners]
        kept = np.take_along_axis(own, units.reshape(len(own), -1), axis=1)
        return over_channels(kept.reshape(units.shape), dims)


def _runs(start: int, stop: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Items start to stop as `(coalitions, reference rows)`: a part of one, whole ones, a part.

    Coalitions are counted from the first.
    """
    first, whole = start // rows, stop // rows
    here = 0
    if start % rows:
        yield slice(0, 1), slice(start % rows, min(rows, stop - first * rows))
        here = 1
    if whole > first + here:
        yield slice(here, whole - first), slice(0, rows)
    if stop % rows and whole >= first + here:
        yield slice(whole - first, whole - first + 1), slice(0, stop % rows)


def _blocks(
    mixed: np.ndarray, runs: list[tuple[slice, slice]]
) -> Iterator[tuple[np.ndarray, slice, slice]]:
    """The part of `mixed` that each run fills, `(coalitions, rows, ...)`, and the run."""
    start = 0
    for some, here in runs:
        shape = some.stop - some.start, here.stop - here.start
        stop = start + shape[0] * shape[1]
        yield mixed[start:stop].reshape(*shape, *mixed.shape[1:]), some, here
        start = stop


def _fill(block: np.ndarray, kept: np.ndarray, own: np.ndarray, rows: np.ndarray) -> None:
    """Into `block (k, r, ...)` each of `rows (r, ...)`, with what is `kept (k, ...)` of `own`."""
    block[:] = rows
    if kept.ndim > 2:
        np.copyto(block, own[:, None], where=kept[:, None])
        return
    # Of a table, what is not kept is copied in one piece.
    place, column = np.nonzero(kept)
    block[place, :, column] = own[place, column][:, None]


def put_where(kept: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """As `np.where(kept, own, others)`; into `others`, which takes a tenth of the time."""
    if own.dtype != others.dtype or not others.flags.writeable:
        return np.where(kept, own, others)
    np.copyto(others, own, where=kept)
    return others


def equal_units(
    x: np.ndarray, rows: np.ndarray, units: np.ndarray, channel: int | None
) -> np.ndarray:
    """Which units of one sample have the values of a reference row, `(rows, units)`."""
    differs = rows != x
    if channel is not None:  # the channels of a position stand or fall together
        differs = differs.any(axis=channel)
    flat, held = differs.reshape(len(rows), -1), units.ravel()
    order = np.argsort(held, kind="stable")
    starts = np.searchsorted(held[order], np.arange(int(held.max()) + 1))
    return ~np.logical_or.reduceat(flat[:, order], starts, axis=1)


def _with_kept(masks: np.ndarray) -> np.ndarray:
    """One more column, for positions that no unit holds: they are always the sample's."""
    return np.concatenate([masks, np.ones((len(masks), 1), dtype=bool)], axis=1)


def over_channels(kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """A mask over positions as one that an array with axes `dims` can be masked with."""
    if "channel" not in dims or not space_axes(dims):
        return kept
    return np.expand_dims(kept, dims.index("channel"))
