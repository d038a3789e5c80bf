"""A study as one page: self-contained HTML that needs nothing but a browser."""

from pathlib import Path

from pellucid.errors import InputError
from pellucid.reports.images import LADDER, Quality
from pellucid.reports.items import Answer, Study, StudyItem, best_predictions
from pellucid.reports.page import render_template, write_page
from pellucid.reports.record import study_record
from pellucid.reports.view import study_view

__all__ = ["Answer", "Study", "StudyItem", "best_predictions", "render_report", "report_html"]

DEFAULT_MEGABYTES = 5.0


def render_report(
    study: Study, path: str | Path, *, budget_megabytes: float = DEFAULT_MEGABYTES
) -> Path:
    """Write the study as one self-contained HTML page; returns its path.

    Pictures are made smaller step by step until the page fits the budget; a study that cannot
    fit is refused rather than written in a size no browser enjoys.
    """
    smallest = 0
    for quality in LADDER:
        page = report_html(study, quality)
        smallest = len(page.encode("utf-8"))
        if smallest <= budget_megabytes * 1e6:
            return write_page(page, path)
    raise InputError(
        f"a report of {len(study.items)} inputs takes {smallest / 1e6:.1f} MB even with its "
        f"smallest pictures; the budget is {budget_megabytes:g} MB.\n"
        "  Split the study into several reports, or raise budget_megabytes."
    )


def report_html(study: Study, quality: Quality = LADDER[0]) -> str:
    """The page as text, with pictures of one quality."""
    return render_template(
        "report.html.j2",
        page=study_view(study, quality),
        record=study_record(study),
        sections=[],
    )
