"""Explain what a deep-learning model does, and measure whether to believe it.

>>> import pellucid
>>> e = pellucid.explain(model, x, "saliency")
"""

import pellucid.methods as _methods  # noqa: F401 - registers the methods
from pellucid import effects, errors, inside
from pellucid._version import __version__
from pellucid.adapters.loading import load
from pellucid.board import Board, board
from pellucid.explain import explain
from pellucid.explainer import Comparison, Explainer
from pellucid.explanation import Explanation
from pellucid.inside import inspect
from pellucid.methods.registry import register_method
from pellucid.model import Model, wrap
from pellucid.report import Report, report
from pellucid.search import Goal, SearchResult, search
from pellucid.standard import Scorecard, evaluate, register_metric
from pellucid.tables import methods

__all__ = [
    "Board",
    "Comparison",
    "Explainer",
    "Explanation",
    "Goal",
    "Model",
    "Report",
    "Scorecard",
    "SearchResult",
    "__version__",
    "board",
    "effects",
    "errors",
    "evaluate",
    "explain",
    "inside",
    "inspect",
    "load",
    "methods",
    "register_method",
    "register_metric",
    "report",
    "search",
    "wrap",
]
