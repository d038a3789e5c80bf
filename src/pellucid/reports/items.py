"""What a report is made of: inputs, the questions asked about them, and the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.image import picked

if TYPE_CHECKING:
    from pellucid.standard.scorecard import Scorecard


class Answer(NamedTuple):
    """What one method said to one question about one sample of its batch."""

    question: str
    explanation: Explanation
    sample: int = 0


@dataclass(frozen=True)
class StudyItem:
    """One input with all that was said about it; plain tuples will do as answers.

    `predictions` are the best names with their probabilities; left out, they are read from the
    first explanation. `picture` (uint8, framed like the maps) replaces the explanation's own.
    """

    name: str
    answers: Sequence[Answer]
    predictions: Sequence[tuple[str, float]] = ()
    caption: str = ""
    picture: np.ndarray | None = None

    def __post_init__(self) -> None:
        answers = tuple(Answer(*answer) for answer in self.answers)
        if not answers:
            raise InputError(f"the study item {self.name!r} holds no explanation.")
        for answer in answers:
            picked(answer.explanation, answer.sample, 0)
        object.__setattr__(self, "answers", answers)
        if not self.predictions:
            found = best_predictions(answers[0].explanation, answers[0].sample)
            object.__setattr__(self, "predictions", found)


@dataclass(frozen=True)
class Study:
    """All of a report: what was asked about which inputs of which model, and how to ask again."""

    title: str
    items: Sequence[StudyItem]
    model: Mapping[str, Any] = field(default_factory=dict)
    reproduce: str = ""
    notes: Sequence[str] = ()
    scorecard: "Scorecard | None" = None
    """How the explanations stand before the standard, where they were judged."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))
        if not self.items:
            raise InputError("a study needs at least one item.")


def best_predictions(
    explanation: Explanation, sample: int = 0, count: int = 5
) -> tuple[tuple[str, float], ...]:
    """The most probable classes by name; empty where the model gives no probabilities."""
    if explanation.probabilities is None:
        return ()
    probabilities = np.atleast_2d(np.asarray(explanation.probabilities, np.float64))
    row = probabilities[min(sample, len(probabilities) - 1)]
    if row.size < 2:
        return ()
    names = explanation.class_names or tuple(f"class {i}" for i in range(row.size))
    order = np.argsort(-row, kind="stable")[:count]
    return tuple((names[int(i)], float(row[i])) for i in order)
