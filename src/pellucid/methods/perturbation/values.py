"""From the values of players to maps over the input, with what is known about their error."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import MethodError, ModelError
from pellucid.inputs.features import Features, unit_names
from pellucid.methods.base import Attribution
from pellucid.methods.perturbation.conditional import make_conditional
from pellucid.methods.perturbation.game import (
    Game,
    against,
    background_rows,
    make_units,
    mean_over,
    one_feature,
    with_weights,
)
from pellucid.methods.perturbation.mixing import over_channels, put_where
from pellucid.methods.perturbation.precision import not_converged, why_stopped
from pellucid.task import Task


@dataclass(frozen=True)
class Estimate:
    """What is known of k games: values and standard errors `(targets, k, players)`.

    `coalitions` says how many were looked at, `settled (k,)` which games are known as well as was
    asked. `more` has arrays `(targets, k, players, ...)` by name, for `extras`. A later estimate
    of a game takes the place of an earlier one.
    """

    places: np.ndarray
    phi: np.ndarray
    stderr: np.ndarray | None
    coalitions: int
    settled: np.ndarray | None = None
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
    warning: str = ""


Solve = Callable[[Game], Iterator[Estimate]]


def play(
    task: Task,
    features: Any,
    baseline: Any,
    background: Any,
    solve: Solve,
    *,
    conditional: bool = False,
) -> tuple[Attribution, ...]:
    """`solve` on the games of all samples, those with as many players together: maps a target.

    A player's value goes in equal parts to its positions; the maps have no channel axis, and add
    up to what the players' values add up to. `extras` has the players' own values, 0 where a
    sample has fewer players than another. Where something is raised, `task.kept` has what was
    found before.
    """
    made = make_units(task, features)
    background, weights = with_weights(background)
    references, none = _references(task, made, baseline, background, weights)
    rows = None if background is None else references[0].shape[1]
    note = against(rows, conditional=conditional, weighted=weights is not None)
    given = make_conditional(task, made, references, weights) if conditional else None
    found = _Found(task, made, none, note)
    everyone = task.scores()
    shapes = np.stack([np.broadcast_to(f.counts, task.count) for f in made], axis=1)
    try:
        for counts in np.unique(shapes, axis=0):
            samples = np.flatnonzero((shapes == counts).all(axis=1))
            ends = everyone[:, samples], none[:, samples]
            game = Game(task, made, references, samples, *ends, weights, given)
            if game.players < 2:
                raise MethodError(one_feature(task, int(samples[0])))
            for estimate in solve(game):
                found.take(samples[estimate.places], estimate)
    except BaseException:
        task.kept = np.flatnonzero(found.known), found.attribution(0)
        raise
    return tuple(found.attribution(t) for t in range(len(task.targets)))


def _references(
    task: Task,
    features: tuple[Features, ...],
    baseline: Any,
    background: Any,
    weights: np.ndarray | None,
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Per input the references as `Game` has them, and v(∅) for each target and sample."""
    plain = None if background is not None else task.baselines(baseline)
    if plain is None:
        references = background_rows(task, background)
    else:
        references = tuple(b[:, None] for b in plain)
    if any((f.units < 0).any() for f in features):
        return references, _scores_of_kept(task, features, references, weights)
    if plain is not None:
        return references, task.baseline_scores_each(plain)
    return references, _mean_scores(task, tuple(r[0] for r in references), weights)


def _scores_of_kept(
    task: Task,
    features: tuple[Features, ...],
    references: tuple[np.ndarray, ...],
    weights: np.ndarray | None,
) -> np.ndarray:
    """v(∅) where some positions are in no unit, and so always the sample's own."""
    rows = references[0].shape[1]

    def evaluate(start: int, stop: int) -> np.ndarray:
        samples, row = np.divmod(np.arange(start, stop), rows)
        leaves = []
        for k, (made, reference) in enumerate(zip(features, references, strict=True)):
            array = task.batch.arrays[k]
            kept = made.units[samples if len(made.units) > 1 else np.zeros_like(samples)] < 0
            kept = over_channels(kept, task.batch.dims[k])
            others = reference[samples if len(reference) > 1 else 0, row]
            leaves.append(task.asarray(put_where(kept, array[samples], others)))
        return task.scores_of_copies(tuple(leaves), samples)

    runs = task.schedule.run(task.count * rows, evaluate, key="forward")
    scores = np.concatenate([part for _, _, part in runs], axis=1)
    return mean_over(scores.reshape(len(scores), task.count, rows), weights)


