"""Does it add up: C4, a gate."""

import numpy as np

from pellucid.methods.registry import registered
from pellucid.standard.case import Case
from pellucid.standard.metric import register_metric


@register_metric(
    "completeness", better="lower", identifier="C4", limits=(0.0, np.inf), limit=0.05,
    cost="0 F", source="Sundararajan et al. 2017, proposition 1, with a tolerance",
    without="the method does not claim to add up",
)  # fmt: skip
def completeness(case: Case) -> np.ndarray:
    """The completeness gap of a method that claims to be complete; a gate at 5 %.

    |Σ a − (f(x) − f(x'))| / |f(x) − f(x')| with the explanation's own baseline x', as it was
    recorded. NaN for methods that claim no completeness, and for those whose layers keep shares
    for their biases.
    """
    gap = case.explanation.gap
    method = registered().get(case.explanation.method)
    keeps = method is not None and method.shares_with_biases
    if gap is None or keeps or case.replaced is not None:
        return np.full(case.count, np.nan)
    return np.asarray(gap, dtype=np.float64)
