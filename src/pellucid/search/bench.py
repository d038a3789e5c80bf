"""Where candidates are judged: what was found before is read, the rest is run and kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pellucid.adapters.protocol import Tier
from pellucid.engine.schedule import Progress
from pellucid.search.certificate import Gating
from pellucid.search.field import Field
from pellucid.search.gates import Gate, gates_of, judge_controls, judge_gates
from pellucid.search.goal import Goal
from pellucid.search.judging import judge
from pellucid.search.log import Log
from pellucid.search.race import Judge, Race, Runner
from pellucid.search.record import Record, Scores
from pellucid.search.samples import Half
from pellucid.search.space import Candidate


@dataclass(eq=False)
class Bench:
    """Judges for the stages of a search; `used` are the rows of the records asked for so far.

    A search that goes on decides by `used`, as if it had never stopped; what is still allowed is
    counted from all that was ever spent.
    """

    field: Field
    goal: Goal
    log: Log
    anchors: Mapping[str, Runner]
    progress: Progress | None
    used: int = 0
    race: Race | None = None

    def certifying(self, imputers: tuple[str, ...]) -> tuple[Judge, Gating]:
        """Who judges and who asks the gates of the samples put aside, with these imputers."""
        halves, told = self.field.held_out_with(imputers), ",".join(imputers)
        return self.judging(f"certify with {told}", halves), self.gating(f"with {told}", halves)

    def judging(self, stage: str, halves: Mapping[str, Half]) -> Judge:
        """The judge of a stage, on these halves of the samples."""

        def one(candidate: Candidate, start: int, stop: int) -> Record:
            key = _key(stage, candidate, start, stop)
            record = self.log.get(key)
            if record is None:
                half = halves[candidate.model]
                anchor = self.anchors[candidate.model].candidate
                if candidate is not anchor and not self._recalled(stage, anchor, half, start, stop):
                    again = self._judge(stage, anchor, half, start, stop)
                    self.log.add(
                        f"{_key(stage, anchor, start, stop)} again {self.log.spent}", again
                    )
                record = self._judge(stage, candidate, half, start, stop)
                if candidate is anchor and half.holds(start, stop):
                    record = replace(record, known=half.subject(start, stop).known)
                self.log.add(
                    f"{key} cut off at {self.log.spent}" if record.refused else key, record
                )
            self.used += record.spent
            if self.progress is not None:
                self.progress(self.used, max(self._budget or self.used, self.used))
            return record

        return one

    def gating(self, told: str, halves: Mapping[str, Half]) -> Gating:
        """Who asks the gates of a candidate, of these halves of the samples."""

        def both(
            candidate: Candidate, count: int, known: Mapping[str, Scores], evaluations: float
        ) -> tuple[Gate, ...]:
            half = halves[candidate.model]
            self._recalled(
                f"certify {told}", self.anchors[candidate.model].candidate, half, 0, count
            )
            found = [
                self._kept(
                    f"{_key(f'gates {told}', candidate, 0, count)} controls",
                    lambda left: judge_controls(candidate, half, count, known=known, limit=left),
                )
            ]
            key = f"{_key(f'gates {told}', candidate, 0, count)} weights"
            # Two explanations, begun only where they will fit; the third is at hand.
            needed = 2 * evaluations * count if half.model.supports >= Tier.TRAINABLE else 0
            needed += 0 if (candidate.name, 0, count) in half.made else evaluations * count
            if self.log.get(key) is not None or self._left is None or needed <= self._left:
                found.append(
                    self._kept(key, lambda left: judge_gates(candidate, half, count, limit=left))
                )
            return gates_of(found)

        return both

    def _recalled(self, stage: str, anchor: Candidate, half: Half, start: int, stop: int) -> bool:
        """Whether what is asked once for all of these samples, as the control's cost, is known."""
        told = self.log.get(_key(stage, anchor, start, stop))
        if not half.holds(start, stop) and told is not None and told.known:
            half.subject(start, stop, told.known)
        return half.holds(start, stop)

    def _kept(self, key: str, judged: Callable[[int | None], Record]) -> Record:
        record = self.log.get(key)
        if record is None:
            record = judged(self._left)
            self.log.add(f"{key} cut off at {self.log.spent}" if record.refused else key, record)
        self.used += record.spent
        return record

    @property
    def _left(self) -> int | None:
        budget = self._budget
        return None if budget is None else max(0, budget - self.log.spent)

    @property
    def _budget(self) -> int | None:
        return self.goal.budget if self.race is None else self.race.budget

    def _judge(self, stage: str, candidate: Candidate, half: Half, start: int, stop: int) -> Record:
        is_anchor = candidate is self.anchors[candidate.model].candidate
        return judge(
            candidate, half, start, stop, metrics=self.field.metrics, goal=self.goal,
            limit=self._left,
            measured=stage == "race" and start == 0, strict=is_anchor and len(self.anchors) == 1,
        )  # fmt: skip


def _key(stage: str, candidate: Candidate, start: int, stop: int) -> str:
    return f"{stage} | {candidate.name} | {start}:{stop}"
