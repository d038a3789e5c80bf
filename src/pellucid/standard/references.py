"""Whether a map is judged with what it was made with: an imputer that is its own baseline."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from pellucid.explanation import Explanation
from pellucid.methods.registry import registered, takes_parameter
from pellucid.standard.imputers import NAMES


def own_imputer(method: str, parameters: Mapping[str, Any]) -> str | None:
    """The imputer that removes features as the method with these parameters does itself.

    By name: "dataset" for methods that compare with a `background`, else that of the baseline,
    which is zeros where a method with a baseline was given none (lime's has no name here). None for
    a method or baseline that is like no imputer.
    """
    if parameters.get("background") is not None:
        return "dataset"
    if method not in registered() or not takes_parameter(method, "baseline"):
        return None
    baseline = parameters.get("baseline")
    if baseline is None:
        return None if method == "lime" else "zeros"
    if isinstance(baseline, str):
        return baseline if baseline in NAMES else None
    try:
        numbers = np.asarray(baseline)
    except ValueError:
        return None
    return "zeros" if numbers.dtype.kind in "fiub" and not numbers.any() else None


def favoured(
    explanations: Mapping[str, Explanation],
    scores: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    imputers: Collection[str],
) -> tuple[str, ...]:
    """A sentence for each explanation that was judged with nothing but its own baseline."""
    found = []
    removing = [set(each) for own in scores.values() for each in own.values()]
    # Other metrics call their ways otherwise, "mean" among others.
    removing = [ways for ways in removing if {w.partition(",")[0] for w in ways} <= set(imputers)]
    asked = set().union(*removing).intersection(imputers)
    for name, explanation in explanations.items():
        own = own_imputer(explanation.method, explanation.parameters)
        if own is not None and asked == {own}:
            found.append(
                f"{name} is judged with its own baseline, {own}, alone: that favours it. Give"
                " another imputer too."
            )
    return tuple(found)
