"""The model as a game of features: what a coalition is worth, evaluated as one stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.checks import check_background
from pellucid.inputs.features import Features, make_features
from pellucid.inputs.layout import space_axes
from pellucid.inputs.summaries import WeightedRows
from pellucid.methods.perturbation.conditional import Conditional
from pellucid.methods.perturbation.distinct import Stream, plain_stream, saves, stream_of_distinct
from pellucid.number_types import in_type
from pellucid.task import Task
from pellucid.types import Leaves

_ITEMS = 2**17
"""Items (sample × coalition × reference row) that are looked at together."""
_EXPANDED = 2**24
"""Masks are laid out over the positions once where they are no more than so many values."""


@dataclass(frozen=True)
class Game:
    """v(S) = the mean score of x with the features outside S taken from each reference row.

    With `baseline=` there is one reference, the sample's own; with `background=` the rows of a
    data set, the same for all samples (interventional or marginal value function). The players
    are the units of all inputs, one input after the other.
    """

    task: Task
    features: tuple[Features, ...]
    references: tuple[np.ndarray, ...]
    """Per input `(n, 1, ...)` or `(1, rows, ...)`."""
    samples: np.ndarray
    """Which samples of the task play; all of them have as many players."""
    everyone: np.ndarray
    """v(all features) = f(x) for each target of the samples that play, `(targets, samples)`."""
    none: np.ndarray
    """v(no feature), `(targets, samples)`."""
    weights: np.ndarray | None = None
    """How much each reference row counts, `(rows,)`; None where all count alike."""
    conditional: Conditional | None = None
    """The background rows depend on the features that are there."""

    @property
    def counts(self) -> tuple[int, ...]:
        """The players of each input."""
        first = int(self.samples[0])
        return tuple(int(f.counts[first if len(f.counts) > 1 else 0]) for f in self.features)

    @property
    def players(self) -> int:
        return sum(self.counts)

    @property
    def rows(self) -> int:
        """Model evaluations for one coalition."""
        return self.references[0].shape[1]

    @property
    def same_units(self) -> bool:
        """Whether a player is the same part of the input in every sample."""
        return all(len(f.units) == 1 for f in self.features)

    def worths(
        self, places: np.ndarray, masks: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What each coalition `(m, players)` is worth in the games at `places` of `samples`.

        Yields `(places, worth (targets, k, m))` of some games as they are complete, in order. The
        stream runs across sample borders, needs no more memory for many samples than for a few, and
        evaluates rows of a sample that are equal once.
        """
        at_once = max(1, _ITEMS // (len(masks) * self.rows))
        layout = _Layout(self, masks)
        for first in range(0, len(places), at_once):
            yield from self._of_block(places[first : first + at_once], layout)

    def _of_block(
        self, places: np.ndarray, layout: "_Layout"
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        samples = self.samples[places]
        shape = len(places), len(layout.masks), self.rows
        # A known feature moves the others, so it matters even where it has the row's value.
        inert = None if self.conditional is not None else self._inert(samples)
        if inert is None or not inert.any() or not saves(layout.masks, inert):
            stream = plain_stream(shape)
        else:
            stream = stream_of_distinct(layout.masks, inert)
        scores = np.empty((len(self.none), stream.total))

        def evaluate(start: int, stop: int) -> np.ndarray:
            owners, leaves = layout.mixed(samples, stream, start, stop)
            return self.task.scores_of_copies(leaves, owners)

        done = 0
        runs = self.task.schedule.run(stream.total, evaluate, key="forward", layouts=True)
        for start, stop, part in runs:
            scores[:, start:stop] = part
            complete = int(np.searchsorted(stream.ends, stop, side="right"))
            if complete > done:
                yield self._means(places, stream, scores, done, complete)
                done = complete
        if done < len(places):
            yield self._means(places, stream, scores, done, len(places))

    def _means(
        self, places: np.ndarray, stream: Stream, scores: np.ndarray, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray]:
        own = places[first:last]
        found = [
            mean_over(stream.gather(row, first, last, everyone[own], none[own]), self.weights)
            for row, everyone, none in zip(scores, self.everyone, self.none, strict=True)
        ]
        return own, np.stack(found)

    def _inert(self, samples: np.ndarray) -> np.ndarray:
        """Which players are the same in x and in the reference, `(m, rows, players)`."""
        found = []
        for k, (features, reference) in enumerate(zip(self.features, self.references, strict=True)):
            array, dims = self.task.batch.arrays[k], self.task.batch.dims[k]
            shared = len(reference) == 1
            if features.natural and array.ndim == 2:
                found.append(
                    array[samples][:, None] == (reference if shared else reference[samples])
                )
                continue
            channel = dims.index("channel") if "channel" in dims and space_axes(dims) else None
            each = [
                _equal_units(array[i], reference[0 if shared else i], features.of(int(i)), channel)
                for i in samples
            ]
            found.append(np.stack(each))
        return np.concatenate(found, axis=2)


def _equal_units(
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


class _Layout:
    """Coalitions as masks over the positions of each input."""

    def __init__(self, game: Game, masks: np.ndarray) -> None:
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
        self, samples: np.ndarray, stream: Stream, start: int, stop: int
    ) -> tuple[np.ndarray, Leaves]:
        """Items start to stop of a stream: the sample of each, and the rows to run."""
        size, rows = len(self.masks), self.game.rows
        flat = stream.flat(start, stop)
        # Reference rows of a coalition follow each other, so masks are looked up once for all.
        pairs, row = np.divmod(flat, rows)
        together = rows > 1 and flat[-1] - flat[0] + 1 == len(flat)
        own = np.arange(pairs[0], pairs[-1] + 1) if together else pairs
        places, coalitions = np.divmod(own, size)
        owners, made, first = samples[places], [], 0
        for k, reference in enumerate(self.game.references):
            array = self.game.task.batch.arrays[k]
            if self.game.conditional is not None:
                mixed = self.game.conditional.mixed(array[owners], self.masks[coalitions])
                mixed = mixed.reshape(-1, *array.shape[1:])[row[0] : row[0] + len(flat)]
                made.append(self.game.task.asarray(mixed))
                continue
            kept = self._masks_of(k, first, coalitions, owners)
            if together and kept.ndim == 2 and len(reference) == 1:
                mixed = _filled(kept, array[owners], reference[0])
                mixed = mixed.reshape(-1, array.shape[1])[row[0] : row[0] + len(flat)]
            elif together:
                mixed = np.where(kept[:, None], array[owners][:, None], reference)
                mixed = mixed.reshape(-1, *array.shape[1:])[row[0] : row[0] + len(flat)]
            else:
                others = reference[owners if len(reference) > 1 else 0, row]
                mixed = np.where(kept, array[owners], others)
            made.append(self.game.task.asarray(mixed))
            first += self.game.counts[k]
        return samples[pairs // size], tuple(made)

    def _masks_of(
        self, k: int, first: int, coalitions: np.ndarray, owners: np.ndarray
    ) -> np.ndarray:
        features, dims = self.game.features[k], self.game.task.batch.dims[k]
        shared = self._kept[k]
        if shared is not None:
            return over_channels(shared[coalitions], dims)
        own = _with_kept(self.masks[coalitions, first : first + self.game.counts[k]])
        if len(features.units) == 1:
            return over_channels(own[:, features.units[0]], dims)
        units = features.units[owners]
        kept = np.take_along_axis(own, units.reshape(len(own), -1), axis=1)
        return over_channels(kept.reshape(units.shape), dims)


def _filled(kept: np.ndarray, own: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Each of `rows (r, columns)` with the columns `kept (k, columns)` of `own`, `(k, r, columns)`.

    As `np.where` has it, but what is not kept is copied in one piece.
    """
    mixed = np.empty((len(kept), *rows.shape), dtype=own.dtype)
    mixed[:] = rows
    place, column = np.nonzero(kept)
    mixed[place, :, column] = own[place, column][:, None]
    return mixed


def _with_kept(masks: np.ndarray) -> np.ndarray:
    """One more column, for positions that no unit holds: they are always the sample's."""
    return np.concatenate([masks, np.ones((len(masks), 1), dtype=bool)], axis=1)


def over_channels(kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """A mask over positions as one that an array with axes `dims` can be masked with."""
    if "channel" not in dims or not space_axes(dims):
        return kept
    return np.expand_dims(kept, dims.index("channel"))


def against(rows: int | None, *, conditional: bool = False, weighted: bool = False) -> str:
    """Which question was asked, for the result: one reference or a background."""
    if weighted:
        return against(rows, conditional=conditional) + ", each row by its weight"
    if conditional:
        return (
            f"what is absent was taken from {rows} background rows in turn, moved to where what is"
            " there says it would be (a normal distribution with the background's covariance), the"
            " scores averaged: conditional Shapley values, true to the data rather than the model"
        )
    if rows is None:
        return "what is absent was replaced by one reference, the sample's own baseline"
    return f"what is absent was taken from {rows} background rows in turn, the scores averaged"


def make_units(task: Task, features: Any) -> tuple[Features, ...]:
    """The features of each input; one spec for all, or a tuple of one each."""
    batch = task.batch
    specs = features if isinstance(features, tuple) and len(batch.arrays) > 1 else None
    if specs is not None and len(specs) != len(batch.arrays):
        raise MethodError(f"Expected features for {len(batch.arrays)} inputs, got {len(specs)}.")
    names = task.wrapped.feature_names or batch.columns
    return tuple(
        make_features(features if specs is None else specs[i], a, d, columns=names, name=n)
        for i, (a, d, n) in enumerate(zip(batch.arrays, batch.dims, batch.names, strict=True))
    )


def one_feature(task: Task, sample: int) -> str:
    """What to say of a sample that there is nothing to compare in."""
    space = any({"height", "width"} & set(dims) for dims in task.batch.dims)
    hint = "\n  features='grid:7' cuts any picture into cells." if space else ""
    return f"Sample {sample} has one feature; 2 or more are needed.{hint}"


def mean_over(scores: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The mean over the last axis, by `weights` that add up to 1 where there are some."""
    return scores.mean(axis=-1) if weights is None else scores @ weights


def with_weights(background: Any) -> tuple[Any, np.ndarray | None]:
    """The rows of a background, and how much each counts where they do not count alike."""
    if isinstance(background, WeightedRows):
        return background.rows, background.weights
    return background, None


def background_rows(task: Task, background: Any) -> tuple[np.ndarray, ...]:
    """The rows of a background, `(1, rows, ...)` for each input, in its type.

    Raises `InputError` for numbers that whole-number inputs do not hold, and `MethodError` for rows
    that count differently: `with_weights` is for methods that can.
    """
    if isinstance(background, WeightedRows):
        raise MethodError(
            "This method counts all rows of a background alike, and these are weighted.\n"
            "  pellucid.inputs.summarise(rows, k) chooses k that count alike."
        )
    check_background(background)
    batch, rows = task.batch, task.wrapped.accept(background, more=True)
    wrong = [
        n for n, a, b in zip(batch.names, batch.arrays, rows.arrays, strict=True)
        if a.shape[1:] != b.shape[1:]
    ]  # fmt: skip
    if wrong:
        raise MethodError(f"The background's rows have another shape than x: {wrong}.")
    return tuple(
        in_type(b, a.dtype, "the background")[None]
        for a, b in zip(batch.arrays, rows.arrays, strict=True)
    )
