"""The result of an evaluation: every sample's scores, their summary, and which can be believed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.standard.controls import FEWEST, FIXED, LEVEL, Contest
from pellucid.standard.metric import AXES, Metric
from pellucid.standard.statistics import Summary, holm, median_of, paired_p, summarise
from pellucid.standard.utilities import utility
from pellucid.types import Evaluations

Ways = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Scores of some explanations of the same samples, raw, one a sample.

    `scores[explanation][metric][way]` are arrays `(n,)`, NaN where a sample has none; `way` is the
    imputer, or what else a metric tells apart, "" where there is one number only. `skipped` says
    why a metric could not be asked. `controls` are the explanations that know nothing.

    >>> card = pellucid.evaluate(model, x, ["integrated_gradients"], standard=["srg"])
    >>> card.scores["integrated_gradients"]["srg"]["blur"].shape
    (2,)
    """

    scores: Mapping[str, Mapping[str, Ways]]
    skipped: Mapping[str, Mapping[str, str]]
    metrics: tuple[Metric, ...]
    contests: Mapping[str, tuple[Contest, ...]]
    count: int
    seed: int
    imputers: tuple[str, ...]
    evaluations: Evaluations
    seconds: float
    notes: tuple[str, ...] = ()
    controls: tuple[str, ...] = field(default=FIXED)

    @property
    def explanations(self) -> tuple[str, ...]:
        """The names of what was judged, controls left out."""
        return tuple(name for name in self.scores if name not in self.controls)

    def metric(self, name: str) -> Metric:
        """The metric of this name or identifier."""
        for metric in self.metrics:
            if name in {metric.name, metric.identifier}:
                return metric
        known = ", ".join(m.name for m in self.metrics)
        raise InputError(f"No metric {name!r} in this scorecard. It has {known}.")

    def summary(self, explanation: str, metric: str, way: str | None = None) -> Summary:
        """The median over samples with its 95 % bootstrap interval, and how many have none."""
        ways = self._ways(explanation, metric)
        chosen = next(iter(ways)) if way is None else way
        return summarise(ways[chosen], seed=self.seed)

    def median(self, explanation: str, metric: str, way: str) -> float:
        """The median over samples; NaN where it was not asked or no sample has a number."""
        values = self.scores[explanation].get(self.metric(metric).name, {}).get(way)
        return np.nan if values is None else summarise(values, seed=self.seed).median

    def document(self) -> dict[str, Any]:
        """All of it as plain data: summaries, gates, contests, and every sample's numbers."""
        return {
            "samples": self.count,
            "seed": self.seed,
            "imputers": list(self.imputers),
            "summary": self.table(),
            "gates": self.gates(),
            "utilities": self.utilities(),
            "contests": {
                name: [dataclasses.asdict(c) | {"won": c.won} for c in own]
                for name, own in self.contests.items()
            },
            "scores": self.scores,
            "skipped": self.skipped,
            "notes": list(self.notes),
            "evaluations": self.evaluations._asdict(),
            "seconds": self.seconds,
        }

    def _ways(self, explanation: str, metric: str) -> Ways:
        name = self.metric(metric).name
        if explanation not in self.scores:
            raise InputError(f"No explanation {explanation!r}: {', '.join(self.scores)}.")
        found = self.scores[explanation].get(name)
        if found is None:
            why = self.skipped.get(explanation, {}).get(name, "it was not asked")
            raise InputError(f"{explanation} has no {name}: {why}.")
        return found

    def table(self) -> list[dict[str, Any]]:
        """One row for each explanation, metric and way: median, interval, missing, gate."""
        rows: list[dict[str, Any]] = []
        for explanation, found in self.scores.items():
            for metric in self.metrics:
                for way, values in found.get(metric.name, {}).items():
                    told = summarise(values, seed=self.seed)
                    rows.append(
                        {
                            "explanation": explanation,
                            "axis": metric.axis,
                            "metric": metric.name,
                            "identifier": metric.identifier,
                            "way": way,
                            "better": metric.direction(way),
                            **told._asdict(),
                            "passed": self._share_passed(metric, values),
                        }
                    )
        return rows

    def _share_passed(self, metric: Metric, values: np.ndarray) -> float | None:
        known = values[~np.isnan(values)]
        if not metric.is_gate or not known.size:
            return None
        return float(metric.passes(known).mean())

    def gates(self) -> dict[str, dict[str, bool | None]]:
        """For each explanation whether it passes each gate; None where it could not be asked.

        A gate with a limit is passed where the median of the samples is on its right side;
        "controls" where every control loses beyond chance in every score that judges.
        """
        found: dict[str, dict[str, bool | None]] = {}
        for explanation in self.explanations:
            own: dict[str, bool | None] = {}
            for metric in self.metrics:
                if not metric.is_gate:
                    continue
                ways = self.scores[explanation].get(metric.name, {})
                told = [summarise(v, seed=self.seed).median for _, v in metric.scored(ways)]
                known = np.array([m for m in told if not np.isnan(m)])
                own[metric.name] = bool(metric.passes(known).all()) if known.size else None
            own["controls"] = self._beats_controls(explanation)
            found[explanation] = own
        return found

    def _beats_controls(self, explanation: str) -> bool | None:
        held = [c for c in self.contests.get(explanation, ()) if c.control != "blurred"]
        if not held or self.count < FEWEST:
            return None
        return all(c.won for c in held)

    def untrusted(self, explanation: str) -> list[str]:
        """Scores in which a blurred copy of the map, which knows less, is no worse than the map."""
        return [
            f"{c.metric}{f' ({c.way})' if c.way else ''}"
            for c in self.contests.get(explanation, ())
            if c.control == "blurred" and c.median_difference <= 0
        ]

    def utilities(self) -> dict[str, dict[str, float]]:
        """Each explanation's score on each axis: 0 is the random control, 1 the ideal.

        u = (m − m_random) / (m_ideal − m_random) for the medians of each score that has an ideal,
        at least −1 but for C1 (see `standard.removal.srg`), whose gain has no bounds; the mean over
        its ways, then over the axis' scores; gates stay out.
        Speed is 1 − log₁₀(forwards) / 4: 1 for one forward, 0 for ten thousand. NaN where nothing
        of an axis could be asked.
        """
        return {name: self._utilities_of(name) for name in self.explanations}

    def _utilities_of(self, explanation: str) -> dict[str, float]:
        found: dict[str, list[float]] = {axis: [] for axis in AXES}
        for metric in self.metrics:
            ways = self.scores[explanation].get(metric.name, {})
            if metric.name == "speed" and "forwards" in ways:
                forwards = summarise(ways["forwards"]).median
                found["speed"].append(float(np.clip(1 - np.log10(max(forwards, 1)) / 4, 0, 1)))
            random = self.scores.get("random", {}).get(metric.name, {})
            if metric.ideal is None or metric.is_gate:
                continue
            controls = dict(metric.for_utility(random))
            own = [
                _utility(metric, values, controls[way])
                for way, values in metric.for_utility(ways)
                if way in controls
            ]
            known = [u for u in own if not np.isnan(u)]
            if known:
                found[metric.axis].append(float(np.mean(known)))
        return {axis: float(np.mean(u)) if u else np.nan for axis, u in found.items()}

    def compare(self, metric: str, way: str | None = None) -> list[dict[str, Any]]:
        """The explanations from best to worst in one score, each against the best.

        `p` is Wilcoxon's signed-rank test that the best one is better on the same samples, with
        Holm's correction; `tied` where that is not below 0.05. `missing` samples have no number;
        where the random control has one there, that is worse than any number, in the order and in
        the test, so that a map that mostly cannot be judged is never the best for the rest.
        """
        chosen = self.metric(metric)
        sign = 1.0 if chosen.better == "higher" else -1.0
        held: dict[str, np.ndarray] = {}
        told: dict[str, dict[str, Any]] = {}
        for name in self.explanations:
            ways = self.scores[name].get(chosen.name)
            if ways:
                one = next(iter(ways)) if way is None else way
                held[name] = sign * self._with_missing(chosen, one, ways[one])
                own = summarise(ways[one], seed=self.seed)
                told[name] = {"explanation": name, "median": own.median, "missing": own.missing}
        medians = {name: median_of(v) for name, v in held.items()}
        order = sorted(held, key=lambda n: (np.isnan(medians[n]), -medians[n]))
        if not order:
            return []
        p = holm([paired_p(held[order[0]], held[name]) for name in order[1:]]) if order[1:] else []
        rows = [told[order[0]] | {"p": None, "tied": True}]
        return rows + [
            told[n] | {"p": q, "tied": q >= LEVEL} for n, q in zip(order[1:], p, strict=True)
        ]

    def _with_missing(self, metric: Metric, way: str, values: np.ndarray) -> np.ndarray:
        """Scores where a number that only this explanation lacks is the worst there is."""
        control = self.scores.get("random", {}).get(metric.name, {}).get(way)
        if control is None:
            return values
        worst = -np.inf if metric.better == "higher" else np.inf
        return np.where(np.isnan(values) & ~np.isnan(control), worst, values)

    def ranks(self, *, draws: int = 1000) -> dict[str, dict[str, float]]:
        """Each explanation's mean rank over all scores (1 is best), with a bootstrap interval.

        Samples are resampled together for all explanations; `best` is how often it ranks first.
        """
        columns = self._columns()
        names = list(self.explanations)
        if not columns or len(names) < 2:
            return {n: {"rank": 1.0, "low": 1.0, "high": 1.0, "best": 1.0} for n in names}
        generator = np.random.default_rng([self.seed, 45])
        mean = _mean_ranks(columns, np.arange(self.count)[None])[0]
        rows = generator.integers(self.count, size=(draws, self.count))
        drawn = _mean_ranks(columns, rows)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        first = drawn <= drawn.min(axis=1, keepdims=True)
        best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
        return {
            n: {"rank": float(mean[i]), "low": float(low[i]), "high": float(high[i]),
                "best": float(best[i])}
            for i, n in enumerate(names)
        }  # fmt: skip

    def _columns(self) -> list[np.ndarray]:
        """`(explanations, n)` for each score and way that all explanations have, more is better."""
        found = []
        for metric in self.metrics:
            if metric.is_gate or metric.axis in {"speed", "scalability"} or metric.ideal is None:
                continue
            each = [self.scores[n].get(metric.name, {}) for n in self.explanations]
            sign = 1.0 if metric.better == "higher" else -1.0
            own = [w for w, _ in metric.scored(each[0])] if each else []
            shared = [w for w in own if all(w in ways for ways in each)]
            found += [
                sign * np.stack([self._with_missing(metric, way, ways[way]) for ways in each])
                for way in shared
            ]
        return found

    def plot(self, **options: Any) -> Any:
        """Every score with its interval, the controls as the ground; a Figure, never shown."""
        from pellucid.plots.scorecard import scorecard

        return scorecard(self, **options)

    def __str__(self) -> str:
        """A table of medians with intervals, gates apart, and what not to trust."""
        from pellucid.standard.words import scorecard_text

        return scorecard_text(self)

    def __repr__(self) -> str:
        """The same as `str`."""
        return str(self)

    def remarks(self) -> list[str]:
        """What not to trust: controls not beaten, blurs that win, what was skipped."""
        from pellucid.standard.words import remarks_on

        return remarks_on(self)

    def to_html(self) -> str:
        """One page that loads nothing from elsewhere: scores, gates, utilities, remarks."""
        from pellucid.reports.judging import scorecard_html

        return scorecard_html(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _utility(metric: Metric, values: np.ndarray, random: np.ndarray) -> float:
    """Where the median stands between that of the random control and the ideal."""
    floor = median_of(random)
    lost = np.isnan(values) & ~np.isnan(random)  # says no more than the random control
    return float(utility(metric, np.asarray(median_of(np.where(lost, floor, values))), floor))


def _mean_ranks(columns: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Mean ranks `(draws, explanations)` of the medians over some resampled rows."""
    total = np.zeros((len(rows), len(columns[0])))
    for column in columns:
        drawn = column[:, rows]
        missing = np.isnan(drawn)
        medians = np.full(drawn.shape[:2], -np.inf)
        some = ~missing.all(axis=2)
        medians[some] = np.nanmedian(drawn[some], axis=1)
        # What differs by rounding only is equal: places are then shared.
        close = np.isclose(medians[:, None], medians[None, :], rtol=1e-5, atol=1e-9)
        better = ((medians[:, None] > medians[None, :]) & ~close).sum(axis=0)
        total += better.T + (close.sum(axis=0).T + 1) / 2
    return total / len(columns)
