"""What was found of one candidate on some samples, as numbers that a file can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.errors import InputError

Scores = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Record:
    """`scores[metric][way]` one number a sample; `spent` all rows of the model that it took.

    `evaluations` are those of the explanation alone, for all of its samples, without what is asked
    of a model once. `facts` hold what the
    limits of the goal are about: gap, seconds, memory. `error` says why there are no scores;
    `refused` that it was for want of budget.
    """

    scores: Scores = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    evaluations: int = 0
    spent: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    refused: bool = False
    known: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of a random control: what the model said that is asked once for all candidates."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it: what is no number becomes null."""
        return {
            "scores": {
                metric: {way: [_or_none(v) for v in values] for way, values in ways.items()}
                for metric, ways in self.scores.items()
            },
            "skipped": dict(self.skipped),
            "evaluations": self.evaluations,
            "spent": self.spent,
            "facts": {k: _or_none(v) for k, v in self.facts.items()},
            "error": self.error,
            "refused": self.refused,
            "known": {
                name: {"type": str(a.dtype), "values": _nested(a.tolist())}
                for name, a in self.known.items()
            },
        }

    @classmethod
    def of(cls, given: Any) -> "Record":
        """What `plain` wrote; raises `InputError` for anything else."""
        try:
            return cls(
                scores={
                    str(metric): {str(w): _numbers(v) for w, v in ways.items()}
                    for metric, ways in given["scores"].items()
                },
                skipped={str(k): str(v) for k, v in given["skipped"].items()},
                evaluations=int(given["evaluations"]),
                spent=int(given["spent"]),
                facts={str(k): _number(v) for k, v in given["facts"].items()},
                error=str(given["error"]),
                refused=bool(given["refused"]),
                known={str(name): _array(held) for name, held in given.get("known", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"No record of a search: {type(error).__name__}: {error}.") from error


def _nested(value: Any) -> Any:
    return list(map(_nested, value)) if isinstance(value, list) else _or_none(value)


def _array(held: Mapping[str, Any]) -> np.ndarray:
    """Numbers in the type that they had; `null` is NaN."""
    return np.array(held["values"], dtype=np.float64).astype(held["type"])


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _numbers(values: Any) -> np.ndarray:
    return np.array([_number(v) for v in values], dtype=np.float64)
