"""The search for the explanation that meets a goal: race, certify, tell."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.counting import Tally, tallied
from pellucid.engine.progress import ProgressBar
from pellucid.engine.schedule import Progress
from pellucid.errors import InputError
from pellucid.explaining.before import check_seed
from pellucid.inputs.batch import Batch
from pellucid.model import Model
from pellucid.search.bench import Bench
from pellucid.search.certifying import imputers_of
from pellucid.search.field import Field
from pellucid.search.fingerprints import UNKNOWN, fingerprint, told
from pellucid.search.gates import rows_of_controls
from pellucid.search.goal import Goal, Space
from pellucid.search.log import Log
from pellucid.search.models import labels_of, less_accurate, named_models, right
from pellucid.search.outcome import outcome
from pellucid.search.race import Race, fresh
from pellucid.search.record import Record
from pellucid.search.result import SearchResult
from pellucid.search.samples import half_of, split
from pellucid.search.space import Usual, candidates, usual_space
from pellucid.standard.imputers import fillings
from pellucid.standard.maps import position_shape
from pellucid.standard.metric import Metric
from pellucid.types import TargetLike, is_array


def search(
    model: Any,
    x: Any,
    goal: Goal | str | Path | None = None,
    *,
    target: TargetLike = None,
    labels: Any = None,
    masks: Any = None,
    background: Any = None,
    imputers: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    file: str | os.PathLike[str] | None = None,
    progress: Progress | bool | None = None,
) -> SearchResult:
    """Find the method, with its parameters, whose explanations of `model` meet a goal best.

    A race: all candidates are judged by the standard on three samples, what is worse than the
    leader beyond chance is dropped, the rest goes on with twice the samples. Candidates see the
    same samples, seeds, masks and noise, so differences are paired; a candidate is dropped where
    the lower bound (paired bootstrap, 5 % for all rounds together) of the leader's lead is above 0,
    where it breaks a limit of the goal, or where the budget holds fewer, which is said. Half of
    the samples, drawn by the seed, have no part in the race: on them the chosen one and its rivals
    are judged again, with another imputer, for the certificate, and the gates of the standard are
    asked of the chosen one.

    `model` may be a dict or list of models: then which of them is part of what is chosen, and with
    `labels` those that are right less often beyond chance are dropped first. `goal`: a `Goal`, or
    a TOML file of one. `masks`, `background`, `target`, `batch_size` are those of
    `pellucid.evaluate`; methods that compare with a data set get `background`, where it is given.
    `imputers`: the first one is raced with, the others certify, but for what is the baseline of a
    candidate on the front, as long as that leaves one; None: two that fit, so chosen.

    Without a budget in the goal a third of what judging everything would take is spent at most, as
    measured in the first round (with few samples: what that round and a certificate take). `file`
    keeps what was found as it comes: the same call goes on from there.

    The budget is never exceeded: evaluations, forward, backward or through a part of the model,
    are counted where it runs, and refused beyond it.

    Raises `InputError` for fewer than four samples and a file of another search, and
    `CapabilityError` where no candidate could be judged. Departs from successive halving (Jamieson,
    Talwalkar 2016), which drops half whatever the evidence; see Maron, Moore 1994 on races.

    >>> some = np.concatenate([x] * 4)
    >>> goal = Goal({"credibility": 1}, methods=["occlusion", "random"], metrics=["C1"])
    >>> found = pellucid.search(model, some, goal)
    >>> found.chosen, found.spent <= found.budget
    ('occlusion', True)
    """
    began = time.perf_counter()
    check_seed(seed)
    goal = goal_of(goal)
    bar = ProgressBar("search") if progress is True else None
    shown = bar or (None if isinstance(progress, bool) else progress)
    try:
        field = _field(
            model, x, goal, target, labels, masks, background, imputers, int(seed), batch_size
        )
        return _searched(field, goal, file, shown, began)
    finally:
        if bar is not None:
            bar.close()


def goal_of(given: Any, methods: Any = None) -> Goal:
    """A goal as it may be given; where it names no methods, these."""
    if given is None:
        return Goal(methods=methods)
    if isinstance(given, str | Path):
        given = Goal.from_toml(given)
    if isinstance(given, Goal):
        return replace(given, methods=methods) if given.methods is None else given
    raise InputError(f"Expected a Goal, or a TOML file of one, got {type(given).__name__}.")


def _field(
    model: Any, x: Any, goal: Goal, target: Any, labels: Any, masks: Any, background: Any,
    imputers: Sequence[str] | None, seed: int, batch_size: int | str,
) -> Field:  # fmt: skip
    models = named_models(model, x)
    models = {
        name: replace(m, adapter=m.adapter.for_one_explanation()) for name, m in models.items()
    }
    batches = {name: m.accept(x) for name, m in models.items()}
    first = next(iter(models))
    count = len(batches[first])
    chosen, kept = split(count, seed)
    with tallied(Tally(goal.budget)) as looked:
        accuracy, out = _accuracies(models, x, labels, count, chosen)
    rows = {
        name: None if background is None else m.accept(background, more=True).arrays
        for name, m in models.items()
    }
    own = rows[first]
    many = min(len(chosen), len(kept)) if own is None else len(own[0])
    race_with, certify_with, notes = imputers_of(imputers, batches[first].dims[0], many)
    several = imputers is not None
    halves = [
        {
            name: half_of(
                m, batches[name], part, target=target, masks=masks, background=rows[name],
                imputers=names, seed=seed, batch_size=batch_size,
            )
            for name, m in models.items()
        }
        for part, names in (
            (chosen, race_with), (kept, certify_with if several else certify_with[:1])
        )
    ]  # fmt: skip
    metrics = goal.asked(masks=masks is not None)
    _check_ranks(goal, metrics)
    some = rows[first]
    given = None if some is None else halves[0][first].model.adapter.as_given(some)
    usual = _usual(goal, models[first], batches[first], given)
    return Field(
        models, batches[first], candidates(usual.space, list(models), given),
        metrics, halves[0], halves[1], accuracy, out, looked.spent,
        seed, target, (*notes, *usual.notes), certify_with, several, usual.summary,
        *_held_by_hash(target, masks, background, usual.space),
    )  # fmt: skip


def _usual(goal: Goal, model: Model, batch: Batch, background: Any) -> Usual:
    if goal.methods is not None:
        return Usual(goal.methods)
    features = sum(
        int(np.prod(position_shape(a.shape, d)))
        for a, d in zip(batch.arrays, batch.dims, strict=True)
    )
    return usual_space(model, model.modality(batch), features, background)


def _check_ranks(goal: Goal, metrics: Sequence[Metric]) -> None:
    """Raise `InputError` where nothing that is asked gives a weighted axis a number."""
    ranked = {m.axis for m in metrics if m.ideal is not None and not m.is_gate} | {"speed"}
    weighed = [axis for axis, weight in goal.weights.items() if weight]
    if not ranked.intersection(weighed):
        names = ", ".join(m.name for m in metrics)
        raise InputError(
            f"Nothing ranks the candidates: of {names} none has an ideal to be measured against on"
            f" {', '.join(weighed)}.\n  Weigh another axis too, ask for other metrics, or register"
            " yours with ideal=, the best value there is."
        )


def _held_by_hash(
    target: Any, masks: Any, background: Any, space: Space
) -> tuple[str, tuple[str, ...]]:
    """A hash of what decides scores beside the inputs, and the functions that it cannot tell."""
    aim = told(target) if callable(target) else target
    parameters = list(_shown_by_shape(space))
    unknown = [p for p in (aim, *parameters) if isinstance(p, str) and p.startswith(UNKNOWN)]
    return fingerprint(aim, masks, background, parameters), tuple(unknown)


def _shown_by_shape(value: Any) -> Iterator[Any]:
    """The arrays and functions among parameters, which a candidate's name does not tell."""
    if callable(value):
        yield told(value)
    elif is_array(value) and not isinstance(value, np.generic):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for own in value.values() if isinstance(value, Mapping) else value:
            yield from _shown_by_shape(own)


