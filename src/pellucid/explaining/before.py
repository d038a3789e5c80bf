"""What is checked before any work is done: the method against the model and its inputs."""

from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, InputError
from pellucid.inputs.batch import Batch
from pellucid.inputs.layout import are_columns, modality
from pellucid.methods.base import Method
from pellucid.methods.registry import registered
from pellucid.model import Model

_WHAT_A_TIER_NEEDS = {
    Tier.DIFFERENTIABLE: "gradients",
    Tier.TRANSPARENT: "access to layers",
    Tier.TRAINABLE: "access to weights",
}
_FOR_FUNCTIONS = (
    " If it is made of torch or TensorFlow operations,"
    " wrap(function, framework='torch') or 'tensorflow' gives gradients."
)


def check_seed(seed: Any) -> None:
    """Raise `InputError` unless `seed` is a whole number of 0 or more."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"Expected a seed that is a whole number of 0 or more, got {seed!r}.")


def require_tier(model: Model, method: type[Method]) -> None:
    """Raise `CapabilityError`, naming the nearest method that works, before any work is done."""
    if method.needs_trees and model.adapter.without_trees is not None:
        raise CapabilityError(
            f"{method.name} reads the trees of an ensemble: {model.adapter.without_trees}.\n"
            "  kernel_shap finds the same kind of values by running the model."
        )
    if method.needs <= model.supports:
        return
    fitting = [m for m in registered().values() if m.needs <= model.supports]
    fitting = [m for m in fitting if not (m.needs_trees or m.is_global)]
    fitting = [m for m in fitting if m.is_attribution]
    fitting = [m for m in fitting if m.family != "controls"] or fitting
    best = max(fitting, key=lambda m: (m.needs, m.name == "occlusion"))
    hint = _FOR_FUNCTIONS if model.framework == "callable" else ""
    raise CapabilityError(
        f"{method.name} needs {_WHAT_A_TIER_NEEDS[method.needs]}, which {_article(model.framework)}"
        f" {model.framework} model such as this one does not give.\n"
        f"  {best.name} works on it.{hint}"
    )


def require_one_input(count: int, method: type[Method]) -> None:
    """Raise `CapabilityError` for several inputs and a method of one."""
    if count > 1 and not method.several_inputs:
        raise CapabilityError(
            f"{method.name} works on models with one input; this one has {count}.\n"
            "  A function of yours that takes them as a tuple says"
            " register_method(..., several_inputs=True)."
        )


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def check_modality(
    model: Model, batch: Batch, method: type[Method], *, layered: bool = False
) -> None:
    """Raise `CapabilityError` for inputs of a kind, or number, that the method does not take."""
    require_one_input(len(batch.dims), method)
    kinds = {modality(dims) for dims in batch.dims}
    if method.modalities and not kinds & method.modalities:
        wanted = ", ".join(sorted(method.modalities))
        raise CapabilityError(
            f"{method.name} works on inputs of the kinds {wanted}; this one is"
            f" {', '.join(sorted(kinds))} of shape {batch.arrays[0].shape}.\n"
            "  integrated_gradients and occlusion work on every kind."
        )
    differentiates = Tier.DIFFERENTIABLE <= method.needs < Tier.TRANSPARENT
    if not layered and (differentiates or method.family == "backward"):
        floats = [a.dtype.kind == "f" for a in batch.arrays]
        if not any(floats):
            raise CapabilityError(
                f"{method.name} needs an input of real numbers, but these are"
                f" {', '.join(str(a.dtype) for a in batch.arrays)}.\n"
                "  Cast them to float if they are quantities; occlusion works on them as they are,"
                " gradients at a layer above them (layer=), such as an embedding."
            )


def check_feature_names(model: Model, batch: Batch) -> None:
    """Raise `InputError` for names of columns that no input has."""
    names = model.feature_names
    if names is not None and not any(are_columns(names, a) for a in batch.arrays):
        shapes = ", ".join(str(a.shape[1:]) for a in batch.arrays)
        raise InputError(
            f"{len(names)} feature names were given for inputs of shape {shapes}: expected one name"
            " for each column of a table."
        )
