"""Reports: explanations as one page that needs nothing but a browser."""

from pellucid.reports.repr import explanation_html
from pellucid.reports.study import Answer, Study, StudyItem, render_report
from pellucid.reports.words import meaning

__all__ = ["Answer", "Study", "StudyItem", "explanation_html", "meaning", "render_report"]
