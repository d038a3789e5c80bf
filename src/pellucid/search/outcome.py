"""From a finished race to its result: who is chosen, certified, on the front, and why."""

from collections.abc import Callable, Sequence

import numpy as np

from pellucid.explainer import Explainer
from pellucid.reproduce import code_of
from pellucid.search.bench import Bench
from pellucid.search.certificate import Certificate, certify
from pellucid.search.certifying import certified_by_own, certifiers
from pellucid.search.field import Field
from pellucid.search.limits import broken
from pellucid.search.log import Log
from pellucid.search.race import FEW, Race, Runner
from pellucid.search.result import SearchResult, Trial
from pellucid.search.space import SHAPLEY, Candidate
from pellucid.search.unasked import decides_by_speed, unasked, unasked_of
from pellucid.search.utility import mean_interval, mean_of

FINALISTS = 4
"""Certified at most: the chosen one and its nearest rivals."""


def outcome(
    race: Race,
    bench: Bench,
    asked: Field,
    log: Log,
    *,
    seconds: Callable[[], float],
) -> SearchResult:
    """The result; certifies on the way."""
    fitting = [r for r in race.alive if not _broken(race, r)]
    certificate = None
    front = _front(race)
    if fitting:
        finalists, samples, gated = _finalists(race, fitting, log.spent_besides("certify", "gates"))
        named = [r.candidate for r in finalists]
        shown = [*named, *(r.candidate for r in front)]
        imputers = certifiers(
            asked.certifiers, [shown, named, named[:1]], all_of_them=asked.several
        )
        judge, gating = bench.certifying(imputers)
        certificate = certify(
            race, finalists, judge, gating if gated else None, samples=samples,
            imputers=imputers, favoured=certified_by_own(shown, imputers), seed=asked.seed,
        )  # fmt: skip
    chosen = fitting[0] if fitting else None
    open_rivals = [
        r.candidate.name
        for r in race.runners.values()
        if r.open or (r is not chosen and r.dropped is None)
    ]
    winner, met, verdict = _verdict(race, chosen, certificate, open_rivals)
    lost = unasked(race)
    verdict += "".join(f" {name} could not be asked: {why}." for name, why in lost.items())
    tuned = next(iter(asked.tuning.values()))
    notes = [*asked.notes, *race.notes]
    notes += [f"{name} could not be asked: {why}." for name, why in lost.items()]
    if chosen is not None:
        own = unasked_of(race, chosen, lost)
        notes += [f"{n} of {chosen.candidate.name}: {why}." for n, why in own.items()]
    if certificate is not None and certificate.favoured:
        notes.append(
            f"{', '.join(certificate.imputers)} certifies and is what"
            f" {', '.join(certificate.favoured)} hides features with: that favours it."
        )
    if log.resumed:
        notes.append(f"{log.resumed} of the records are from an earlier run.")
    return SearchResult(
        goal=race.goal,
        chosen=None if chosen is None else chosen.candidate.name,
        winner=winner,
        met=met,
        verdict=verdict,
        certificate=certificate,
        front=tuple(r.candidate.name for r in front),
        trail=_trail(race, front, asked.seed),
        rounds=tuple(race.rounds),
        spent=log.spent,
        budget=race.budget,
        exhaustive=race.exhaustive,
        imputers=tuned.imputers,
        accuracy=asked.accuracy,
        seed=asked.seed,
        seconds=seconds(),
        notes=tuple(notes),
        ready=None if chosen is None else _explainer(asked, chosen.candidate),
        code="" if chosen is None else _code(race, asked, chosen.candidate),
    )


def _broken(race: Race, runner: Runner) -> str:
    return broken(race.goal, race.metrics, runner.records, runner.evaluations, sure=False)


def _finalists(race: Race, fitting: Sequence[Runner], spent: int) -> tuple[list[Runner], int, bool]:
    """The chosen one, a runner-up and further rivals, on how many samples, and whether with gates.

    As budget allows: gates go before the runner-up does, after all other rivals.
    """
    others = race.ranked(
        [
            r
            for r in race.runners.values()
            if r.judged and r is not fitting[0] and not _broken(race, r)
        ]
    )
    # Those that were not told apart come first: it is of them that fresh samples can tell.
    near = [r for r in others if r.dropped is None or r.open]
    rivals = [*near, *(r for r in others if r not in near)][: max(1, min(len(near), FINALISTS - 1))]
    found = [fitting[0], *rivals]
    if race.budget is None:
        return found, race.held_out, True
    left = race.budget - spent

    def samples(gated: bool) -> int:
        cost = race.certificate_cost(found) + race.gate_rows * gated
        return race.held_out if cost <= 0 else min(race.held_out, int(left / cost))

    few = min(FEW, race.held_out)
    while len(found) > 2 and samples(True) < few:
        found.pop()
    gated = samples(True) >= few
    while len(found) > 1 and samples(gated) < few:
        found.pop()
    return found, max(samples(gated), 1), gated


