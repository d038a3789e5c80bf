"""The model as a game of features: what a coalition is worth, evaluated as one stream."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features, make_features
from pellucid.inputs.layout import space_axes
from pellucid.methods.base import Attribution
from pellucid.task import Task
from pellucid.types import Leaves


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

    def worth(self, masks: np.ndarray, finish: Callable[[int, np.ndarray], None]) -> None:
        """V of every coalition `(m, players)` for every sample, handed over as it is complete.

        The stream runs sample by sample, so that `finish(place, worth (m,))`, of the sample at
        that place of `samples`, needs no more memory for many samples than for one.
        """
        count, rows = len(masks), self.rows
        total = np.zeros(count)

        def evaluate(start: int, stop: int) -> np.ndarray:
            places, rest = np.divmod(np.arange(start, stop), count * rows)
            samples = self.samples[places]
            return self.task.score_of(self._mixed(samples, masks, *np.divmod(rest, rows)), samples)

        for start, stop, scores in self.task.schedule.run(
            len(self.samples) * count * rows, evaluate, key="forward"
        ):
            for place, first, last in _by_sample(start, stop, count * rows):
                at = place * count * rows - start
                np.add.at(total, np.arange(first, last) // rows, scores[at + first : at + last])
                if last == count * rows:
                    finish(place, total / rows)
                    total = np.zeros(count)

    def _mixed(
        self, samples: np.ndarray, masks: np.ndarray, coalitions: np.ndarray, rows: np.ndarray
    ) -> Leaves:
        made, first = [], 0
        for k, (features, reference) in enumerate(zip(self.features, self.references, strict=True)):
            array, dims = self.task.batch.arrays[k], self.task.batch.dims[k]
            own = masks[coalitions, first : first + self.counts[k]]
            # One more column for positions that no unit holds: they are always the sample's.
            own = np.concatenate([own, np.ones((len(own), 1), dtype=bool)], axis=1)
            units = features.units[samples if len(features.units) > 1 else np.zeros_like(samples)]
            kept = np.take_along_axis(own, units.reshape(len(own), -1), axis=1)
            kept = _over_channels(kept.reshape(units.shape), dims)
            others = reference[samples if len(reference) > 1 else 0, rows]
            made.append(self.task.asarray(np.where(kept, array[samples], others)))
            first += self.counts[k]
        return tuple(made)


@dataclass(frozen=True)
class Values:
    """What one group of samples found: players' values and errors `(m, players)`, v(∅) `(m,)`."""

    phi: np.ndarray
    none: np.ndarray
    stderr: np.ndarray | None = None


def play(
    task: Task, features: Any, baseline: Any, background: Any, solve: Callable[[Game], Values]
) -> Attribution:
    """`solve` on the games of all samples, those with as many players together, as maps.

    A player's value goes in equal parts to its positions; the maps have no channel axis, and add
    up to what the players' values add up to. `extras` has the players' own values, 0 where a
    sample has fewer players than another.
    """
    made, references = _settled(task, features, baseline, background)
    totals = sum(np.broadcast_to(f.counts, task.count) for f in made)
    phi = np.zeros((task.count, int(np.max(totals))))
    errors, none, sampled = np.zeros_like(phi), np.empty(task.count), False
    shapes = np.stack([np.broadcast_to(f.counts, task.count) for f in made], axis=1)
    for counts in np.unique(shapes, axis=0):
        samples = np.flatnonzero((shapes == counts).all(axis=1))
        game = Game(task, made, references, samples)
        if game.players < 2:
            raise MethodError(f"Sample {samples[0]} has one feature; a game needs 2 or more.")
        found = solve(game)
        phi[samples, : game.players], none[samples] = found.phi, found.none
        if found.stderr is not None:
            errors[samples, : game.players], sampled = found.stderr, True
    maps = [_spread(phi, made, k) for k in range(len(made))]
    extras = {"unit_values": phi.astype(np.float32)}
    if sampled:
        extras["unit_stderr"] = errors.astype(np.float32)
    return Attribution(
        tuple(maps),
        stderr=tuple(_spread(errors, made, k) for k in range(len(made))) if sampled else None,
        dims=tuple(tuple(d for d in dims if d != "channel") for dims in task.batch.dims),
        baseline_score=none,
        extras=extras,
        notes=(against(None if background is None else references[0].shape[1]),),
    )


def _settled(
    task: Task, features: Any, baseline: Any, background: Any
) -> tuple[tuple[Features, ...], tuple[np.ndarray, ...]]:
    """The features and references of a task, from what the methods take."""
    made = make_units(task, features)
    if background is None:
        return made, tuple(b[:, None] for b in task.baselines(baseline))
    return made, background_rows(task, background)


def against(rows: int | None) -> str:
    """Which of two questions was asked, for the result: one reference or a background."""
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


def background_rows(task: Task, background: Any) -> tuple[np.ndarray, ...]:
    """The rows of a background, `(1, rows, ...)` for each input."""
    batch, rows = task.batch, task.wrapped.accept(background, more=True)
    wrong = [
        n for n, a, b in zip(batch.names, batch.arrays, rows.arrays, strict=True)
        if a.shape[1:] != b.shape[1:]
    ]  # fmt: skip
    if wrong:
        raise MethodError(f"The background's rows have another shape than x: {wrong}.")
    return tuple(b[None].astype(a.dtype) for a, b in zip(batch.arrays, rows.arrays, strict=True))


def _by_sample(start: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The samples of a micro-batch, and which of their items (first, last) it holds."""
    for sample in range(start // size, (stop - 1) // size + 1):
        yield sample, max(start - sample * size, 0), min(stop - sample * size, size)


def _over_channels(kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    if "channel" not in dims or not space_axes(dims):
        return kept
    return np.expand_dims(kept, dims.index("channel"))


def _spread(phi: np.ndarray, features: tuple[Features, ...], k: int) -> np.ndarray:
    """Values of players `(n, players)` on the positions of input k, in equal parts."""
    maps = np.zeros((len(phi), *features[k].units.shape[1:]))
    for sample, own in enumerate(phi):
        counts = [int(f.counts[sample if len(f.counts) > 1 else 0]) for f in features]
        first = sum(counts[:k])
        units = features[k].of(sample)
        held = units >= 0
        sizes = np.bincount(units[held], minlength=counts[k])
        maps[sample][held] = (own[first : first + counts[k]] / np.maximum(sizes, 1))[units[held]]
    return maps.astype(np.float32)
