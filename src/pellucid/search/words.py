"""The result of a search as text."""

from typing import TYPE_CHECKING

import numpy as np

from pellucid.standard.words import columns

if TYPE_CHECKING:
    from pellucid.search.result import SearchResult, Trial

_WORDS = {True: "passed", False: "FAILED", None: "not asked"}


def result_text(found: "SearchResult") -> str:
    """The verdict, the certificate, every candidate, and what it took."""
    lines = [found.verdict, ""]
    lines += _certificate(found)
    rows = [["", "candidate", "utility", "samples", "evaluations", "dropped after"]]
    rows += [_row(trial, found) for trial in found.trail]
    lines += [f"race on samples {', '.join(map(str, found.rounds))} (◆ chosen, ◇ on the front)"]
    lines += [*columns(rows), "", _cost(found)]
    for name, share in found.accuracy.items():
        lines.append(f"{name} is right on {share:.1%} of the samples.")
    return "\n".join([*lines, *found.notes]).rstrip()


def interval(value: float, low: float, high: float) -> str:
    """`0.42 [0.31, 0.55]`."""
    if np.isnan(value):
        return "–"
    return f"{value:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def _certificate(found: "SearchResult") -> list[str]:
    held = found.certificate
    if held is None:
        return []
    rows = [["", "utility", "lead of the chosen one", "p"]]
    for line in held.lines:
        if line.error:
            rows.append([line.name, line.error, "", ""])
            continue
        lead = ""
        if line.lead is not None and line.lead_low is not None and line.lead_high is not None:
            lead = interval(line.lead, line.lead_low, line.lead_high)
        p = "" if line.p is None else f"{line.p:.2g}"
        rows.append([line.name, interval(line.utility, line.low, line.high), lead, p])
    own = f" (the own baseline of {', '.join(held.favoured)})" if held.favoured else ""
    word = "better than" if held.beats_random else "not told apart from"
    return [
        f"certificate: {held.samples} fresh samples, imputers {', '.join(held.imputers)}{own}; the"
        f" chosen one is {word} the random control",
        *columns(rows),
        *(f"gate {g.identifier} {g.name}: {_WORDS[g.passed]} ({g.told})" for g in held.gates),
        "",
    ]


def _row(trial: "Trial", found: "SearchResult") -> list[str]:
    mark = "◆" if trial.name == found.chosen else "◇" if trial.on_front else ""
    fate = "" if trial.round is None else f"round {trial.round + 1}: {trial.reason}"
    return [
        mark,
        trial.name,
        interval(trial.utility, trial.low, trial.high),
        str(trial.samples),
        "–" if np.isnan(trial.evaluations) else f"{trial.evaluations:.4g}",
        fate,
    ]


def _cost(found: "SearchResult") -> str:
    text = f"{found.spent} evaluations of the model"
    if found.budget is not None:
        text += f" of a budget of {found.budget}"
    if not np.isnan(found.exhaustive):
        text += (
            f"; judging everything on every sample would take about {found.exhaustive:.0f}"
            f" ({found.spent / max(found.exhaustive, 1):.0%})"
        )
    return f"{text}; {found.seconds:.1f} s."