def _accuracies(
    models: Mapping[str, Model], x: Any, labels: Any, count: int, chosen: np.ndarray
) -> tuple[dict[str, float], dict[str, str]]:
    """How often each model is right, and which are out: by the tuning half alone."""
    if labels is None:
        return {}, {}
    held = labels_of(labels, count)
    found = {name: right(m, x, held) for name, m in models.items()}
    out = less_accurate({name: own[chosen] for name, own in found.items()})
    return {name: float(own.mean()) for name, own in found.items()}, out


def _searched(
    field: Field, goal: Goal, file: Any, progress: Progress | None, began: float
) -> SearchResult:
    asked = [n for n in ("seconds", "memory", "gap") if getattr(goal, n) is not None]
    log = Log(file, field.head() | {"limits": asked}, unknown=field.unknown)
    if field.looked:
        log.add(f"accuracy, run {log.resumed}", Record(spent=field.looked))
    runners, anchors = fresh(field.candidates, list(field.models))
    tuning, held_out = next(iter(field.tuning.values())), next(iter(field.held_out.values()))
    first, later = (
        sum(fillings(name, field.batch.dims[0]) for name in half.imputers)
        for half in (tuning, held_out)
    )
    bench = Bench(field, goal, log, anchors, progress, used=field.looked)
    race = Race(
        goal, runners, anchors, tuning.count, held_out.count, field.metrics,
        bench.judging("race", field.tuning), lambda: bench.used, goal.budget, later / first,
        field.seed, field.looked, rows_of_controls(field.metrics, later, held_out.count),
    )  # fmt: skip
    bench.race = race
    for runner in runners.values():
        if runner.candidate.model in field.out:
            runner.drop(0, field.out[runner.candidate.model])
    race.run()
    return outcome(
        race, bench, field, log, seconds=lambda: time.perf_counter() - began,
    )  # fmt: skip
