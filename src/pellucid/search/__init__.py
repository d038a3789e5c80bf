"""The search for the method, parameters and model whose explanations meet a goal."""

from pellucid.search.certificate import Certificate
from pellucid.search.goal import Goal
from pellucid.search.result import SearchResult, Trial
from pellucid.search.search import search

__all__ = ["Certificate", "Goal", "SearchResult", "Trial", "search"]
