"""From what was found of units to maps over the input, also where it was found of some only."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.features import Features, unit_names
from pellucid.methods.base import Attribution
from pellucid.methods.perturbation.game import against, one_feature
from pellucid.methods.perturbation.removal import Estimates, Progress, Removal, Units, alike
from pellucid.task import Task


def explain_units(
    task: Task,
    features: tuple[Features, ...],
    references: tuple[np.ndarray, ...],
    solve: Callable[[Removal], Estimates],
    *,
    inpainted: bool = False,
    notes: tuple[str, ...] = (against(None),),
    warnings: tuple[str, ...] = (),
    parameters: dict[str, Any] | None = None,
    extras: dict[str, np.ndarray] | None = None,
) -> tuple[Attribution, ...]:
    """An attribution for each target: every unit's value on all of its positions.

    Samples with as many units are estimated together. The units' own values and errors are in
    `extras`, 0 where a sample has fewer units than another. Where something is raised, `task.kept`
    has the samples that were finished before, by the `progress` of the removal in hand.
    """
    found = _Found(task, features)

    def attributions() -> tuple[Attribution, ...]:
        # `parameters` may be completed while the method works.
        return found.attributions(notes, warnings, parameters or {}, extras or {})

    for samples in alike(found.parts, task.count):
        removal = Removal(task, found.parts, references, samples, inpainted)
        if removal.count < 2:
            raise MethodError(one_feature(task, int(samples[0])))
        try:
            found.take(removal, solve(removal), np.arange(len(samples)))
        except BaseException:
            progress = removal.progress
            if progress.estimates is not None and progress.finished:
                found.take(removal, progress.estimates, np.array(progress.finished))
            task.kept = np.flatnonzero(found.known), attributions()[0]
            raise
    return attributions()


class _Found:
    """What is known so far of every sample."""

    def __init__(self, task: Task, features: tuple[Features, ...]) -> None:
        self._task = task
        self.parts = tuple(map(Units, features))
        targets, n = len(task.targets), task.count
        most = int(np.max(sum(np.broadcast_to(p.counts, n) for p in self.parts)))
        self._both = np.zeros((2, targets, n, most))
        self._maps = [np.zeros((2, targets, n, *f.units.shape[1:]), np.float32) for f in features]
        self._numbers: dict[str, np.ndarray] = {}
        self._sampled = False
        self._features = features
        self._names = unit_names(features)
        self.known = np.zeros(n, dtype=bool)
        self._stops = Progress()

    def take(self, removal: Removal, found: Estimates, places: np.ndarray) -> None:
        """The estimates of a removal at some `places` of its samples."""
        samples = removal.samples[places]
        self.known[samples] = True
        self._stops.take(removal.progress, samples, places, self._task.count)
        self._both[0][:, samples, : removal.count] = found.values[:, places]
        if found.stderr is not None:
            self._both[1][:, samples, : removal.count] = found.stderr[:, places]
            self._sampled = True
        for name, own in found.extras.items():
            into = self._numbers.setdefault(name, np.zeros((len(own), self._task.count)))
            into[:, samples] = own[:, places]
        borders = np.cumsum(removal.counts)[:-1]
        for kind, own in enumerate(self._both):
            for target, values in enumerate(own):
                pieces = np.split(values[samples, : removal.count], borders, axis=1)
                for painted, part, piece in zip(self._maps, self.parts, pieces, strict=True):
                    painted[kind, target, samples] = part.paint(piece, samples)

    def attributions(
        self,
        notes: tuple[str, ...],
        warnings: tuple[str, ...],
        parameters: dict[str, Any],
        extras: dict[str, np.ndarray],
    ) -> tuple[Attribution, ...]:
        values, errors = self._both.astype(np.float32)
        sampled = self._sampled
        said, late = self._stops.told()
        return tuple(
            Attribution(
                tuple(m[0, t] for m in self._maps),
                stderr=tuple(m[1, t] for m in self._maps) if sampled else None,
                dims=tuple(
                    tuple(d for d in dims if d != "channel") for dims in self._task.batch.dims
                ),
                parameters=dict(parameters),
                extras={"unit_values": values[t]}
                | ({"unit_stderr": errors[t]} if sampled else {})
                | {name: own[t].astype(np.float32) for name, own in self._numbers.items()}
                | ({} if self._names is None else {"unit_names": self._names})
                | extras
                | said,
                shared_extras=frozenset({"unit_names"}),
                notes=notes,
                warnings=late + warnings,
                units=self._features,
            )
            for t in range(len(self._task.targets))
        )
