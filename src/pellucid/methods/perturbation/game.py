"""The model as a game of features: what a coalition is worth, evaluated as one stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.checks import check_background
from pellucid.inputs.features import Features, make_features
from pellucid.inputs.layout import space_axes
from pellucid.inputs.summaries import WeightedRows
from pellucid.methods.perturbation.conditional import Conditional
from pellucid.methods.perturbation.distinct import plain_stream, saves, stream_of_distinct
from pellucid.methods.perturbation.mixing import Layout, equal_units
from pellucid.number_types import in_type
from pellucid.task import Task

_ITEMS = 2**17
"""Items (sample × coalition × reference row) that are looked at together."""


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
        layout = Layout(self, masks)
        at_once = _ITEMS // (len(masks) * self.rows)
        if not at_once:
            yield from self._one_by_one(places, layout)
            return
        for first in range(0, len(places), at_once):
            yield from self._of_block(places[first : first + at_once], layout)

    def _one_by_one(
        self, places: np.ndarray, layout: Layout
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `worths`, a few reference rows at a time, where even one sample has many items."""
        step = max(1, _ITEMS // len(layout.masks))
        for place in places:
            own, total = np.array([place]), np.zeros((len(self.none), 1, len(layout.masks)))
            for first in range(0, self.rows, step):
                rows = slice(first, min(first + step, self.rows))
                (part,) = self._scores(own, layout, rows)
                total += self._sum_over(part[2], rows)
            yield own, total if self.weights is not None else total / self.rows

    def _of_block(
        self, places: np.ndarray, layout: Layout
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first, last, scores in self._scores(places, layout, slice(0, self.rows)):
            yield places[first:last], mean_over(scores, self.weights)

    def _sum_over(self, scores: np.ndarray, rows: slice) -> np.ndarray:
        return scores.sum(axis=-1) if self.weights is None else scores @ self.weights[rows]

    def _scores(
        self, places: np.ndarray, layout: Layout, rows: slice
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Scores `(targets, k, m, rows)` of places first to last, as they are complete."""
        samples = self.samples[places]
        shape = len(places), len(layout.masks), rows.stop - rows.start
        # A known feature moves the others, so it matters even where it has the row's value.
        inert = None if self.conditional is not None else self._inert(samples, rows)
        if inert is None or not inert.any() or not saves(layout.masks, inert):
            stream = plain_stream(shape)
        else:
            stream = stream_of_distinct(layout.masks, inert, alone=self.rows == 1)
        scores = np.empty((len(self.none), stream.total))

        def evaluate(start: int, stop: int) -> np.ndarray:
            owners, leaves = layout.mixed(samples, stream, start, stop, rows)
            return self.task.scores_of_copies(leaves, owners)

        def found(first: int, last: int) -> tuple[int, int, np.ndarray]:
            own = places[first:last]
            ends = zip(scores, self.everyone[:, own], self.none[:, own], strict=True)
            each = [stream.gather(row, first, last, *both) for row, *both in ends]
            return first, last, np.stack(each)

        done = 0
        runs = self.task.schedule.run(stream.total, evaluate, key="forward", layouts=True)
        for start, stop, part in runs:
            scores[:, start:stop] = part
            complete = int(np.searchsorted(stream.ends, stop, side="right"))
            if complete > done:
                yield found(done, complete)
                done = complete
        if done < len(places):
            yield found(done, len(places))

    def _inert(self, samples: np.ndarray, rows: slice) -> np.ndarray:
        """Which players are the same in x and in the reference, `(m, rows, players)`."""
        found = []
        for k, (features, whole) in enumerate(zip(self.features, self.references, strict=True)):
            reference = whole[:, rows]
            array, dims = self.task.batch.arrays[k], self.task.batch.dims[k]
            shared = len(reference) == 1
            if features.natural and array.ndim == 2:
                found.append(
                    array[samples][:, None] == (reference if shared else reference[samples])
                )
                continue
            channel = dims.index("channel") if "channel" in dims and space_axes(dims) else None
            each = [
                equal_units(array[i], reference[0 if shared else i], features.of(int(i)), channel)
                for i in samples
            ]
            found.append(np.stack(each))
        return np.concatenate(found, axis=2)


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
