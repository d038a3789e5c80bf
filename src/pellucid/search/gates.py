"""The gates of the standard, asked of the chosen one on samples that had no part in the race."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.counting import Tally, tallied
from pellucid.errors import BudgetError
from pellucid.search.judging import case_of
from pellucid.search.record import Record, Scores
from pellucid.search.samples import Half
from pellucid.search.space import ANCHOR, Candidate
from pellucid.standard.case import Case
from pellucid.standard.controls import (
    FEWEST,
    JUDGED_BY,
    Contest,
    contests,
    own_controls,
)
from pellucid.standard.evaluate import asked
from pellucid.standard.metric import Metric, default_metrics, metric_named
from pellucid.standard.removal import STEPS
from pellucid.standard.statistics import summarise

CONTROLS = "controls"
NO_ROOM = "the budget does not hold it"


@dataclass(frozen=True)
class Gate:
    """One gate: whether it is passed, None where it could not be asked, and why."""

    name: str
    identifier: str
    passed: bool | None
    told: str


def cheap_gates() -> tuple[Metric, ...]:
    """Those that need the explanation alone: C4."""
    return tuple(m for m in default_metrics() if m.is_gate and "explainer" not in m.needs)


def dear_gates() -> tuple[Metric, ...]:
    """Those that explain again: C7."""
    return tuple(m for m in default_metrics() if m.is_gate and "explainer" in m.needs)


def rows_of_controls(metrics: Sequence[Metric], fillings: int, count: int) -> int:
    """Rows of the model for the controls of each of `count` samples.

    What is judged by `metrics` is known by then of the candidate and of the random control.
    """
    if count < FEWEST:
        return 0
    known = {m.name for m in metrics}
    maps = 3 if known.issuperset(JUDGED_BY) else 5
    curves = (STEPS - 1) * (2 * maps - 1)  # of the constant map both ways are one
    shared = 0 if known.intersection(JUDGED_BY) else 101
    return fillings * (curves + shared) + maps


def judge_controls(
    candidate: Candidate,
    half: Half,
    count: int,
    *,
    known: Mapping[str, Scores],
    limit: int | None,
) -> Record:
    """C8 and the gates that cost nothing; `known` are scores that need not be asked again.

    Of the candidate as "", of the random control by its name. What they say stands in the facts,
    1 where the controls are beaten, and in words in `skipped`.
    """

    def ask(case: Case, facts: dict[str, float], words: dict[str, str]) -> None:
        for metric in cheap_gates():
            facts[metric.name], words[metric.name] = _median(metric, case)
        held = _contests(case, half, candidate, count, known) if count >= FEWEST else ()
        lost = [c for c in held if not c.won]
        facts[CONTROLS] = float(not lost) if held else np.nan
        words[CONTROLS] = _told(held, lost, count)

    return _asked(candidate, half, count, limit, ask)


def judge_gates(candidate: Candidate, half: Half, count: int, *, limit: int | None) -> Record:
    """The gates that explain again, for other weights."""

    def ask(case: Case, facts: dict[str, float], words: dict[str, str]) -> None:
        for metric in dear_gates():
            facts[metric.name], words[metric.name] = _median(metric, case)

    return _asked(candidate, half, count, limit, ask)


def _asked(
    candidate: Candidate,
    half: Half,
    count: int,
    limit: int | None,
    ask: Callable[[Case, dict[str, float], dict[str, str]], None],
) -> Record:
    """What `ask` found within the limit, or why it found nothing."""
    tally = Tally(limit)
    facts: dict[str, float] = {}
    words: dict[str, str] = {}
    try:
        with tallied(tally):
            ask(case_of(candidate, half, 0, count), facts, words)
    except Exception as error:  # a method may be anybody's
        return _failed(error, tally)
    if tally.refused:  # a score that was refused midway counts as one that could not be asked
        return _failed(BudgetError(NO_ROOM), tally)
    return Record(skipped=words, spent=tally.spent, facts=facts)


def gates_of(records: Sequence[Record]) -> tuple[Gate, ...]:
    """What records say of each gate, the controls last; those that no record has had no room."""
    facts = {k: v for r in records for k, v in r.facts.items()}
    words = {k: v for r in records for k, v in r.skipped.items()}
    why = next((r.error for r in records if r.error and not r.refused), NO_ROOM)
    found = []
    for metric in (*cheap_gates(), *dear_gates()):
        value = facts.get(metric.name, np.nan)
        passed = None if np.isnan(value) else bool(metric.passes(np.array([value]))[0])
        found.append(Gate(metric.name, metric.identifier, passed, words.get(metric.name, why)))
    value = facts.get(CONTROLS, np.nan)
    passed = None if np.isnan(value) else bool(value)
    return (*found, Gate(CONTROLS, "C8", passed, words.get(CONTROLS, why)))


def _contests(
    case: Case, half: Half, candidate: Candidate, count: int, known: Mapping[str, Scores]
) -> tuple[Contest, ...]:
    judging = [metric_named(name) for name in JUDGED_BY]

    def scores(own: Case, of: str) -> Scores:
        there = {m: ways for m, ways in known.get(of, {}).items() if m in JUDGED_BY}
        left = [m for m in judging if m.name not in there]
        return {**there, **(asked(own, left, "")[0] if left else {})}

    def instead(positions: np.ndarray) -> Scores:
        changed = Case(case.subject, case.explanation, None, case.masks, positions, case.curves)
        return asked(changed, judging, "")[0]

    controls = {
        "constant": instead(np.ones_like(case.positions)),
        "inverted": instead(own_controls(case)["inverted"]),
    }
    for name in (ANCHOR, "edges"):
        control = Candidate(f"{candidate.model} {name}", candidate.model, name, {})
        all_known = name == ANCHOR and set(known.get(name, {})).issuperset(JUDGED_BY)
        own = case if all_known else case_of(control, half, 0, count)
        controls[name] = scores(own, name)
    return contests(scores(case, ""), controls, {m.name: m for m in judging})


def _median(metric: Metric, case: Case) -> tuple[float, str]:
    scores, skipped = asked(case, [metric], "")
    if metric.name in skipped:
        return np.nan, skipped[metric.name]
    medians = [summarise(v).median for _, v in metric.scored(scores[metric.name])]
    known = [m for m in medians if not np.isnan(m)]
    if not known:
        return np.nan, metric.without or "no sample has a number"
    worst = max(known) if metric.better == "lower" else min(known)
    word = "at most" if metric.better == "lower" else "at least"
    return worst, f"median {worst:.3g}, {word} {metric.limit:g} asked"


def _told(held: Sequence[Contest], lost: Sequence[Contest], count: int) -> str:
    if count < FEWEST:
        return f"{count} samples cannot tell a map from chance, {FEWEST} can"
    if not held:
        return "no score that judges them could be asked"
    if not lost:
        return f"all beaten, p {max(c.p for c in held):.2g} at most"
    each = [
        f"{c.control} in {c.metric}{f' ({c.way})' if c.way else ''} (p = {c.p:.2g})" for c in lost
    ]
    return f"not beaten: {', '.join(each)}"


def _failed(error: Exception, tally: Tally) -> Record:
    if tally.refused:
        return Record(spent=tally.spent, error=NO_ROOM, refused=True)
    words = str(error).split("\n")[0] or "no message"
    return Record(spent=tally.spent, error=f"{type(error).__name__}: {words}")
