"""What may be chosen: every method with every combination of its parameters, on every model."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import CapabilityError, InputError
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
    "kernel_shap": {"budget": [128, 512]},
    "permutation_shap": {"budget": 512},
    "lime": {},
    "occlusion": {},
}
"""The same for tables, where the mean of a row's own columns is no baseline."""

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


def usual_space(model: Model, modality: str) -> Space:
    """Methods that run on the model, with a few settings each.

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
    return space_of(fitting)


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
