"""Metrics that are judged themselves: small changes should leave a score, large ones move it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from pellucid.adapters.reweighted import ReweightedAdapter
from pellucid.errors import InputError
from pellucid.explain import explain
from pellucid.model import Model, wrap
from pellucid.standard.asking import Asker
from pellucid.standard.case import Case
from pellucid.standard.metric import Metric, metric_named
from pellucid.standard.subject import Subject

Space = Literal["model", "input"]

MODEL_NOISE = (0.001, 2.0)
"""Standard deviations of what weights are multiplied with, around 1: small, and disruptive."""
INPUT_NOISE = (0.001, 5.0)
"""Half the width of uniform noise, in standard deviations of the data: small, and disruptive."""

Scores = dict[str, np.ndarray]
"""`{"srg (blur)": (methods, n)}`."""


class Reliability(NamedTuple):
    """How one score bore what was done to the model or the input: 1 is best, each in [0, 1].

    `intra_*` compare a method's scores with its own (Wilcoxon), `inter_*` the order of the methods;
    `*_resilience` after small changes, `*_reactivity` after those that change the class. NaN where
    no sample was left to compare.
    """

    intra_resilience: float
    intra_reactivity: float
    inter_resilience: float
    inter_reactivity: float

    @property
    def meta_consistency(self) -> float:
        """The mean of the four that are numbers."""
        return float(np.nanmean(self))


@dataclass(frozen=True, eq=False)
class _Asked:
    """What stays the same over all perturbations."""

    methods: tuple[tuple[str, Mapping[str, Any]], ...]
    metrics: tuple[Metric, ...]
    background: Any
    seed: int
    batch_size: int | str

    def of(self, model: Model, x: np.ndarray, target: Any) -> tuple[Scores, np.ndarray]:
        """The scores of all methods' maps of `x`, and the classes that the model sees there."""
        subject = Subject(
            model, x, target=target, background=self.background, seed=self.seed,
            batch_size=self.batch_size,
        )  # fmt: skip
        if subject.outputs is None or subject.outputs.shape[1] < 2:
            raise InputError("Metrics are tested on models of two classes or more.")
        rows: dict[str, list[np.ndarray]] = {}
        for name, parameters in self.methods:
            e = explain(
                model, x, name, target=target, seed=self.seed, batch_size=self.batch_size,
                **parameters,
            )  # fmt: skip
            asker = Asker(
                subject.task.wrapped, name, dict(parameters), self.seed, self.batch_size
            )  # fmt: skip
            case = Case(subject, e, asker)
            for metric in self.metrics:
                found = metric.function(case)
                ways = found if isinstance(found, Mapping) else {"": found}
                for way, values in metric.scored(ways):
                    label = f"{metric.name} ({way})" if way else metric.name
                    rows.setdefault(label, []).append(np.asarray(values, np.float64))
        return {label: np.stack(each) for label, each in rows.items()}, subject.outputs.argmax(1)


def self_test(
    model: Any,
    x: np.ndarray,
    methods: Sequence[str | tuple[str, Mapping[str, Any]]],
    *,
    standard: Sequence[str] = ("C1", "C2", "C3", "I1"),
    space: Space = "model",
    draws: int = 3,
    background: Any = None,
    seed: int = 0,
    batch_size: int | str = "auto",
) -> dict[str, Reliability]:
    """Test metrics as MetaQuantus does, on one model and its samples `x (n, ...)`.

    Small noise should change no score and no order of methods (resilience), noise that changes the
    class should change both (reactivity). In "model" space every weight is multiplied with a draw
    from N(1, σ²), σ = 0.001 or 2; in "input" space U(−r, r) is added, r = 0.001 or 5 standard
    deviations of the data. Each of `draws` times, the methods explain the class that was predicted
    before, and are judged with the changed model or input and the same masks and noise. Counted
    are the samples whose class stayed under small, and changed under large noise:

    intra: Wilcoxon's two-sided p of the scores before and after (zeros split), 1 − p for
    reactivity, the mean over methods and draws; inter: the share of places in the order of methods
    that stay, and of scores that get worse.

    Returns a `Reliability` for each score and way. Raises `InputError` for models without classes.
    Source: Hedström et al. 2023 (arXiv 2302.07265), section 4, with the noise of its code. Departs
    from it: input noise is in standard deviations of the data, and NaN is left out.

    >>> found = self_test(model, x, ["saliency"], standard=["C3"], draws=1)
    >>> found["local_infidelity"].inter_resilience      # one method is always in its place
    1.0
    """
    pairs = tuple((m, {}) if isinstance(m, str) else (m[0], dict(m[1])) for m in methods)
    metrics = tuple(metric_named(name) for name in standard)
    asked = _Asked(pairs, metrics, x if background is None else background, seed, batch_size)
    wrapped = wrap(model, example=x)
    before, classes = asked.of(wrapped, x, None)
    target = classes.tolist()
    found: dict[str, list[list[float]]] = {label: [[], [], [], []] for label in before}
    for draw in range(draws):
        for large in (False, True):
            generator = np.random.default_rng([seed, 51, draw, int(large)])
            if space == "model":
                other, rows = _reweighted(wrapped, MODEL_NOISE[large], generator), x
            else:
                other, rows = wrapped, _shaken(x, asked.background, INPUT_NOISE[large], generator)
            after, seen = asked.of(other, rows, target)
            counted = seen != classes if large else seen == classes
            for label, own in before.items():
                better = metric_named(label.split(" ")[0]).better
                pair = own[:, counted], after[label][:, counted]
                found[label][large] += [_intra(*rows, large) for rows in zip(*pair, strict=True)]
                found[label][2 + large].append(_inter(*pair, better, large))
    return {label: Reliability(*map(_mean, own)) for label, own in found.items()}


def _reweighted(model: Model, spread: float, generator: np.random.Generator) -> Model:
    adapter = model.adapter
    drawn = {}
    for name, value in sorted(adapter.weights().items()):
        own = np.asarray(adapter.to_numpy(value))
        if own.dtype.kind == "f":
            factor = 1 + spread * generator.standard_normal(own.shape)
            drawn[name] = adapter.asarray((own * factor).astype(own.dtype))
    return replace(model, adapter=ReweightedAdapter(adapter, drawn), batch_sizes={}, layer_calls={})


def _shaken(
    x: np.ndarray, background: np.ndarray, width: float, generator: np.random.Generator
) -> np.ndarray:
    noise = width * np.asarray(background).std() * generator.uniform(-1, 1, x.shape)
    return (x + noise).astype(x.dtype)


def _intra(one: np.ndarray, two: np.ndarray, large: bool) -> float:
    known = ~np.isnan(one) & ~np.isnan(two)
    if not known.any():
        return np.nan
    p = 1.0
    if (one[known] != two[known]).any():
        from scipy.stats import wilcoxon

        found: Any = wilcoxon(one[known], two[known], zero_method="zsplit")
        p = float(found.pvalue)
    return 1 - p if large else p


def _inter(one: np.ndarray, two: np.ndarray, better: str, large: bool) -> float:
    known = ~np.isnan(one).any(axis=0) & ~np.isnan(two).any(axis=0)
    if not known.any():
        return np.nan
    one, two = one[:, known], two[:, known]
    if large:
        return float((two < one if better == "higher" else two > one).mean())
    return float((one.argsort(axis=0, kind="stable") == two.argsort(axis=0, kind="stable")).mean())


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else np.nan
