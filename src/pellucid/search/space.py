"""What may be chosen: every method with every combination of its parameters, on every model."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import CapabilityError, InputError
from pellucid.inputs import summarise
from pellucid.methods.registry import method_class, takes_parameter
from pellucid.model import Model
from pellucid.plain import plain
from pellucid.search.goal import Space, space_of
from pellucid.tables import methods
from pellucid.types import is_array

SPATIAL: Mapping[str, Mapping[str, Any]] = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"baseline": ["zeros", "blur"]},
    "smoothgrad": {"samples": 25, "noise": [0.1, 0.2]},
    "gradcam": {},
    "layercam": {},
    "deeplift": {},
    "lrp": {},
    "occlusion": {"baseline": ["zeros", "blur"]},
    "rise": {"budget": 500},
}
"""Where to search on images and series, where a goal does not say."""

FLAT: Mapping[str, Mapping[str, Any]] = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {},
    "smoothgrad": {"samples": 25, "noise": [0.1, 0.2]},
    "expected_gradients": {"samples": 50},
    "deeplift": {},
    "lrp": {"composite": "epsilon"},
    "tree_shap": {},
    "kernel_shap": {},
    "permutation_shap": {},
    "lime": {},
    "occlusion": {},
}
"""The same for tables, where the mean of a row's own columns is no baseline."""

SHAPLEY: Mapping[str, tuple[tuple[int, Callable[[int], int]], ...]] = {
    "kernel_shap": ((128, lambda m: 2 * m + 4), (512, lambda m: 8 * m + 2)),
    "permutation_shap": ((512, lambda m: 8 * m),),
}
"""Their budgets, and the coalitions of m features that these hold on each row of the background."""
ROWS = 10
"""Rows of a larger background that they compare with; `_MOST` coalitions on all of them."""
_MOST = 4096

ANCHOR = "random"
"""The control whose scores are the zero of the utilities."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One method with its parameters on one model."""

    name: str
    model: str
    method: str
    parameters: Mapping[str, Any]


def candidates(space: Space, models: Sequence[str], background: Any) -> tuple[Candidate, ...]:
    """Every combination; methods that compare with a data set get `background`, where given."""
    found: dict[str, Candidate] = {}
    for model in models:
        for method, values in space:
            if method_class(method).is_global:
                raise InputError(
                    f"{method} explains a data set and no sample of it, so it cannot be judged"
                    " sample by sample."
                )
            if not method_class(method).is_attribution:
                raise InputError(
                    f"{method} says nothing of what counts for the target, so there is nothing to"
                    " judge.\n  pellucid.methods() lists the methods; gradcam looks at layers."
                )
            for chosen in itertools.product(*values.values()):
                parameters = dict(zip(values, chosen, strict=True))
                title = _title(method, parameters)
                if background is not None and takes_parameter(method, "background"):
                    parameters = {"background": background, **parameters}
                name = _free(f"{model}: {title}" if len(models) > 1 else title, found)
                found[name] = Candidate(name, model, method, parameters)
    return tuple(found.values())


@dataclass(frozen=True)
class Usual:
    """Where to search by itself; `summary` counts the rows that Shapley methods compare with.

    None where they compare with all, or with none.
    """

    space: Space
    summary: int | None = None
    notes: tuple[str, ...] = ()


def usual_space(model: Model, modality: str, features: int, background: Any) -> Usual:
    """Methods that run on the model, with a few settings each.

    What Shapley methods take grows with the features and the rows of the `background`, which is
    summarised for them, so that their budgets hold what they need.

    Raises `CapabilityError` where there is none.
    """
    table = SPATIAL if modality in {"image", "series", "volume"} else FLAT
    runnable = set(methods(modality, model).runnable)
    fitting = {name: given for name, given in table.items() if name in runnable}
    if not fitting:
        raise CapabilityError(
            "None of the methods that are searched by themselves runs on this model; name some in"
            " Goal(methods=...)."
        )
    asked = [name for name in fitting if name in SHAPLEY]
    if not asked:
        return Usual(space_of(fitting))
    several = isinstance(background, tuple | list | Mapping)
    one = background is not None and not several
    first: Any = background
    if isinstance(background, Mapping):
        first = next(iter(background.values()))
    elif several:
        first = background[0]
    count = 1 if background is None else len(first)
    rows = min(count, ROWS, max(1, _MOST // (2 * features + 4))) if one else count
    few = {} if rows == count else {"background": summarise(background, rows)}
    for name in asked:
        budgets = [max(usual, rows * least(features)) for usual, least in SHAPLEY[name]]
        fitting[name] = {"budget": budgets, **few}
    if not few:
        return Usual(space_of(fitting))
    note = (
        f"{', '.join(asked)} compare with {rows} of the {count} rows of the background, which"
        " pellucid.inputs.summarise chose, so that their budgets hold them; name them in"
        " Goal(methods=...) for others."
    )
    return Usual(space_of(fitting), rows, (note,))


def _title(method: str, parameters: Mapping[str, Any]) -> str:
    told = [f"{k}={plain(_short(v))}" for k, v in parameters.items()]
    return f"{method}({', '.join(told)})" if told else method


def _short(value: Any) -> Any:
    """Arrays and data frames by their shape."""
    if is_array(value) and not isinstance(value, np.generic):
        return f"{tuple(value.shape)}"
    return value


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name} #{number}", number + 1
    return free
