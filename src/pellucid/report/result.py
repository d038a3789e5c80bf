"""The report itself: its parts, and the page they make."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.inside import Structure, SurrogateTree
from pellucid.report.data_card import DataCard

if TYPE_CHECKING:
    from pellucid.board import Board
    from pellucid.reports.items import Study


@dataclass(frozen=True)
class Cost:
    """One part of the work: rows run through the model or a part of it, either way, and seconds."""

    name: str
    evaluations: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Report:
    """A model, its data, what was found of both; made by `pellucid.report`.

    `study` holds the explained samples and the scorecard, `structure` how the model is built,
    `data` what it was asked about, `board` how it behaves there where labels were given, `tree` a
    small tree that imitates it on a table. `warnings`
    are all there were, each once; `costs` what each part took.
    """

    study: "Study"
    structure: Structure | None
    data: DataCard
    board: "Board | None"
    tree: SurrogateTree | None
    costs: tuple[Cost, ...]
    warnings: tuple[str, ...]

    @property
    def scorecard(self) -> Any:
        """How the explanations stand before the standard; None where they were not judged."""
        return self.study.scorecard

    def to_html(self, *, budget_megabytes: float = 5.0) -> str:
        """One self-contained page that needs no JavaScript.

        Pictures are made smaller until it fits `budget_megabytes`. Raises `InputError` where even
        the smallest do not.
        """
        from pellucid.reports.whole import whole_html

        return whole_html(self, budget_megabytes)

    def save(self, path: str | Path, *, budget_megabytes: float = 5.0) -> Path:
        """Write the page; returns its path. Raises `InputError` where that cannot be written."""
        from pellucid.reports.page import write_page

        return write_page(self.to_html(budget_megabytes=budget_megabytes), path)

    def to_dict(self) -> dict[str, Any]:
        """All but the pictures in JSON's own types; the page holds the same."""
        from pellucid.reports.whole import whole_record

        return whole_record(self)

    def reproduce(self) -> str:
        """The Python that makes it again."""
        return self.study.reproduce

    def _repr_html_(self) -> str:
        page = escape(self.to_html(budget_megabytes=1.0), quote=True)
        return (
            f'<iframe sandbox="" srcdoc="{page}" title="{escape(self.study.title, quote=True)}"'
            ' style="width: 100%; height: 860px; border: 1px solid #8884"></iframe>'
        )

    def __str__(self) -> str:
        """What is in it, and what it took."""
        methods = dict.fromkeys(a.explanation.method for i in self.study.items for a in i.answers)
        parts = [
            f"{len(self.study.items)} of {self.data.rows} samples explained by {', '.join(methods)}"
        ]
        parts += ["a scorecard"] if self.scorecard is not None else []
        parts += ["a board"] if self.board is not None else []
        parts += ["a tree"] if self.tree is not None else []
        seconds = sum(c.seconds for c in self.costs)
        rows = sum(c.evaluations for c in self.costs)
        lines = [f"{self.study.title}: {', '.join(parts)}; {rows:,} evaluations, {seconds:.1f} s"]
        return "\n".join(lines + [f"  warning: {w}" for w in self.warnings])
