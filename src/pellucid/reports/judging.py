"""A scorecard as the report shows it: medians, gates, utilities, and what not to trust."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pellucid.plots.style import number, short_name
from pellucid.reports.cells import method_title
from pellucid.reports.page import render_template

if TYPE_CHECKING:
    from pellucid.standard.scorecard import Scorecard

RULES = {
    "interpretability": "Can a person take it in, and is it about this class?",
    "credibility": "Does the model really do what the map says?",
    "scalability": "How does the cost grow?",
    "speed": "How long does one explanation take?",
}


_ROUNDING = 1e-9
BETTER = {
    "higher": "more is better", "lower": "less is better", "": "says how the numbers came about",
}  # fmt: skip
MEASURED_ONCE = {"scalability", "speed"}
"""Axes on which only some samples are measured at all."""


class ScoreCell(NamedTuple):
    """One explanation's median and interval in one score."""

    text: str
    interval: str
    missing: str
    control: bool
    untrusted: bool


class ScoreRow(NamedTuple):
    """One score, in one way of removing features where it has several."""

    identifier: str
    name: str
    way: str
    better: str
    what: str
    cells: tuple[ScoreCell, ...]


class AxisView(NamedTuple):
    """The scores of one axis."""

    title: str
    asks: str
    rows: tuple[ScoreRow, ...]


class ScorecardView(NamedTuple):
    """All that the section shows."""

    summary: str
    names: tuple[tuple[str, bool], ...]
    axes: tuple[AxisView, ...]
    gates: tuple[tuple[str, tuple[str, ...]], ...]
    judged: tuple[str, ...]
    utilities: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    remarks: tuple[str, ...]


def scorecard_view(card: "Scorecard") -> ScorecardView:
    """Everything the template needs, as words."""
    names = [*card.explanations, *[n for n in card.scores if n in card.controls]]
    untrusted = {name: set(card.untrusted(name)) for name in card.explanations}
    axes: dict[str, list[ScoreRow]] = {}
    told: set[str] = set()
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in card.table():
        rows.setdefault((row["metric"], row["way"]), {})[row["explanation"]] = row
    for (name, way), own in rows.items():
        metric = card.metric(name)
        if all(np.isnan(row["median"]) for row in own.values()):
            continue
        counted = metric.axis not in MEASURED_ONCE
        if metric.identifier and metric.axis not in MEASURED_ONCE:  # scores without a unit
            own = {explanation: _without_rounding(row) for explanation, row in own.items()}
        label = f"{name}{f' ({way})' if way else ''}"
        cells = tuple(
            _cell(own.get(n), n in card.controls, label in untrusted.get(n, ()), counted)
            for n in names
        )
        axes.setdefault(metric.axis, []).append(
            ScoreRow(
                metric.identifier, name.replace("_", " "), way.replace("_", " "),
                BETTER[metric.direction(way)],
                metric.what if name not in told else "", cells,
            )
        )  # fmt: skip
        told.add(name)
    utilities = card.utilities()
    return ScorecardView(
        summary=(
            f"{card.count} sample{'s' if card.count != 1 else ''}. Each number is the median over"
            " samples, with its 95 % interval below it. Features are removed in these ways:"
            f" {', '.join(card.imputers)}. Grey columns are maps that know nothing of the model."
        ),
        names=tuple((_title(n), n in card.controls) for n in names),
        axes=tuple(AxisView(a.capitalize(), RULES[a], tuple(axes[a])) for a in RULES if a in axes),
        gates=_gates(card),
        judged=tuple(_title(n) for n in card.explanations),
        utilities=tuple(
            (axis.capitalize(), tuple(_share(utilities[n][axis]) for n in card.explanations))
            for axis in RULES
            if any(not np.isnan(utilities[n][axis]) for n in card.explanations)
        ),
        remarks=tuple(card.remarks()),
    )


def scorecard_html(card: "Scorecard", title: str = "How far the explanations hold") -> str:
    """The scorecard as a page of its own that loads nothing from elsewhere."""
    return render_template("judged.html.j2", title=title, card=scorecard_view(card))


def _without_rounding(row: dict[str, Any]) -> dict[str, Any]:
    """A summary in which what is next to nothing is nothing: 5.55e-17 of a score is rounding."""
    small = [k for k in ("median", "low", "high") if abs(row[k]) < _ROUNDING]
    return row | dict.fromkeys(small, 0.0)


def _title(name: str) -> str:
    return short_name(method_title(name))


def _cell(row: dict[str, Any] | None, control: bool, untrusted: bool, counted: bool) -> ScoreCell:
    if row is None or np.isnan(row["median"]):
        return ScoreCell("–", "", "" if row is None else "no sample has one", control, False)
    interval = "" if np.isnan(row["low"]) else f"{number(row['low'])} to {number(row['high'])}"
    missing = f"{row['missing']} without" if row["missing"] and counted else ""
    return ScoreCell(number(row["median"]), interval, missing, control, untrusted)


def _gates(card: "Scorecard") -> tuple[tuple[str, tuple[str, ...]], ...]:
    gates = card.gates()
    words = {True: "passed", False: "failed", None: "not asked"}
    kinds = dict.fromkeys(kind for own in gates.values() for kind in own)
    return tuple(
        (kind.replace("_", " "), tuple(words[own.get(kind)] for own in gates.values()))
        for kind in kinds
    )


def _share(value: float) -> tuple[str, int]:
    """A utility in words, and the width of its bar in percent; from 1 on it is full."""
    return ("–", 0) if np.isnan(value) else (f"{value:.2f}", round(100 * min(max(value, 0.0), 1.0)))
