"""The rows that an input is compared with, for methods that average over a data set."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.errors import InputError, MethodError
from pellucid.inputs.checks import check_background
from pellucid.number_types import in_type
from pellucid.task import Task


def background_rows(task: Task, given: Any) -> tuple[np.ndarray, ...]:
    """The rows `(k, ...)` of each input, as the model takes them."""
    own = task.batch.arrays
    if given is None:
        return tuple(np.zeros((1, *a.shape[1:]), dtype=a.dtype) for a in own)
    check_background(given)
    # An adapter remembers the structure of what it accepted last: x's own is to stay.
    found = replace(task.wrapped, adapter=copy(task.wrapped.adapter)).accept(given).arrays
    if [a.shape[1:] for a in found] != [a.shape[1:] for a in own]:
        wanted = ", ".join(str(("rows", *a.shape[1:])) for a in own)
        raise InputError(
            f"Expected a background of shape {wanted}, got"
            f" {', '.join(str(a.shape) for a in found)}."
        )
    return tuple(in_type(a, b.dtype, "the background") for a, b in zip(found, own, strict=True))


def named_as_dataset(
    method: str, known: Sequence[str], parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The parameters of a method that takes `known` ones, `baseline="dataset"` understood.

    It is another word for `background=`, the rows of the data set. Raises `MethodError` where those
    are not given. Methods that have one reference only say themselves what they take.
    """
    baseline = parameters.get("baseline")
    if "background" not in known or not isinstance(baseline, str) or baseline != "dataset":
        return parameters
    if parameters.get("background") is None:
        raise MethodError(
            f"{method} with baseline='dataset' compares with rows of a data set: pass them as"
            " background=rows.\n"
            "  pellucid.inputs.summarise(rows, 20) chooses a few that stand for many."
        )
    return {name: value for name, value in parameters.items() if name != "baseline"}
