"""The board itself: all that was found of a model's behaviour over a data set."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.board.columns import Distribution
from pellucid.board.examples import ExampleGroup
from pellucid.board.performance import Classification, Regression
from pellucid.board.places import Places
from pellucid.board.record import record
from pellucid.board.scores import Score
from pellucid.board.slices import Slices
from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.importance import Importance


@dataclass(frozen=True)
class Stage:
    """One part of the work: how many rows it looked at, forward passes, seconds."""

    name: str
    rows: int
    evaluations: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Board:
    """A model's behaviour over a data set, as one page; made by `pellucid.board`.

    `performance` is a `Classification` or a `Regression`, `inputs` how the columns lie and how
    the errors go with them, `slices` where the model errs more than elsewhere, `examples` groups
    of rows of which `explanation` holds the attributions, `importance` the columns of a table by
    what is lost without them, or the words of texts, `places` where in pictures the model looks.
    `rows` of the `count` rows given were looked at. `warnings` say what not to trust, `notes` how
    things were read.
    """

    title: str
    task: str
    """"classification" or "regression"."""
    count: int
    rows: int
    class_names: tuple[str, ...]
    label_counts: np.ndarray | None
    """Rows of each class; None for numbers."""
    performance: Classification | Regression
    answers: tuple[Distribution, ...]
    """How labels and predictions lie, where they are numbers."""
    inputs: tuple[Distribution, ...]
    slices: Slices | None
    examples: tuple[ExampleGroup, ...]
    explanation: Explanation | None
    importance: Importance | None
    places: Places | None
    """What each cell of a grid counts for, of pictures."""
    stages: tuple[Stage, ...]
    seed: int
    model: dict[str, Any]
    """Framework, versions, fingerprint."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def evaluations(self) -> int:
        """Forward passes of all stages, counted at the model."""
        return sum(stage.evaluations for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Time of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def score(self, name: str) -> Score:
        """The score of that name. Raises `KeyError` for another, naming those there are."""
        known = {s.name: s for s in self.performance.scores}
        if name not in known:
            raise KeyError(f"No score {name!r}; there are {', '.join(known)}.")
        return known[name]

    def to_html(self, *, budget_megabytes: float = 5.0) -> str:
        """The page as text: self-contained, readable without JavaScript, within the budget.

        Raises `InputError` where even the smallest pictures do not fit it.
        """
        from pellucid.reports.board import board_html

        return board_html(self, budget_megabytes=budget_megabytes)

    def save(self, path: str | Path, *, budget_megabytes: float = 5.0) -> Path:
        """Write the page; returns its path.

        Raises `InputError` as `to_html` does, and where the path cannot be written.
        """
        from pellucid.reports.page import write_page

        return write_page(self.to_html(budget_megabytes=budget_megabytes), path)

    def plot(self, **options: Any) -> Any:
        """Draw the main panels: a Figure, never shown. See `pellucid.plots.board`."""
        from pellucid.plots.board import board

        return board(self, **options)

    def to_dict(self) -> dict[str, Any]:
        """All numbers in JSON's own types, without the curves' points and attributions."""
        return record(self)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, which runs no scripts; words where it is too large."""
        try:
            page = escape(self.to_html(budget_megabytes=1.0), quote=True)
        except InputError:
            why = "The page takes more than 1 MB, too much for a cell: save(path) writes it."
            return f"<pre>{escape(str(self))}</pre><p>{why}</p>"
        return (
            f'<iframe sandbox="" srcdoc="{page}" title="{escape(self.title, quote=True)}"'
            ' style="width: 100%; height: 860px; border: 1px solid #8884"></iframe>'
        )

    def __str__(self) -> str:
        """What was looked at, the main scores, and where it errs most."""
        sampled = "" if self.rows == self.count else f" (sampled from {self.count:,})"
        lines = [f"{self.title}: {self.task} of {self.rows:,} rows{sampled}"]
        for s in self.performance.scores[:6]:
            interval = "" if np.isnan(s.low) else f" ({_four(s.low)} to {_four(s.high)})"
            lines.append(f"  {s.name} {_four(s.value)}{interval}")
        if self.slices is not None:
            lines += [f"  errs more where {s}" for s in self.slices.found[:3]]
            if not self.slices.found:
                lines.append(f"  no slice errs more than the rest (alpha {self.slices.alpha:g})")
        if self.importance is not None:
            most = ", ".join(r[0] for r in self.importance.beyond_chance().rows[:3])
            lines.append(f"  counts most: {most or 'no column, beyond chance'}")
        lines.append(f"  {self.evaluations:,} forward passes, {self.seconds:.1f} s")
        return "\n".join(lines + [f"  warning: {w}" for w in self.warnings])

    def __repr__(self) -> str:
        """The same as `str`: pages are a call away."""
        return str(self)


def _four(value: float) -> str:
    """Four figures, without what is only rounding beside 1."""
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"
