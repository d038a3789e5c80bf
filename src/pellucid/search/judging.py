"""One candidate on some samples: explained, scored, and what that took."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.counting import Tally, tallied
from pellucid.errors import PellucidError
from pellucid.explain import explain
from pellucid.explanation import Explanation
from pellucid.search.goal import Goal
from pellucid.search.record import Record
from pellucid.search.samples import Half
from pellucid.search.space import Candidate
from pellucid.standard.asking import Asker
from pellucid.standard.case import Case
from pellucid.standard.evaluate import asked
from pellucid.standard.masks import make_masks
from pellucid.standard.memory import peak_growth
from pellucid.standard.metric import Metric


def judge(
    candidate: Candidate,
    half: Half,
    start: int,
    stop: int,
    *,
    metrics: Sequence[Metric],
    goal: Goal,
    limit: int | None,
    measured: bool,
    strict: bool = False,
) -> Record:
    """The record of a candidate on samples `start` to `stop`; with `measured` its limits too.

    At most `limit` rows of the model are run; where that is too few the record is `refused`.
    Whatever else goes wrong is the record's error, for a method may be anybody's; with `strict`
    it is raised.
    """
    tally = Tally(limit)
    try:
        with tallied(tally):
            return _judged(candidate, half, start, stop, metrics, goal, tally, measured=measured)
    except Exception as error:
        if tally.refused:  # whatever a framework has made of the refusal
            words = f"it takes more evaluations than the {limit} that were left"
            return Record(spent=tally.spent, error=words, refused=True)
        if strict:
            raise
        return Record(spent=tally.spent, error=f"{type(error).__name__}: {_words(error)}")


def _words(error: Exception) -> str:
    """The message, all of it where it is ours: the way out stands at its end."""
    text = str(error)
    return " ".join(text.split() if isinstance(error, PellucidError) else text.split("\n")[:1]) or (
        "no message"
    )


def _judged(
    candidate: Candidate,
    half: Half,
    start: int,
    stop: int,
    metrics: Sequence[Metric],
    goal: Goal,
    tally: Tally,
    *,
    measured: bool,
) -> Record:
    case = case_of(candidate, half, start, stop)
    found = case.explanation
    scores, skipped = asked(case, metrics, "")
    facts: dict[str, float] = {}
    if goal.gap is not None:
        facts["gap"] = np.nan if found.gap is None else float(np.median(found.gap))
    if measured:
        facts |= _measured(candidate, half, start, goal)
    # What is asked of a model once is no candidate's own: it fell to whichever came first.
    once = half.made[candidate.name, start, stop][1]
    return Record(scores, skipped, sum(found.evaluations) - once, tally.spent, facts)


def case_of(candidate: Candidate, half: Half, start: int, stop: int) -> Case:
    """A candidate's explanation of samples `start` to `stop` before the standard."""
    asker = Asker(
        half.model, candidate.method, dict(candidate.parameters), half.seed, half.batch_size
    )
    subject = half.subject(start, stop)
    key = (candidate.name, start, stop)
    if key not in half.made:
        with tallied(Tally()) as taken:
            made = _explain(half, candidate, start, stop)
        half.keep(key, (made, taken.once))
    masks = None if half.masks is None else make_masks(half.masks[start:stop], subject)
    return Case(subject, half.made[key][0], asker, masks)


def _explain(half: Half, candidate: Candidate, start: int, stop: int) -> Explanation:
    return explain(
        half.model, half.rows(start, stop), candidate.method, target=half.target_of(start, stop),
        seed=half.seed, batch_size=half.batch_size, **candidate.parameters,
    )  # fmt: skip


def _measured(candidate: Candidate, half: Half, start: int, goal: Goal) -> dict[str, float]:
    """Seconds and memory of one sample's explanation, warm, where the goal limits them."""
    found: dict[str, float] = {}
    if goal.seconds is None and goal.memory is None:
        return found

    def once() -> Any:
        return _explain(half, candidate, start, start + 1)

    once()
    if goal.seconds is not None:
        taken = []
        for _ in range(3):
            began = time.perf_counter()
            once()
            taken.append(time.perf_counter() - began)
        found["seconds"] = float(np.median(taken))
    if goal.memory is not None:
        found["memory"] = peak_growth(once) / 2**20
    return found
