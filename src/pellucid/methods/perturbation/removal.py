"""Samples with parts taken away: the stream of masked copies that the surrogate methods share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features
from pellucid.inputs.fills import inpaint, unit_means
from pellucid.inputs.layout import space_axes
from pellucid.methods.perturbation.mixing import put_where
from pellucid.methods.perturbation.precision import not_converged, why_stopped
from pellucid.task import Task
from pellucid.types import Leaves


class Parts(ABC):
    """What of one input is removed as one, and how far each position is from being whole."""

    @property
    @abstractmethod
    def counts(self) -> np.ndarray:
        """The parts of each sample, `(n or 1,)`."""

    @abstractmethod
    def masks(self, kept: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """From what is kept of each part `(m, parts)` the share of each position."""

    @abstractmethod
    def paint(self, values: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """The values of parts `(m, parts)` on their positions."""


@dataclass(frozen=True)
class Units(Parts):
    """Units with sharp borders; positions that no unit holds are never removed."""

    features: Features

    @property
    def counts(self) -> np.ndarray:
        return self.features.counts

    def masks(self, kept: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return self._looked_up(kept, samples, 1)

    def paint(self, values: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return self._looked_up(values, samples, 0)

    def _looked_up(self, values: np.ndarray, samples: np.ndarray, elsewhere: int) -> np.ndarray:
        last = np.full((len(values), 1), elsewhere, dtype=values.dtype)
        wide = np.concatenate([values, last], axis=1)  # the unit −1 finds the last column
        units = self.features.units
        if len(units) == 1:
            return np.take(wide, units[0], axis=1)
        flat = units[samples].reshape(len(values), -1)
        return np.take_along_axis(wide, flat, axis=1).reshape(-1, *units.shape[1:])


@dataclass
class Estimates:
    """What was found for some samples, by target: parts' values and errors `(targets, m, parts)`.

    `extras` are further numbers `(targets, m)`.
    """

    values: np.ndarray
    stderr: np.ndarray | None = None
    extras: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Progress:
    """What a method has made of some samples while it still works on others.

    `estimates` is filled in place; `finished` are the places of the samples that have values.
    Where samples stop at a precision, `copies (m,)` says how many each took, and `settled (m,)`
    whether it is there.
    """

    estimates: Estimates | None = None
    finished: list[int] = field(default_factory=list)
    copies: np.ndarray | None = None
    settled: np.ndarray | None = None

    def start(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for `copies` and `settled` of so many samples: no copies, and none is late."""
        self.copies = np.zeros(count, dtype=np.int64)
        self.settled = np.ones(count, dtype=bool)
        return self.copies, self.settled

    def take(self, other: "Progress", samples: np.ndarray, places: np.ndarray, count: int) -> None:
        """What another says of its `places`, which are `samples` here, of `count`."""
        if other.copies is None or other.settled is None:
            return
        copies, settled = self.copies, self.settled
        if copies is None or settled is None:
            copies, settled = self.start(count)
        copies[samples], settled[samples] = other.copies[places], other.settled[places]

    def note(self, place: int, copies: int, settled: bool) -> bool:
        """Take down that a sample has values; whether it needs no more copies."""
        if self.copies is None or self.settled is None:
            self.finished.append(place)
            return True
        if not self.copies[place]:
            self.finished.append(place)
        self.copies[place], self.settled[place] = copies, settled
        return bool(settled)

    def told(self) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """What is said of where samples stopped: `extras`, and warnings."""
        if self.copies is None or self.settled is None:
            return {}, ()
        said = {"copies": self.copies.copy(), "stopped": why_stopped(~self.settled)}
        return said, not_converged(~self.settled)


Masks = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
"""`(samples, numbers)` to the masks of these numbers for these samples, one array an input."""


