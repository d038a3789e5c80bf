"""A whole report as one page: explained samples, scorecard, board, structure, data, cost."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pellucid.errors import InputError
from pellucid.plots.style import elide, number
from pellucid.reports.board import board_section
from pellucid.reports.images import LADDER, Quality
from pellucid.reports.page import render_template
from pellucid.reports.record import plain, study_record
from pellucid.reports.structure import structure_view
from pellucid.reports.view import study_view

if TYPE_CHECKING:
    from pellucid.inside import SurrogateTree
    from pellucid.report.data_card import ColumnCard, DataCard
    from pellucid.report.result import Report


@dataclass(frozen=True)
class Section:
    """One further part of the page, its HTML made and escaped elsewhere."""

    anchor: str
    title: str
    body: Markup


def whole_html(report: "Report", budget_megabytes: float) -> str:
    """The page; pictures made smaller step by step until it fits.

    Raises `InputError` where even the smallest do not.
    """
    record = whole_record(report)
    smallest = 0
    for quality in LADDER:
        page = render_template(
            "report.html.j2", page=study_view(report.study, quality), record=record,
            sections=sections_of(report, quality),
        )  # fmt: skip
        smallest = len(page.encode("utf-8"))
        if smallest <= budget_megabytes * 1e6:
            return page
    raise InputError(
        f"this report takes {smallest / 1e6:.1f} MB even with its smallest pictures; the budget is"
        f" {budget_megabytes:g} MB.\n  Ask for fewer examples, or raise budget_megabytes."
    )


def whole_record(report: "Report") -> dict[str, Any]:
    """The study's record with the other parts beside it."""
    return plain(
        study_record(report.study)
        | {
            "structure": None if report.structure is None else report.structure.to_dict(),
            "data": report.data.to_dict(),
            "board": None if report.board is None else report.board.to_dict(),
            "tree": None if report.tree is None else report.tree.to_dict(),
            "costs": [asdict(cost) for cost in report.costs],
            "warnings": list(report.warnings),
        }
    )


def sections_of(report: "Report", quality: Quality) -> list[Section]:
    """What follows the samples and their scorecard."""
    found = []
    if report.board is not None:
        body = board_section(report.board, quality)
        found.append(Section("board", report.board.title, Markup(body)))
    if report.tree is not None:
        found.append(Section("tree", "A small tree that imitates it", Markup(_tree(report.tree))))
    if report.structure is not None:
        body = render_template(
            "structure.html.j2", page=structure_view(report.structure), script=False
        )
        found.append(Section("structure", "How the model is built", Markup(body)))
    body = render_template("data_card.html.j2", facts=_facts(report.data), columns=_columns(report))
    found.append(Section("data", "The data", Markup(body)))
    body = render_template("cost.html.j2", rows=_costs(report), warnings=report.warnings)
    found.append(Section("cost", "What it took, and what not to trust", Markup(body)))
    return found


def _tree(tree: "SurrogateTree") -> str:
    """What it is worth, its drawing, and its rules in words."""
    words = [line for line in str(tree).splitlines() if line.strip()]
    return render_template(
        "tree.html.j2", words=words[0], svg=Markup(tree.to_svg()),
        rules=[str(rule) for rule in tree.rules()],
    )  # fmt: skip


def _facts(data: "DataCard") -> list[tuple[str, str]]:
    rows = [("Samples", f"{data.rows:,}"), ("Kind", data.kind)]
    for name, shape, kind, low, high in zip(
        data.names, data.shapes, data.types, data.low, data.high, strict=True
    ):
        size = " × ".join(map(str, shape)) or "one number"
        span = "" if low != low else f", from {number(low)} to {number(high)}"
        rows.append((f"Input {elide(name, 40)}", f"{size} {kind}{span}"))
    rows.append(("Missing numbers", f"{data.missing:,}"))
    rows.append(("Samples that repeat an earlier one", f"{data.repeated:,}"))
    if data.labels is not None:
        shown = ", ".join(f"{elide(label, 30)}: {count:,}" for label, count in data.labels[:12])
        more = (data.label_count or 0) - 12
        rows.append(("Labels", shown + (f" and {more} more" if more > 0 else "")))
    rows.append(("Content", data.digest))
    return rows


def _columns(report: "Report") -> list[tuple[str, ...]]:
    return [_column(c) for c in report.data.columns]


def _column(c: "ColumnCard") -> tuple[str, ...]:
    def said(value: float | None) -> str:
        return "–" if value is None else number(value)

    return (
        elide(c.name, 40), c.kind, f"{c.missing:,}", said(c.low), said(c.median), said(c.high),
        elide(c.most, 40),
    )  # fmt: skip


def _costs(report: "Report") -> list[tuple[str, ...]]:
    rows = [(c.name, c.evaluations, c.seconds) for c in report.costs]
    total = ("all", sum(r[1] for r in rows), sum(r[2] for r in rows))
    return [(name, f"{count:,}", f"{seconds:.1f}") for name, count, seconds in [*rows, total]]