def _verdict(
    race: Race, chosen: Runner | None, certificate: Certificate | None, rivals: Sequence[str]
) -> tuple[bool, bool, str]:
    if chosen is None or certificate is None:
        reasons = [f"{n}: {_broken(race, r) or r.reason}" for n, r in race.runners.items()]
        return False, False, "\n  ".join(["No candidate keeps the limits of the goal.", *reasons])
    line = certificate.chosen
    name = chosen.candidate.name
    if line is None or line.error:
        why = "" if line is None else f": {line.error}"
        return False, False, f"{name} is the best of the race and could not be certified{why}."
    told = {c.name for c in certificate.lines[1:] if not c.tied and not c.error}
    tied = dict.fromkeys([*certificate.tied, *(n for n in rivals if n not in told)])
    alone = decides_by_speed(race, chosen)
    if alone:
        text = (
            f"No winner: nothing but speed tells the candidates apart, and {name} is the fastest or"
            " among them."
        )
    elif tied:
        text = (
            f"No significant winner: {name} is the best so far and is not told apart from"
            f" {', '.join(tied)}."
        )
    elif not told:
        text = f"{name} is the best of the race; no rival could be certified beside it."
    else:
        text = (
            f"{name} is the winner, better beyond chance than every rival that was certified beside"
            " it; the others fell behind in the race."
        )
    if line.broken:
        text += f" On the held-out samples it breaks the goal: {line.broken}."
    failed = [g.name for g in certificate.gates if g.passed is False]
    if failed:
        text += f" On the held-out samples it fails the gate {', '.join(failed)}."
    winner = not tied and bool(told) and not alone
    return winner, not line.broken, text


def _front(race: Race) -> list[Runner]:
    """Those that no other one beats: at least as good on all weighted axes, better on one.

    Two are compared by their means over the samples that both were judged on, the random control
    over the same ones.
    """
    names = [axis for axis, weight in race.goal.weights.items() if weight > 0]
    judged = [r for r in race.runners.values() if r.judged and not _broken(race, r)]
    counts = {r.samples for r in judged}
    axes = {(id(r), n): race.axes(r, n) for r in judged for n in counts if n <= r.samples}

    def beats(a: Runner, b: Runner) -> bool:
        shared = min(a.samples, b.samples)
        first, second = (np.array([mean_of(axes[id(r), shared][n]) for n in names]) for r in (a, b))
        known = ~np.isnan(first) & ~np.isnan(second)
        gain = (first - second)[known]
        return bool(gain.size) and bool((gain >= -1e-9).all()) and bool((gain > 1e-9).any())

    return race.ranked([b for b in judged if not any(beats(a, b) for a in judged if a is not b)])


def _trail(race: Race, front: Sequence[Runner], seed: int) -> tuple[Trial, ...]:
    order = [*race.alive, *race.ranked([r for r in race.runners.values() if r.dropped is not None])]
    found = []
    for runner in order:
        own = runner.candidate
        utility, axes = np.array([np.nan]), {}
        if runner.judged:
            utility = race.utility(runner)
            axes = {axis: mean_of(values) for axis, values in race.axes(runner).items()}
        low, high = mean_interval(utility, seed=seed)
        found.append(
            Trial(
                own.name, own.model, own.method, own.parameters, runner.samples, mean_of(utility),
                low, high, axes, runner.evaluations, runner.spent, runner.dropped, runner.reason,
                runner.open, runner in front,
            )
        )  # fmt: skip
    return tuple(found)


def _explainer(asked: Field, chosen: Candidate) -> Explainer:
    pair = (chosen.method, dict(chosen.parameters))
    target = asked.target
    # A target for each sample was of the samples that were searched on.
    shared = None if isinstance(target, list | np.ndarray) else target
    return Explainer(asked.models[chosen.model], [pair], seed=asked.seed, target=shared)


def _code(race: Race, asked: Field, chosen: Candidate) -> str:
    given = [f"{k}={code_of(k, v)}" for k, v in chosen.parameters.items()]
    if asked.summary is not None and chosen.method in SHAPLEY:
        few = f"background=pellucid.inputs.summarise(background, {asked.summary})"
        given = [few if own == "background=background" else own for own in given]
    model = "model" if len(asked.models) == 1 else f"models[{chosen.model!r}]"
    target = asked.target
    if target is not None:
        named = callable(target) or isinstance(target, list | np.ndarray)
        given = [f"target={'target' if named else repr(target)}", *given]
    arguments = ", ".join([model, "x", repr(chosen.method), *given, f"seed={asked.seed}"])
    return f"import pellucid\n\nexplanation = pellucid.explain({arguments})\n"
