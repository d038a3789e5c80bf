"""Which items of a stream of (sample × coalition × reference row) are different rows at all."""

from dataclasses import dataclass

import numpy as np

_TRIED, _WORTH = 4, 0.02
_HELD = 2**22
"""Bytes of packed coalitions that are compared at once."""


@dataclass(frozen=True)
class Stream:
    """The items to run, sample by sample, and where each result belongs.

    `shape` is (samples, coalitions, reference rows). `items` are the flat numbers of those to run
    (None: all), `source` the item whose result a flat number has; −1 is f(x), −2 v(∅).
    """

    shape: tuple[int, int, int]
    total: int
    ends: np.ndarray
    """How many items have run when each sample is complete."""
    items: np.ndarray | None = None
    source: np.ndarray | None = None

    def flat(self, start: int, stop: int) -> np.ndarray:
        """The flat numbers of items start to stop."""
        return np.arange(start, stop) if self.items is None else self.items[start:stop]

    def gather(
        self, scores: np.ndarray, first: int, last: int, everyone: np.ndarray, none: np.ndarray
    ) -> np.ndarray:
        """The score of every item of samples first to last, `(samples, coalitions, rows)`."""
        size = self.shape[1] * self.shape[2]
        if self.source is None:
            return scores[first * size : last * size].reshape(-1, *self.shape[1:])
        source = self.source[first * size : last * size].reshape(-1, *self.shape[1:])
        # Without items to run there is nothing to look up.
        found = scores[np.maximum(source, 0)] if len(scores) else np.zeros(source.shape)
        found = np.where(source == -1, everyone[:, None, None], found)
        return np.where(source == -2, none[:, None, None], found)


def plain_stream(shape: tuple[int, int, int]) -> Stream:
    """Every item is run."""
    size = shape[1] * shape[2]
    return Stream(shape, shape[0] * size, size * np.arange(1, shape[0] + 1))


def saves(masks: np.ndarray, inert: np.ndarray) -> bool:
    """Whether a fiftieth of the items or more are repeated, judged by a few of the groups.

    A group is what one sample makes of one reference row. Finding equal rows costs about as much
    as a small model, so it is not done where next to nothing is equal.
    """
    groups = inert.reshape(-1, inert.shape[2])
    few = groups[np.linspace(0, len(groups) - 1, _TRIED).astype(np.intp)]
    own = masks[None] & ~few[:, None]
    kept = sum(len(np.unique(np.packbits(each, axis=1), axis=0)) for each in own)
    return kept <= (1 - _WORTH) * len(few) * len(masks)


def stream_of_distinct(masks: np.ndarray, inert: np.ndarray, *, alone: bool) -> Stream:
    """Items that differ, for players that are `inert (samples, rows, players)` in some.

    A player whose values in x are those of the reference row makes no difference to a coalition.
    Coalitions that have all others give x itself; those that have none give the reference, whose
    score is known where it is `alone`.
    """
    count, rows, _ = inert.shape
    shape = count, len(masks), rows
    # For each item the first that is the same row; groups hold no more than one sample's row.
    first = np.empty(shape, dtype=np.int64)
    packed, active = np.packbits(masks, axis=1), np.packbits(~inert, axis=2)
    at_once = max(1, _HELD // packed.size)
    for start in range(0, count * rows, at_once):
        sample, row = np.divmod(np.arange(start, min(start + at_once, count * rows)), rows)
        own = active[sample, row][:, None]
        effective = packed & own
        numbers = (sample[:, None] * len(masks) + np.arange(len(masks))) * rows + row[:, None]
        known = np.where((effective == own).all(axis=2), -1, 0)
        if alone:
            known[~effective.any(axis=2) & (known == 0)] = -2
        first[sample, :, row] = np.where(known == 0, _first_in_group(effective, numbers), known)
    first = first.ravel()
    open_items = first >= 0
    items = np.flatnonzero(first == np.arange(len(first)))
    source = first.copy()
    source[open_items] = np.searchsorted(items, first[open_items])
    ends = np.searchsorted(items, (np.arange(count) + 1) * len(masks) * rows)
    return Stream(shape, len(items), ends, items, source)


def _first_in_group(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """For each of `keys (groups, m, bytes)` the lowest number of an equal one in its group."""
    groups, size, _ = keys.shape
    group = np.repeat(np.arange(groups, dtype=">i8"), size).view(np.uint8).reshape(-1, 8)
    first, which = first_of_each(np.concatenate([group, keys.reshape(len(group), -1)], axis=1))
    return numbers.ravel()[first][which].reshape(numbers.shape)


def first_of_each(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each different row of bytes comes first, in order, and which of those each row is."""
    whole = np.ascontiguousarray(rows)
    if not len(whole):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    keys = whole.view(np.dtype((np.void, whole.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.ravel()]
