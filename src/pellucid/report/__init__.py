"""All that can be said of a model on one page to hand on: data, explanations, judgement, board."""

from pellucid.report.making import report
from pellucid.report.result import Report

__all__ = ["Report", "report"]
