"""Changed copies in stages: each sample gets more of them until it is known as well as asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pellucid.methods.perturbation.precision import Precision
from pellucid.methods.perturbation.removal import Masks, Progress, Removal

_HELD = 2**19
"""Scores that are held at once while samples wait for their next stage."""

Judge = Callable[[int, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""`(place, scores (targets, m), stage) -> (values, standard errors)`, `(targets, k)` each."""


def in_stages(
    removal: Removal,
    masks: Masks,
    stages: Sequence[np.ndarray],
    precision: Precision,
    estimate: Judge,
) -> None:
    """`estimate(place, scores, stage)` for the copies of each stage, till a sample is settled.

    `stages` are the numbers of the copies, each stage's among those of the next; `masks(samples,
    numbers)` makes their masks. Without a precision the last stage is the only one.
    `removal.progress` has what each sample took, and whether it is settled.
    """
    most = len(stages[-1])
    if not precision.asked:

        def take(place: int, scores: np.ndarray) -> None:
            estimate(place, scores, len(stages) - 1)

        removal.scores_of_masks(most, masks, take)
        return
    count = len(removal.samples)
    removal.progress.start(count)
    at_once = max(1, _HELD // (len(removal.task.targets) * most))
    for first in range(0, count, at_once):
        some = _Some(removal, precision, estimate, np.arange(first, min(first + at_once, count)))
        some.run(masks, stages)


class _Some:
    """As many samples as have their scores held at once."""

    def __init__(
        self, removal: Removal, precision: Precision, estimate: Judge, places: np.ndarray
    ) -> None:
        self._removal, self._precision, self._estimate = removal, precision, estimate
        self._places = places

    def run(self, masks: Masks, stages: Sequence[np.ndarray]) -> None:
        progress, waiting = self._removal.progress, self._places
        assert progress.settled is not None
        shape = len(self._removal.task.targets), len(waiting), len(stages[-1])
        scores, seen = np.empty(shape), np.empty(0, dtype=np.intp)
        for number, stage in enumerate(stages):
            self._look(masks, stage, np.setdiff1d(stage, seen), number, waiting, scores)
            waiting, seen = waiting[~progress.settled[waiting]], stage
            if not len(waiting):
                return

    def _look(
        self,
        masks: Masks,
        stage: np.ndarray,
        fresh: np.ndarray,
        number: int,
        waiting: np.ndarray,
        scores: np.ndarray,
    ) -> None:
        """One more stage of the samples that wait, into `scores (targets, samples, copies)`."""
        progress = self._removal.progress

        def take(place: int, found: np.ndarray) -> None:
            at = int(waiting[place])
            own = scores[:, at - self._places[0]]
            own[:, fresh] = found
            known = self._estimate(at, own[:, stage], number)
            progress.note(at, len(stage), bool(self._precision.settled(*known).all()))

        part = replace(self._removal, samples=self._removal.samples[waiting], progress=Progress())
        part.scores_of_masks(len(fresh), lambda samples, own: masks(samples, fresh[own]), take)


def counted(stages: Sequence[int], *, width: int = 1, blocks: int = 1) -> list[np.ndarray]:
    """The numbers of the copies of each stage: the first so many of each of `blocks` blocks.

    A stage's number counts groups of `width` copies in a row; a block has as many as the last.
    """
    whole = stages[-1] * width
    starts = whole * np.arange(blocks)[:, None]
    return [(starts + np.arange(n * width)).ravel() for n in stages]


def strided(
    least: int, count: int, cluster: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Stages of copies that were drawn systematically along an order: each every 2^k-th of it.

    So every stage is drawn systematically too. `cluster` copies in a row stay together; the first
    stage has `least` or more.
    """
    groups = count // cluster
    steps = [2**k for k in range(60) if groups // 2**k * cluster >= min(least, groups * cluster)]
    start = int(generator.integers(steps[-1]))
    members = np.arange(groups * cluster).reshape(groups, cluster)
    return [members[start % step :: step].ravel() for step in reversed(steps)]