@dataclass(frozen=True)
class Removal:
    """Masked copies of some samples, and their scores for each of the task's targets.

    A copy is x ⊙ m + r ⊙ (1 − m), m the share of each position that is kept and r a reference:
    the sample's own `(n, 1, ...)`, or each row of a background `(1, rows, ...)` in turn, over
    which the score is averaged.
    """

    task: Task
    parts: tuple[Parts, ...]
    references: tuple[np.ndarray, ...]
    samples: np.ndarray
    """Which samples of the task; all of them have as many parts."""
    inpainted: bool = False
    """Hidden positions are filled from those around them, in place of the references."""
    progress: Progress = field(default_factory=Progress)

    @property
    def counts(self) -> tuple[int, ...]:
        """The parts of each input."""
        first = int(self.samples[0])
        return tuple(int(p.counts[first if len(p.counts) > 1 else 0]) for p in self.parts)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def scores(self, kept: np.ndarray, finish: Callable[[int, np.ndarray], None]) -> None:
        """`finish(place, scores (targets, m))` for what is kept of all parts, `(m, parts)`."""
        self.scores_of_masks(len(kept), self.masks_of(kept), finish)

    def masks_of(self, kept: np.ndarray) -> Masks:
        """The masks of what is kept of all parts, `(m, parts)`."""

        def masks(samples: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
            borders = np.cumsum(self.counts)[:-1]
            each = np.split(kept[numbers], borders, axis=1)
            return tuple(p.masks(own, samples) for p, own in zip(self.parts, each, strict=True))

        return masks

    def scores_of_masks(
        self,
        count: int,
        masks: Masks,
        finish: Callable[[int, np.ndarray], None],
    ) -> None:
        """`finish(place, scores (targets, count))`, sample after sample, as they are complete.

        `masks(samples, numbers)` makes the masks of these numbers for these samples, one array
        per input over its positions.
        """
        rows, targets = self.references[0].shape[1], len(self.task.targets)
        total = np.zeros((targets, count))

        def evaluate(start: int, stop: int) -> np.ndarray:
            places, rest = np.divmod(np.arange(start, stop), count * rows)
            numbers, references = np.divmod(rest, rows)
            samples = self.samples[places]
            leaves = self._blended(samples, masks(samples, numbers), references)
            return self.task.scores_of_copies(leaves, samples)

        size = count * rows
        for start, stop, scores in self.task.schedule.run(
            len(self.samples) * size, evaluate, key="forward", layouts=True
        ):
            for place in range(start // size, (stop - 1) // size + 1):
                first, last = max(start, place * size), min(stop, (place + 1) * size)
                numbers = np.arange(first - place * size, last - place * size) // rows
                np.add.at(total.T, numbers, scores[:, first - start : last - start].T)
                if last == (place + 1) * size:
                    finish(place, total / rows)
                    self.progress.finished.append(place)
                    total = np.zeros_like(total)

    def _blended(
        self, samples: np.ndarray, masks: tuple[np.ndarray, ...], references: np.ndarray
    ) -> Leaves:
        blended = []
        batch = self.task.batch
        for array, dims, mask, reference in zip(
            batch.arrays, batch.dims, masks, self.references, strict=True
        ):
            # Most micro-batches are of one sample, which need not be copied for each row.
            alone = (samples == samples[0]).all() and not self.inpainted
            own = array[samples[:1] if alone else samples]
            if self.inpainted:
                blended.append(self.task.asarray(inpaint(own, mask, dims)))
                continue
            wide = np.expand_dims(mask, dims.index("channel")) if "channel" in dims else mask
            other = reference[samples if len(reference) > 1 else 0, references]
            blended.append(self.task.asarray(_mix(own, other, wide)))
        return tuple(blended)


def _mix(own: np.ndarray, other: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Own ⊙ mask + other ⊙ (1 − mask), in the place of `other`."""
    if mask.dtype == bool or own.dtype.kind != "f":
        return put_where(mask > 0.5 if mask.dtype != bool else mask, own, other)
    share = mask.astype(own.dtype)
    missing = np.isnan(own) | np.isnan(other) if own.ndim == 2 else None
    if missing is not None and missing.any():
        # A missing value has no half: of a table it is there, or the other value is.
        share = np.where(missing, share > 0.5, share)
        own, other = np.where(share > 0, own, 0), np.where(share < 1, other, 0)
    other *= 1 - share
    other += own * share
    return other


def references_of(
    task: Task, baseline: Any, features: tuple[Features, ...]
) -> tuple[tuple[np.ndarray, ...], bool]:
    """What hides parts, `(n, 1, ...)` for each input, and whether it is painted in by each mask.

    Besides what `make_baseline` knows: "unit_mean", each unit in its own mean, and "inpaint".
    """
    batch = task.batch
    if isinstance(baseline, str) and baseline == "unit_mean":
        return tuple(
            unit_means(a, f, dims)[:, None]
            for a, f, dims in zip(batch.arrays, features, batch.dims, strict=True)
        ), False
    painted = isinstance(baseline, str) and baseline == "inpaint"
    if painted and not all(space_axes(dims) for dims in batch.dims):
        raise MethodError("baseline='inpaint' is for images and series.")
    return tuple(b[:, None] for b in task.baselines("zeros" if painted else baseline)), painted


def copies_allowed(budget: int | None, usual: int, rows: int = 1) -> int:
    """Changed copies of a sample that `budget` evaluations of it allow, f(x) counted.

    Without a budget `usual`. A copy takes one evaluation on each of `rows` rows of a background.
    """
    return usual if budget is None else (budget - 1) // rows


def most_parts(features: tuple[Features, ...]) -> int:
    """The units of all inputs, of the sample that has most."""
    return sum(int(np.max(f.counts)) for f in features)


def alike(parts: tuple[Parts, ...], count: int) -> Iterator[np.ndarray]:
    """The samples in groups of those with as many parts in each input."""
    counts = np.stack([np.broadcast_to(p.counts, count) for p in parts], axis=1)
    for shape in np.unique(counts, axis=0):
        yield np.flatnonzero((counts == shape).all(axis=1))
