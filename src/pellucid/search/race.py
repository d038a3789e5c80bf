"""The race: all candidates on a few samples, then fewer candidates on more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.errors import BudgetError, CapabilityError
from pellucid.search.goal import Goal
from pellucid.search.limits import broken
from pellucid.search.record import Record, Scores
from pellucid.search.space import ANCHOR, Candidate
from pellucid.search.utility import axis_utilities, joined, lead_bound, mean_of, weighted
from pellucid.standard.metric import Metric

FIRST = 3
"""Samples of the first round; each round has twice as many as the one before."""
LEVEL = 0.05
"""Of all rounds together, for two candidates whichever of them leads."""
FEW = 6
"""Held-out samples that a certificate needs to tell two candidates apart."""
SHARE = 1 / 3
"""Of what judging everything would take: the budget where the goal names none."""

Judge = Callable[[Candidate, int, int], Record]


@dataclass
class Runner:
    """A candidate in the race: its chunks, and what has become of it."""

    candidate: Candidate
    records: list[Record] = field(default_factory=list)
    samples: int = 0
    evaluations: float = np.nan
    """Of one sample's explanation, in the first round."""
    dropped: int | None = None
    """The round after which it was dropped."""
    reason: str = ""
    open: bool = False
    """Dropped for want of budget, not told apart from the leader."""
    wasted: int = 0
    """Rows of the model for what came to nothing."""
    bound: float = np.nan
    """The lower bound of the leader's lead when it was last compared."""

    @property
    def spent(self) -> int:
        return self.wasted + sum(r.spent for r in self.records)

    @property
    def judged(self) -> bool:
        return self.samples > 0

    def drop(self, number: int, reason: str, *, open: bool = False) -> None:
        self.dropped, self.reason, self.open = number, reason, open


