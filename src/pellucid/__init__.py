"""Explain what a deep-learning model does, and measure whether to believe it.

>>> import pellucid
>>> e = pellucid.explain(model, x, "saliency")
"""

import pellucid.methods as _methods  # noqa: F401 - registers the methods
from pellucid import effects, errors
from pellucid._version import __version__
from pellucid.adapters.loading import load
from pellucid.explain import explain
from pellucid.explainer import Comparison, Explainer
from pellucid.explanation import Explanation
from pellucid.methods.registry import register_method
from pellucid.model import Model, wrap
from pellucid.tables import methods

__all__ = [
    "Comparison",
    "Explainer",
    "Explanation",
    "Model",
    "__version__",
    "effects",
    "errors",
    "explain",
    "load",
    "methods",
    "register_method",
    "wrap",
]
