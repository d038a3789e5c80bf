"""The standard, asked of explanations: which are short, true, stable and fast."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.engine.progress import ProgressBar
from pellucid.engine.schedule import Progress
from pellucid.errors import CapabilityError, InputError, ModelError
from pellucid.explain import explain
from pellucid.explaining.before import check_seed
from pellucid.explanation import Explanation
from pellucid.methods.registry import registered, takes_parameter
from pellucid.model import Model, wrap
from pellucid.standard.asking import Asker
from pellucid.standard.blanks import of_itself, remarks_on
from pellucid.standard.case import Case
from pellucid.standard.controls import FIXED, JUDGED_BY, contests, own_controls
from pellucid.standard.given import Given, check_same, made_or_given, target_of
from pellucid.standard.masks import make_masks
from pellucid.standard.metric import Metric, default_metrics, metrics_named
from pellucid.standard.references import favoured
from pellucid.standard.scorecard import Scorecard, Ways
from pellucid.standard.subject import Subject
from pellucid.types import TargetLike

OF_NUMBERS = "numbers"
"""What stands for the method of a map that came as an array."""


def evaluate(
    model: Any,
    x: Any,
    explanations_or_methods: Any,
    *,
    standard: str | Sequence[str] = "default",
    seed: int = 0,
    masks: Any = None,
    target: TargetLike = None,
    background: Any = None,
    imputers: Sequence[str] | None = None,
    batch_size: int | str = "auto",
    progress: Progress | bool | None = None,
) -> Scorecard:
    """Judge explanations of `x` by the standard, sample by sample, beside maps that know nothing.

    `explanations_or_methods`: names of methods, pairs `(name, {parameters})`, `Explanation`s, a
    dict of any of these or of maps (arrays) by name, or a `Comparison`. `standard`: "default", or
    names of metrics ("srg", "C1", "deletion", ...; "C8" for the controls). `masks (n, height,
    width)` say where the objects are. `background` is what "the data" means where features are
    removed and noise is measured: rows like x; None: x itself. `imputers`: see
    `pellucid.standard.imputers`; None: two that fit. Every draw is from `seed` and the same for all
    explanations; with `background` and `batch_size` given, a sample's scores do not depend on the
    others.

    A metric that cannot be asked is skipped with its reason; a method that fails is named in the
    scorecard's notes, and the others are kept. Raises `InputError` for explanations of other
    inputs or targets, unknown metrics and imputers, and where nothing is left to judge.

    >>> card = pellucid.evaluate(model, x, ["saliency", "occlusion"], standard=["I1", "srg"])
    >>> list(card.scores["occlusion"]["srg"])
    ['dataset', 'dataset, of the range', 'blur', 'blur, of the range']
    """
    began = time.perf_counter()
    check_seed(seed)
    metrics = _metrics(standard)
    wrapped = wrap(model, example=x)
    given = made_or_given(explanations_or_methods)
    target = target_of(given, target)
    bar = ProgressBar("evaluate") if progress is True else None
    shown = bar or (None if isinstance(progress, bool) else progress)
    try:
        subject = Subject(
            wrapped, x, target=target, background=background, imputers=imputers, seed=int(seed),
            batch_size=batch_size, progress=shown,
        )  # fmt: skip
        found, failures = _made(subject, x, wrapped, given, target, seed, batch_size)
        where = make_masks(masks, subject)
        told = [] if background is not None else [of_itself(subject)]
        return _judged(subject, found, failures, metrics, where, began, batch_size, told)
    finally:
        if bar is not None:
            bar.close()


def _metrics(standard: str | Sequence[str]) -> tuple[Metric, ...]:
    if standard == "default":
        return default_metrics()
    names = [standard] if isinstance(standard, str) else list(standard)
    if not names:
        raise InputError('Expected standard="default" or the names of metrics, got none.')
    return metrics_named(names)


def _made(
    subject: Subject, x: Any, model: Model, given: Mapping[str, Given], target: Any, seed: int,
    batch_size: int | str,
) -> tuple[dict[str, Explanation], dict[str, str]]:  # fmt: skip
    """The explanations by name, those of methods made now, and what could not be made."""
    found: dict[str, Explanation] = {}
    failures: dict[str, str] = {}
    for name, own in given.items():
        method = own.method or (own.explanation.method if own.explanation is not None else "")
        if method in registered() and not registered()[method].is_attribution:
            failures[name] = f"{method} says nothing of what counts for the target"
            continue
        if own.explanation is not None:
            check_same(name, own.explanation, subject)
            found[name] = own.explanation
            continue
        if own.values is not None:
            found[name] = _of_array(name, own.values, subject, model, x, target)
            continue
        try:
            found[name] = explain(
                model, x, own.method, target=target, seed=seed, batch_size=batch_size,
                **own.parameters,
            )  # fmt: skip
        except (CapabilityError, ModelError) as error:
            failures[name] = str(error).split("\n")[0]
    if not found:
        raise CapabilityError("\n  ".join(["There is nothing to judge.", *failures.values()]))
    for name in FIXED:
        if name in found:
            continue
        try:
            found[name] = explain(model, x, name, target=target, seed=seed)
        except (InputError, ModelError) as error:
            # Of categories there are no zeros, and not every model is defined there; a constant
            # map needs none.
            if name != "constant" and isinstance(error, ModelError):
                raise
            flat = tuple(np.ones(a.shape) for a in subject.task.batch.arrays)
            found[name] = _of_array(name, flat, subject, model, x, target)
    return found, failures


def _of_array(
    name: str, values: Any, subject: Subject, model: Model, x: Any, target: Any
) -> Explanation:
    """A map that came as an array, in the form of an explanation of no known method."""
    held = explain(model, x, "random", target=target)
    maps = values if isinstance(values, tuple | list) else (values,)
    parts = []
    for part, own in zip(held.parts, maps, strict=True):
        array = np.asarray(own, dtype=np.float32)
        flat = tuple(s for s, d in zip(part.inputs.shape, part.input_dims, strict=True)
                     if d != "channel")  # fmt: skip
        if not subject.task.batch.batched and array.shape in {part.inputs.shape[1:], flat[1:]}:
            array = array[None]  # as the missing axis of x was added
        if array.shape not in {part.inputs.shape, flat}:
            raise InputError(
                f"Expected the map {name!r} to be of shape {part.inputs.shape} or {flat}, got"
                f" {array.shape}."
            )
        dims = part.input_dims
        if array.shape != part.inputs.shape:
            dims = tuple(d for d in dims if d != "channel")
        parts.append(replace(part, values=array, dims=dims))
    return replace(held, parts=tuple(parts), method=OF_NUMBERS, gap=None, baseline_score=None)


def _asker(subject: Subject, explanation: Explanation, batch_size: int | str) -> Asker | str:
    """Who makes it anew, or why nobody can."""
    name = explanation.method
    if name == OF_NUMBERS:
        return "it came as numbers, so nothing can be asked again"
    if name not in registered():
        return "the method that made the map is not known, so it cannot be asked again"
    parameters = {k: v for k, v in explanation.parameters.items() if v is not None}
    lost = [k for k, v in parameters.items() if isinstance(v, str) and v.startswith("array of")]
    if lost:
        return f"the parameter {lost[0]} was not kept with the explanation"
    takes = {k: v for k, v in parameters.items() if takes_parameter(name, k)}
    return Asker(subject.task.wrapped, name, takes, explanation.seed, batch_size)


def _judged(
    subject: Subject,
    found: Mapping[str, Explanation],
    failures: Mapping[str, str],
    metrics: tuple[Metric, ...],
    masks: np.ndarray | None,
    began: float,
    batch_size: int | str,
    told: Sequence[str],
) -> Scorecard:
    scores: dict[str, dict[str, Ways]] = {}
    skipped: dict[str, dict[str, str]] = {}
    cases: dict[str, Case] = {}
    for name, explanation in found.items():
        asker = _asker(subject, explanation, batch_size)
        case = Case(subject, explanation, asker if isinstance(asker, Asker) else None, masks)
        cases[name] = case
        why_not = asker if isinstance(asker, str) else ""
        scores[name], skipped[name] = asked(case, metrics, why_not)
    judging = tuple(m for m in metrics if m.name in JUDGED_BY)
    fixed = {name: scores[name] for name in FIXED}
    held = {}
    for name, case in cases.items():
        if name in FIXED or not judging:
            continue
        own: dict[str, Mapping[str, Ways]] = {}
        for control, positions in own_controls(case).items():
            other = Case(subject, case.explanation, None, masks, positions, case.curves)
            own[control] = asked(other, judging, "")[0]
        held[name] = contests(scores[name], {**fixed, **own}, {m.name: m for m in judging})
    return Scorecard(
        scores=scores,
        skipped={k: v for k, v in skipped.items() if v},
        metrics=metrics,
        contests=held,
        count=subject.count,
        seed=subject.seed,
        imputers=tuple(subject.imputers),
        evaluations=subject.evaluations,
        seconds=time.perf_counter() - began,
        notes=(
            *told,
            *(f"{name} could not be made: {why}" for name, why in failures.items()),
            *favoured(found, scores, subject.imputers),
            *(
                r
                for name, c in cases.items()
                if name not in FIXED
                for r in remarks_on(name, c.as_given)
            ),
        ),
    )


def asked(
    case: Case, metrics: Sequence[Metric], why_no_asker: str
) -> tuple[dict[str, Ways], dict[str, str]]:
    """The scores of one explanation, and why those that are missing could not be asked."""
    scores: dict[str, Ways] = {}
    skipped: dict[str, str] = {}
    for metric in metrics:
        why = _unmet(metric, case, why_no_asker)
        if why:
            skipped[metric.name] = why
            continue
        case.reasons.clear()  # of one that failed on its way
        try:
            returned = metric.function(case)
        except (CapabilityError, ModelError) as error:
            skipped[metric.name] = str(error).split("\n")[0]
            continue
        scores[metric.name] = _checked(metric, returned, case)
        skipped |= {f"{metric.name} ({way})": why for way, why in case.reasons.items()}
    return scores, skipped


def _unmet(metric: Metric, case: Case, why_no_asker: str) -> str:
    if "masks" in metric.needs and case.masks is None:
        return "it needs masks="
    if "explainer" in metric.needs and case.asker is None:
        return why_no_asker or "it needs the method"
    supports = case.subject.task.wrapped.supports
    if "weights" in metric.needs and supports < Tier.TRAINABLE:
        return "this model does not show its weights"
    return ""


def _checked(metric: Metric, returned: Any, case: Case) -> Ways:
    ways = dict(returned) if isinstance(returned, Mapping) else {"": returned}
    found: dict[str, np.ndarray] = {}
    for way, values in ways.items():
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (case.count,):
            raise InputError(
                f"Expected the metric {metric.name} to return one number a sample, ({case.count},),"
                f" got shape {array.shape}."
            )
        of_the_map = metric.axis in {"interpretability", "credibility"}
        found[str(way)] = np.where(of_the_map & case.without_numbers, np.nan, array)
    lost = [way for way, _ in metric.scored(found) if way + metric.utility_of not in found]
    if lost:
        raise InputError(
            f"Expected {metric.name} to return {lost[0] + metric.utility_of!r} beside {lost[0]!r}:"
            " its utility_of says so."
        )
    return found