def _mean_scores(
    task: Task, rows: tuple[np.ndarray, ...], weights: np.ndarray | None
) -> np.ndarray:
    """The mean score of some rows for what is explained of each sample, `(targets, n)`.

    The rows run once, for all samples.
    """
    outputs = task.outputs_of(task.in_own_type(tuple(map(task.asarray, rows))))
    everyone = np.arange(task.count)
    picks = [p for t in task.targets if t.function is None for p in t.picks(everyone)]
    # Samples of which the same is explained have the same mean.
    columns = [np.zeros((task.count, 1)), *(p.reshape(task.count, 1) for p in picks)]
    _, first, which = np.unique(
        np.concatenate(columns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    means = np.stack(
        [mean_over(task.scores_of(outputs, np.full(len(rows[0]), i)), weights) for i in first],
        axis=1,
    )
    if not np.isfinite(means).all():
        raise ModelError(
            "The model returned NaN or infinity for rows of the background.\n"
            "  Leave out rows that the model is not defined on."
        )
    return means[:, which.ravel()]


class _Found:
    """What is known so far of every sample."""

    def __init__(
        self, task: Task, features: tuple[Features, ...], none: np.ndarray, note: str
    ) -> None:
        self.task, self.features, self.none, self.note = task, features, none, note
        self.totals = sum(np.broadcast_to(f.counts, task.count) for f in features)
        most = int(np.max(self.totals))
        self.phi = np.zeros((len(task.targets), task.count, most))
        self.errors: np.ndarray | None = None
        self.more: dict[str, np.ndarray] = {}
        self.coalitions = np.zeros(task.count, dtype=np.int64)
        self.known = np.zeros(task.count, dtype=bool)
        self.late = np.zeros(task.count, dtype=bool)
        self.judged = False
        self.warnings: dict[str, None] = {}

    def take(self, samples: np.ndarray, estimate: Estimate) -> None:
        players = estimate.phi.shape[2]
        self.phi[:, samples, :players] = estimate.phi
        if estimate.stderr is not None:
            if self.errors is None:
                self.errors = np.zeros_like(self.phi)
            self.errors[:, samples, :players] = estimate.stderr
        for name, values in estimate.more.items():
            shape = *self.phi.shape[:2], *(self.phi.shape[2] for _ in values.shape[2:])
            into = self.more.setdefault(name, np.zeros(shape, dtype=np.float32))
            into[(slice(None), samples, *(slice(n) for n in values.shape[2:]))] = values
        self.coalitions[samples] = estimate.coalitions
        self.known[samples] = True
        if estimate.warning:
            self.warnings[estimate.warning] = None
        if estimate.settled is not None:
            self.late[samples] = ~estimate.settled
            self.judged = True

    def attribution(self, target: int) -> Attribution:
        """What is known for one of the task's targets."""
        features, phi = self.features, self.phi[target]
        extras = {"unit_values": phi.astype(np.float32), "coalitions": self.coalitions.copy()}
        extras |= {name: values[target] for name, values in self.more.items()}
        errors = None if self.errors is None else self.errors[target]
        if errors is not None:
            extras["unit_stderr"] = errors.astype(np.float32)
        if self.judged:
            extras["stopped"] = why_stopped(self.late)
        if (names := unit_names(features)) is not None:
            extras["unit_names"] = names
        inputs = range(len(features))
        return Attribution(
            tuple(_spread(phi, features, k) for k in inputs),
            stderr=None if errors is None else tuple(_spread(errors, features, k) for k in inputs),
            dims=tuple(tuple(d for d in dims if d != "channel") for dims in self.task.batch.dims),
            baseline_score=self.none[target],
            extras=extras,
            shared_extras=frozenset({"unit_names"}),
            warnings=not_converged(self.late) + tuple(self.warnings),
            notes=(self.note,),
            units=features,
            in_equal_parts=True,
        )


def _spread(phi: np.ndarray, features: tuple[Features, ...], k: int) -> np.ndarray:
    """Values of players `(n, players)` on the positions of input k, in equal parts."""
    if all(len(f.units) == 1 for f in features):
        first = sum(int(f.counts[0]) for f in features[:k])
        return _on_positions(phi[:, first : first + int(features[k].counts[0])], features[k].of(0))
    maps = []
    for sample, own in enumerate(phi):
        counts = [int(f.counts[sample if len(f.counts) > 1 else 0]) for f in features]
        first = sum(counts[:k])
        maps.append(_on_positions(own[None, first : first + counts[k]], features[k].of(sample))[0])
    return np.stack(maps)


def _on_positions(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    held = units >= 0
    sizes = np.bincount(units[held], minlength=values.shape[1])
    shares = np.concatenate([values / np.maximum(sizes, 1), np.zeros((len(values), 1))], axis=1)
    return shares.astype(np.float32)[:, units]
