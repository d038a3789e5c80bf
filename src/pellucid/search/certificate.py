"""What fresh samples say of the best ones: intervals, paired tests, and the limits again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.search.gates import Gate, gates_of
from pellucid.search.goal import Goal
from pellucid.search.limits import broken
from pellucid.search.race import Judge, Race, Runner
from pellucid.search.record import Record, Scores
from pellucid.search.space import ANCHOR, Candidate
from pellucid.search.utility import axis_utilities, mean_interval, mean_of, weighted
from pellucid.standard.controls import LEVEL
from pellucid.standard.statistics import holm, paired_p

Gating = Callable[[Candidate, int, Mapping[str, Scores], float], tuple[Gate, ...]]
"""Asks the gates of a candidate on so many samples, with scores that are known already."""


@dataclass(frozen=True)
class Line:
    """One finalist on the held-out samples.

    `utility` is its mean there with a 95 % bootstrap interval, `lead` that of the chosen one over
    it, sample by sample, with `p` of Wilcoxon's signed-rank test that the chosen one is better,
    corrected by Holm; of the chosen one itself they are None. `broken` is the limit it breaks.
    """

    name: str
    utility: float
    low: float
    high: float
    axes: Mapping[str, float]
    lead: float | None = None
    lead_low: float | None = None
    lead_high: float | None = None
    p: float | None = None
    broken: str = ""
    error: str = ""

    @property
    def tied(self) -> bool:
        """Whether the samples do not tell it apart from the chosen one."""
        return self.p is not None and not self.p < LEVEL


@dataclass(frozen=True)
class Certificate:
    """The finalists on `samples` that had no part in the race, judged with other imputers.

    `beats_random` says whether the chosen one is better than the random control there beyond
    chance, `gates` which gates of the standard it passes there (C4, C7 and C8): what could not be
    asked says why. `favoured` are finalists and candidates on the front whose own baseline is one
    of the imputers: none, wherever an imputer is left that is nobody's.
    """

    samples: int
    imputers: tuple[str, ...]
    lines: tuple[Line, ...]
    beats_random: bool
    gates: tuple[Gate, ...] = ()
    favoured: tuple[str, ...] = ()

    @property
    def chosen(self) -> Line | None:
        """The line of the chosen one."""
        return self.lines[0] if self.lines else None

    @property
    def tied(self) -> tuple[str, ...]:
        """The finalists that are not told apart from the chosen one."""
        return tuple(line.name for line in self.lines[1:] if line.tied)


def certify(
    race: Race,
    finalists: Sequence[Runner],
    judge: Judge,
    gating: Gating | None,
    *,
    samples: int,
    imputers: tuple[str, ...],
    favoured: tuple[str, ...] = (),
    seed: int,
) -> Certificate:
    """Judge the finalists, the chosen one first, on all held-out samples.

    Those that fit into the budget; the chosen one's own failure leaves a certificate without it.
    `gating` asks the gates; None where the budget holds none.
    """
    goal, metrics = race.goal, race.metrics
    anchors = {
        model: judge(race.anchors[model].candidate, 0, samples)
        for model in dict.fromkeys(r.candidate.model for r in finalists)
    }
    records = {r.candidate.name: judge(r.candidate, 0, samples) for r in finalists}
    utilities: dict[str, np.ndarray] = {}
    axes: dict[str, dict[str, float]] = {}
    faults: dict[str, tuple[str, str]] = {}
    for runner in finalists:
        name, anchor = runner.candidate.name, anchors[runner.candidate.model]
        record = records[name]
        error = record.error or anchor.error
        if error:
            faults[name] = ("", error)
            continue
        found = axis_utilities(record.scores, anchor.scores, metrics, runner.evaluations, samples)
        utilities[name] = weighted(found, goal.weights)
        axes[name] = {axis: mean_of(values) for axis, values in found.items()}
        faults[name] = (_broken(goal, race, record, runner), "")
    first = finalists[0].candidate
    gates = gates_of([])
    if gating is not None and not records[first.name].error:
        known = {"": records[first.name].scores, ANCHOR: anchors[first.model].scores}
        gates = gating(first, samples, known, finalists[0].evaluations)
    return Certificate(
        samples,
        imputers,
        _lines([r.candidate.name for r in finalists], utilities, axes, faults, seed),
        _beats_random(race, records[first.name], anchors[first.model], samples),
        gates,
        favoured,
    )


def _beats_random(race: Race, own: Record, control: Record, samples: int) -> bool:
    """Whether the scores, speed left out, are above those of the control beyond chance."""
    # Speed says nothing of whether a map is true: of that the control has the most.
    weights = {k: w for k, w in race.goal.weights.items() if k != "speed"}
    if own.error or control.error or not any(weights.values()):
        return False
    both = [
        weighted(axis_utilities(r.scores, control.scores, race.metrics, 1.0, samples), weights)
        for r in (own, control)
    ]
    return paired_p(both[0], both[1]) < LEVEL


def _broken(goal: Goal, race: Race, record: Record, runner: Runner) -> str:
    """The first limit broken on the held-out samples; those of time are as they were measured."""
    own = broken(goal, race.metrics, [record], runner.evaluations, sure=False)
    earlier = replace(goal, minimum={})
    return own or broken(earlier, race.metrics, runner.records, runner.evaluations, sure=False)


def _lines(
    names: Sequence[str],
    utilities: Mapping[str, np.ndarray],
    axes: Mapping[str, dict[str, float]],
    faults: Mapping[str, tuple[str, str]],
    seed: int,
) -> tuple[Line, ...]:
    best = utilities.get(names[0])
    rivals = [n for n in names[1:] if n in utilities]
    p: dict[str, float] = {}
    if best is not None and rivals:
        raw = [paired_p(best, utilities[n]) for n in rivals]
        p = dict(zip(rivals, holm(raw), strict=True))
    found = []
    for name in names:
        fault, error = faults[name]
        values = utilities.get(name)
        if values is None:
            found.append(Line(name, np.nan, np.nan, np.nan, {}, broken=fault, error=error))
            continue
        low, high = mean_interval(values, seed=seed)
        line = Line(name, mean_of(values), low, high, axes[name], broken=fault)
        if name in p and best is not None:
            lead = best - values
            lead_low, lead_high = mean_interval(lead, seed=seed)
            line = Line(
                name, line.utility, low, high, axes[name], mean_of(lead), lead_low, lead_high,
                p[name], fault,
            )  # fmt: skip
        found.append(line)
    return tuple(found)
