"""A scorecard as text: medians with their intervals, gates apart, what not to trust."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pellucid.standard.controls import FEWEST
from pellucid.standard.statistics import Summary, summarise

if TYPE_CHECKING:
    from pellucid.standard.scorecard import Scorecard


def scorecard_text(card: "Scorecard") -> str:
    """One row a score, one column an explanation; controls last."""
    names = [*card.explanations, *[n for n in card.scores if n in card.controls]]
    lines = [
        f"{card.count} sample{'s' if card.count != 1 else ''}, imputers {', '.join(card.imputers)},"
        f" {card.evaluations.forward} forward evaluations of copies, {card.seconds:.1f} s;"
        " median [95 % interval]"
    ]
    rows = [["", "score", *names]]
    for metric in card.metrics:
        ways = {w: None for n in names for w in card.scores[n].get(metric.name, {})}
        for way in ways:
            arrow = _arrow(metric.direction(way))
            label = f"{metric.name}{f' ({way})' if way else ''} {arrow}".rstrip()
            cells = [_cell(card, n, metric.name, way) for n in names]
            rows.append([metric.identifier, label, *cells])
    lines += columns(rows)
    lines += ["", "gates"]
    gates = card.gates()
    kinds = list(dict.fromkeys(k for own in gates.values() for k in own))
    told = [[kind, *(_passed(own.get(kind)) for own in gates.values())] for kind in kinds]
    lines += columns([["gate", *gates], *told])
    lines += _beside_blurred(card)
    lines += ["", *remarks_on(card)]
    return "\n".join(lines).rstrip()


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of equal columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def summary_words(told: Summary) -> str:
    """`0.42 [0.31, 0.55]`, and how many samples have no number."""
    if np.isnan(told.median):
        return "–"
    text = f"{told.median:.3g}"
    if not np.isnan(told.low):
        text += f" [{told.low:.3g}, {told.high:.3g}]"
    return text + (f" ({told.missing} without)" if told.missing else "")


def _arrow(better: str) -> str:
    return {"higher": "↑", "lower": "↓"}.get(better, "")


def _cell(card: "Scorecard", name: str, metric: str, way: str) -> str:
    values = card.scores[name].get(metric, {}).get(way)
    if values is None:
        return "skipped" if metric in card.skipped.get(name, {}) else "–"
    return summary_words(summarise(values, seed=card.seed))


def _passed(value: bool | None) -> str:
    return "not asked" if value is None else "passed" if value else "FAILED"


def _beside_blurred(card: "Scorecard") -> list[str]:
    """How much better each map scores than a blurred copy of it, the median over samples."""
    told: dict[str, dict[str, str]] = {}
    for name in card.explanations:
        for contest in card.contests.get(name, ()):
            if contest.control == "blurred":
                label = f"{contest.metric}{f' ({contest.way})' if contest.way else ''}"
                text = f"{contest.median_difference:+.3g} (p = {contest.p:.2g})"
                told.setdefault(label, {})[name] = text
    if not told:
        return []
    rows = [[label, *(own.get(n, "–") for n in card.explanations)] for label, own in told.items()]
    return ["", "a map less its blurred copy", *columns([["score", *card.explanations], *rows])]


def remarks_on(card: "Scorecard") -> list[str]:
    """What a reader must know before believing a number."""
    found = list(card.notes)
    if card.count < FEWEST:
        found.append(
            f"The controls are no gate here: with fewer than {FEWEST} samples no paired test can"
            " tell a better map from chance."
        )
    for name in card.explanations:
        lost = [c for c in card.contests.get(name, ()) if c.control != "blurred" and not c.won]
        if lost and card.count >= FEWEST:
            told = ", ".join(f"{c.control} in {c.metric} ({c.way}, p = {c.p:.2g})" for c in lost)
            found.append(f"{name} does not beat {told}.")
        untrusted = card.untrusted(name)
        if untrusted:
            found.append(
                f"A blurred copy of {name} scores as well in {', '.join(untrusted)}: do not trust"
                " that score here."
            )
    reasons: dict[str, list[str]] = {}
    for name, own in card.skipped.items():
        for metric, why in own.items():
            reasons.setdefault(f"{metric} skipped: {why}", []).append(name)
    found += [f"{why} ({', '.join(names)})" for why, names in reasons.items()]
    return found + _without_numbers(card)


def _without_numbers(card: "Scorecard") -> list[str]:
    """Where samples have no number in a score, and how many, by explanation."""
    found = []
    broken = ", or where a map is not finite" if any("not finite" in n for n in card.notes) else ""
    for metric in card.metrics:
        if metric.axis == "scalability":  # measured once, and it says itself what is missing
            continue
        told = []
        for name in card.explanations:
            ways = card.scores[name].get(metric.name, {}).values()
            lost = max((int(np.isnan(values).sum()) for values in ways), default=0)
            if lost:
                told.append(f"{name}: {lost} of {card.count}")
        if told:
            where = metric.without or "it returns NaN"
            found.append(f"{metric.name} has no number where {where}{broken} ({', '.join(told)})")
    return found
