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

    @property
    def players(self) -> int:
        return sum(f.count for f in self.features)

    @property
    def rows(self) -> int:
        """Model evaluations for one coalition."""
        return self.references[0].shape[1]

    def worth(self, masks: np.ndarray, finish: Callable[[int, np.ndarray], None]) -> None:
        """V of every coalition `(m, players)` for every sample, handed over as it is complete.

        The stream runs sample by sample, so that `finish(sample, worth (m,))` needs no more
        memory for many samples than for one.
        """
        count, rows = len(masks), self.rows
        total = np.zeros(count)

        def evaluate(start: int, stop: int) -> np.ndarray:
            samples, rest = np.divmod(np.arange(start, stop), count * rows)
            return self.task.score_of(self._mixed(samples, masks, *np.divmod(rest, rows)), samples)

        for start, stop, scores in self.task.schedule.run(
            self.task.count * count * rows, evaluate, key="forward"
        ):
            for sample, first, last in _by_sample(start, stop, count * rows):
                places = np.arange(first, last) // rows
                at = sample * count * rows - start
                np.add.at(total, places, scores[at + first : at + last])
                if last == count * rows:
                    finish(sample, total / rows)
                    total = np.zeros(count)

    def _mixed(
        self, samples: np.ndarray, masks: np.ndarray, coalitions: np.ndarray, rows: np.ndarray
    ) -> Leaves:
        made, first = [], 0
        for k, (features, reference) in enumerate(zip(self.features, self.references, strict=True)):
            array, dims = self.task.batch.arrays[k], self.task.batch.dims[k]
            own = masks[coalitions, first : first + features.count]
            # One more column for positions that no unit holds: they are always the sample's.
            own = np.concatenate([own, np.ones((len(own), 1), dtype=bool)], axis=1)
            units = features.units[samples if len(features.units) > 1 else np.zeros_like(samples)]
            kept = np.take_along_axis(own, units.reshape(len(own), -1), axis=1)
            kept = _over_channels(kept.reshape(units.shape), dims)
            others = reference[samples if len(reference) > 1 else 0, rows]
            made.append(self.task.asarray(np.where(kept, array[samples], others)))
            first += features.count
        return tuple(made)

    def attribution(self, phi: np.ndarray, stderr: np.ndarray | None, **found: Any) -> Attribution:
        """Values of players `(n, players)` as maps: a unit's value in equal parts on its positions.

        The maps have no channel axis; they add up to what the players' values add up to.
        """
        values, errors, dims = [], [], []
        first = 0
        for k, features in enumerate(self.features):
            own = slice(first, first + features.count)
            values.append(_spread(phi[:, own], features))
            if stderr is not None:
                errors.append(_spread(stderr[:, own], features))
            dims.append(tuple(d for d in self.task.batch.dims[k] if d != "channel"))
            first += features.count
        return Attribution(
            tuple(values),
            stderr=tuple(errors) if stderr is not None else None,
            dims=tuple(dims),
            extras={"unit_values": phi.astype(np.float32)}
            | ({} if stderr is None else {"unit_stderr": stderr.astype(np.float32)}),
            **found,
        )


def make_game(task: Task, features: Any, baseline: Any, background: Any) -> Game:
    """The game of a task; `features`, `baseline` and `background` as the methods take them.

    Raises `InputError` or `MethodError` for what does not fit the inputs.
    """
    batch = task.batch
    specs = features if isinstance(features, tuple) and len(batch.arrays) > 1 else None
    if specs is not None and len(specs) != len(batch.arrays):
        raise MethodError(f"Expected features for {len(batch.arrays)} inputs, got {len(specs)}.")
    names = task.wrapped.feature_names or batch.columns
    made = tuple(
        make_features(features if specs is None else specs[i], a, d, columns=names, name=n)
        for i, (a, d, n) in enumerate(zip(batch.arrays, batch.dims, batch.names, strict=True))
    )
    if background is None:
        references = tuple(b[:, None] for b in task.baselines(baseline))
    else:
        rows = task.wrapped.accept(background)
        wrong = [
            n for n, a, b in zip(batch.names, batch.arrays, rows.arrays, strict=True)
            if a.shape[1:] != b.shape[1:]
        ]  # fmt: skip
        if wrong:
            raise MethodError(f"The background's rows have another shape than x: {wrong}.")
        references = tuple(
            b[None].astype(a.dtype) for a, b in zip(batch.arrays, rows.arrays, strict=True)
        )
    game = Game(task, made, references)
    if game.players < 2:
        raise MethodError("A game needs at least 2 features; this input has 1.")
    return game


def _by_sample(start: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The samples of a micro-batch, and which of their items (first, last) it holds."""
    for sample in range(start // size, (stop - 1) // size + 1):
        yield sample, max(start - sample * size, 0), min(stop - sample * size, size)


def _over_channels(kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    if "channel" not in dims or not space_axes(dims):
        return kept
    return np.expand_dims(kept, dims.index("channel"))


def _spread(phi: np.ndarray, features: Features) -> np.ndarray:
    maps = np.zeros((len(phi), *features.units.shape[1:]))
    for sample, own in enumerate(phi):
        units = features.of(sample)
        held = units >= 0
        sizes = np.bincount(units[held], minlength=features.count)
        maps[sample][held] = (own / np.maximum(sizes, 1))[units[held]]
    return maps.astype(np.float32)
