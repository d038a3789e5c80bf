"""The result of a search: what was chosen, how sure that is, and how it came about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import CapabilityError, InputError
from pellucid.explainer import Explainer
from pellucid.plain import plain
from pellucid.search.certificate import Certificate
from pellucid.search.goal import Goal


@dataclass(frozen=True)
class Trial:
    """One candidate: what it is, what it reached, what it took, and what became of it.

    `utility` is its mean over `samples` of the tuning half with a 95 % bootstrap interval, `axes`
    its parts. `evaluations` are those of one sample's explanation, `spent` all rows of the model
    that judging it took. `round` is the one after which it was `dropped` for `reason`; None for
    those that stayed to the end. `open` says that it was not told apart from the leader then.
    """

    name: str
    model: str
    method: str
    parameters: Mapping[str, Any]
    samples: int
    utility: float
    low: float
    high: float
    axes: Mapping[str, float]
    evaluations: float
    spent: int
    round: int | None
    reason: str
    open: bool
    on_front: bool


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What `search` found.

    `chosen` is the name of the best candidate that keeps the limits, None where none does;
    `explainer` explains with it. `certificate` judges it on samples that had no part in the race;
    `front` names the candidates that no other one beats on all axes; `trail` is every candidate.
    `winner` is True where the chosen one is better beyond chance than every rival that was
    certified beside it. `met`: it keeps all limits on the held-out samples.

    >>> methods = ["saliency", "gradient_x_input", "random"]
    >>> more = np.concatenate([x] * 4)
    >>> found = pellucid.search(model, more, pellucid.Goal(methods=methods, metrics=["C1"]))
    >>> found.explainer.explain(x).method == found.chosen
    True
    """

    goal: Goal
    chosen: str | None
    winner: bool
    met: bool
    verdict: str
    certificate: Certificate | None
    front: tuple[str, ...]
    trail: tuple[Trial, ...]
    rounds: tuple[int, ...]
    """How many samples had been used after each round."""
    spent: int
    """Rows of the model, forward, backward and through a part of it, all in all."""
    budget: int | None
    exhaustive: float
    """What judging every candidate on every sample would have taken, from what was measured."""
    imputers: tuple[str, ...]
    accuracy: Mapping[str, float]
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()
    ready: Explainer | None = field(default=None, repr=False)
    code: str = field(default="", repr=False)

    @property
    def explainer(self) -> Explainer:
        """An `Explainer` with the chosen method, parameters and model.

        Raises `CapabilityError` where no candidate keeps the limits.
        """
        if self.ready is None:
            raise CapabilityError(f"Nothing was chosen: {self.verdict}")
        return self.ready

    def trial(self, name: str) -> Trial:
        """The candidate of this name."""
        for trial in self.trail:
            if trial.name == name:
                return trial
        raise InputError(f"No candidate {name!r}: {', '.join(t.name for t in self.trail)}.")

    def table(self) -> list[dict[str, Any]]:
        """One row for each candidate, best first, those that never were judged last."""
        return [_row(t) for t in self.trail]

    def reproduce(self) -> str:
        """Python that explains with what was chosen, and that searches again."""
        return self.code

    def remarks(self) -> list[str]:
        """What a reader must know before believing the result."""
        return list(self.notes)

    def document(self) -> dict[str, Any]:
        """All of it as plain data, as JSON holds it."""
        certificate = self.certificate
        lines = [] if certificate is None else [_finite(vars(c)) for c in certificate.lines]
        return {
            "chosen": self.chosen,
            "winner": self.winner,
            "met": self.met,
            "verdict": self.verdict,
            "goal": {
                name: _finite(plain(getattr(self.goal, name)))
                for name in self.goal.__dataclass_fields__
            },
            "certificate": None
            if certificate is None
            else {
                "samples": certificate.samples,
                "imputers": list(certificate.imputers),
                "favoured": list(certificate.favoured),
                "beats_random": certificate.beats_random,
                "gates": [_finite(vars(g)) for g in certificate.gates],
                "lines": lines,
            },
            "front": list(self.front),
            "trail": [_finite(row) for row in self.table()],
            "rounds": list(self.rounds),
            "spent": self.spent,
            "budget": self.budget,
            "exhaustive": _finite(self.exhaustive),
            "imputers": list(self.imputers),
            "accuracy": dict(self.accuracy),
            "seed": self.seed,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "code": self.code,
        }

    def to_json(self) -> str:
        """`document` as text; what is no number is null."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False, allow_nan=False)

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        try:
            Path(path).write_text(self.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error}.") from error

    def plot(self, **options: Any) -> Any:
        """Every candidate with its interval, and the front; a Figure, never shown."""
        from pellucid.plots.search import search

        return search(self, **options)

    def __str__(self) -> str:
        """The verdict, the certificate, and every candidate."""
        from pellucid.search.words import result_text

        return result_text(self)

    def __repr__(self) -> str:
        """The same as `str`."""
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _row(trial: Trial) -> dict[str, Any]:
    return vars(trial) | {"parameters": plain(trial.parameters), "axes": dict(trial.axes)}


def _finite(value: Any) -> Any:
    """Numbers that are none as None, everywhere."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