@dataclass
class Race:
    """Runners on the samples of one half; `judge` makes the records and counts what they take.

    `left()` says how many rows of the model are left, None for no limit.
    """

    goal: Goal
    runners: dict[str, Runner]
    anchors: dict[str, Runner]
    """The random control of each model."""
    count: int
    held_out: int
    metrics: tuple[Metric, ...]
    judge: Judge
    spent: Callable[[], int]
    budget: int | None = None
    held_out_share: float = 1.0
    """What copies of held-out samples take, as a share of those of the race: other imputers."""
    seed: int = 0
    looked: int = 0
    """Rows that were run before the race, to see how right the models are."""
    gate_rows: int = 0
    """What the controls of one held-out sample take beside a certificate."""
    samples: int = 0
    rounds: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exhaustive: float = np.nan
    """What judging every candidate on every sample of both halves would take, as estimated."""

    def run(self) -> None:
        """Race until one is left, all samples are used, or the budget is.

        Raises `CapabilityError` where no candidate could be judged, `BudgetError` where that is
        for want of budget.
        """
        stops = sizes(self.count)
        for number, stop in enumerate(stops):
            if number and not self._afford(number, stop):
                break
            if not self._round(stop, number):
                break
            self.rounds.append(stop)
            if number == 0:
                self._plan()
            self._limits(number)
            self._eliminate(number, len(stops))
            if len(self.alive) < 2:
                break

    @property
    def alive(self) -> list[Runner]:
        """Who is still in the race, best first."""
        return self.ranked([r for r in self.runners.values() if r.dropped is None])

    def ranked(self, runners: Sequence[Runner]) -> list[Runner]:
        """Best mean utility first."""
        means = {id(r): mean_of(self.utility(r)) for r in runners}
        return sorted(runners, key=lambda r: -np.nan_to_num(means[id(r)], nan=-np.inf))

    def axes(self, runner: Runner, count: int | None = None) -> dict[str, np.ndarray]:
        """Each sample's utility on each axis, of the first `count` that this runner was judged on.

        The random control is that of the same samples.
        """
        count = runner.samples if count is None else count
        anchor = self.anchors[runner.candidate.model]
        own, control = (_first(joined(r.records), count) for r in (runner, anchor))
        return axis_utilities(own, control, self.metrics, runner.evaluations, count)

    def utility(self, runner: Runner) -> np.ndarray:
        """Each sample's weighted utility, `(n,)`."""
        return weighted(self.axes(runner), self.goal.weights)

    def _round(self, stop: int, number: int) -> bool:
        """Everyone on the next samples; False, and as if it had not been, where budget ran out."""
        start = self.samples
        models = {r.candidate.model for r in self.alive}
        anchors = [a for m, a in self.anchors.items() if m in models]
        before = [(r, list(r.records), r.samples) for r in (*anchors, *self.alive)]
        for anchor in anchors:
            self._one(anchor, start, stop, number)
            if anchor.samples < stop:
                for runner in self.alive:
                    if runner.candidate.model == anchor.candidate.model:
                        runner.drop(number, f"the random control failed: {anchor.reason}",
                                    open=anchor.open)  # fmt: skip
        for runner in self.alive:
            self._one(runner, start, stop, number)
        if number and any(r.open and r.dropped == number for r, _, _ in before):
            for runner, records, samples in before:
                runner.records, runner.samples = records, samples
                if runner.open and runner.dropped == number:
                    runner.dropped, runner.reason, runner.open = None, "", False
            self.notes.append(f"The budget was spent in round {number + 1}, which does not count.")
            return False
        self.samples = stop
        if not any(r.judged for r in self.runners.values()):
            self._give_up()
        return True

    def _one(self, runner: Runner, start: int, stop: int, number: int) -> None:
        record = self.judge(runner.candidate, start, stop)
        if record.error:
            runner.wasted += record.spent
            runner.drop(number, record.error, open=record.refused)
            return
        runner.records.append(record)
        runner.samples = stop
        if number == 0:
            runner.evaluations = record.evaluations / (stop - start)

    def _give_up(self) -> None:
        reasons = [f"{name}: {r.reason}" for name, r in self.runners.items()]
        if any(r.open for r in self.runners.values()):
            raise BudgetError(
                f"The budget of {self.budget} evaluations does not hold the first round, all"
                f" candidates on {self.samples} samples.\n  " + "\n  ".join(reasons)
            )
        raise CapabilityError("\n  ".join(["None of the candidates could be judged.", *reasons]))

    def cost(self, runner: Runner) -> float:
        """Rows of the model for one more sample of a runner, as measured so far."""
        return runner.spent / runner.samples if runner.samples else 0.0

    def _anchor_cost(self, runners: Sequence[Runner]) -> float:
        return sum(self.cost(self.anchors[m]) for m in {r.candidate.model for r in runners})

    def _plan(self) -> None:
        """What all would take, and from it the budget where the goal names none."""
        runners = [r for r in self.runners.values() if r.judged]
        each = sum(self.cost(r) for r in runners) + self._anchor_cost(runners)
        self.exhaustive = each * (self.count + self.held_out) + self.looked
        if self.budget is None:
            few = min(self.held_out, FEW)
            least = 1.1 * (self.spent() + few * self.certificate_cost(self.alive[:2]))
            self.budget = int(max(self.exhaustive * SHARE, least))

    def certificate_cost(self, runners: Sequence[Runner]) -> float:
        """What it takes to judge these on one held-out sample."""
        models = {r.candidate.model for r in runners}
        both = [*runners, *(self.anchors[m] for m in models)]
        return sum(
            r.evaluations + (self.cost(r) - r.evaluations) * self.held_out_share
            for r in both
            if r.samples
        )

    def _afford(self, number: int, stop: int) -> bool:
        """Whether the next round fits, with a certificate of two kept back; the worst may go.

        What is kept back is half of the budget at most: a certificate may do with fewer samples.
        """
        if self.budget is None:
            return True
        alive, more = self.alive, stop - self.samples
        kept_back = min(self.held_out * self.certificate_cost(alive[:2]), self.budget / 2)
        room = self.budget - self.spent() - kept_back
        kept = len(alive)
        while kept > 1:
            some = alive[:kept]
            if more * (sum(map(self.cost, some)) + self._anchor_cost(some)) <= room:
                break
            kept -= 1
        if kept < 2:
            self.notes.append(
                f"The race ended after {self.samples} of {self.count} samples: the budget holds"
                " no further round."
            )
            return False
        for runner in alive[kept:]:
            runner.drop(
                number - 1, "the budget holds fewer candidates; not told apart from the leader",
                open=True,
            )  # fmt: skip
        return True

    def _limits(self, number: int) -> None:
        for runner in self.alive:
            why = broken(self.goal, self.metrics, runner.records, runner.evaluations, sure=True)
            if why:
                runner.drop(number, why)

    def _eliminate(self, number: int, rounds: int) -> None:
        alive = self.alive
        if not alive:
            return
        leader = alive[0]
        best = self.utility(leader)
        for runner in alive[1:]:
            runner.bound = lead_bound(
                best - self.utility(runner), LEVEL / (2 * rounds), seed=self.seed
            )
            if runner.bound > 0:
                lead = mean_of(best - self.utility(runner))
                runner.drop(
                    number,
                    f"{leader.candidate.name} is better by {lead:.3f}, by {runner.bound:.3f} at"
                    " least",
                )


def sizes(count: int) -> list[int]:
    """How many samples have been used after each round.

    >>> sizes(20)
    [3, 6, 12, 20]
    """
    found = [min(FIRST, count)]
    while found[-1] < count:
        found.append(min(2 * found[-1], count))
    # A last round of very few samples costs more than it tells.
    if len(found) > 2 and found[-1] - found[-2] < FIRST:
        found[-2:] = [count]
    return found


def _first(scores: Scores, count: int) -> Mapping[str, Mapping[str, np.ndarray]]:
    return {m: {w: v[:count] for w, v in ways.items()} for m, ways in scores.items()}


def fresh(candidates: Sequence[Candidate], models: Sequence[str]) -> tuple[
    dict[str, Runner], dict[str, Runner]
]:  # fmt: skip
    """Runners of all candidates by name, and the random control of each model."""
    anchors = {m: Runner(Candidate(f"{m} {ANCHOR}", m, ANCHOR, {})) for m in models}
    return {c.name: Runner(c) for c in candidates}, anchors
