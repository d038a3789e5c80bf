"""The result: what was attributed to what, with the evidence needed to judge it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.errors import InputError, LoadError
from pellucid.types import Evaluations

if TYPE_CHECKING:
    import xarray

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Part:
    """The attribution of one of the model's inputs, and that input.

    `dims` names the axes of `values`, the sample axis first; `input_dims` those of `inputs`.
    They differ where a method returns one map for all channels.
    """

    name: str
    values: np.ndarray
    inputs: np.ndarray
    dims: tuple[str, ...]
    input_dims: tuple[str, ...]
    baseline: np.ndarray | None = None
    stderr: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    display: np.ndarray | None = None
    """What a person sees of the input (uint8 picture), where the model says how to make it."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attributions of one method for one batch of inputs, raw and signed, with their evidence.

    One entry a sample in `score`, `baseline_score`, `prediction`, `gap`; scalars where a single
    input without a batch axis was explained (`batched` is False).

    `score` is f(x), the number that was explained: the logit (or probability, or difference of
    two) named by `target` and `explained`. `gap` is the completeness gap
    |Σ values − (score − baseline_score)| / |score − baseline_score|, for methods that claim
    completeness, else None. `stderr` has the shape of `values` for methods that sample.
    `evaluations` counts rows at the model.

    >>> e = explain(model, x, "saliency")
    >>> e.values.shape == x.shape
    True
    """

    parts: tuple[Part, ...]
    method: str
    parameters: Mapping[str, Any]
    target: Any
    """Class index per sample; an array `(n, 2)` for "why a rather than b"; None for a callable."""
    target_names: tuple[str, ...]
    """What was explained, in words, one a sample."""
    prediction: np.ndarray
    """Predicted class per sample; the output itself for models with one output."""
    prediction_names: tuple[str, ...]
    score: np.ndarray
    outputs: np.ndarray | None
    """The model's outputs as explained, `(n, classes)`, where they are a matrix."""
    probabilities: np.ndarray | None
    """What the user's own model returns for them, where it ends in a softmax or sigmoid."""
    evaluations: Evaluations
    seconds: float
    seed: int
    explained: str
    """"logit", "probability" or "output"."""
    provenance: Mapping[str, Any]
    baseline_score: np.ndarray | None = None
    gap: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else the method found worth keeping: a CAM's own grid, nodes used per sample."""
    warnings: tuple[str, ...] = ()
    batched: bool = True
    structure: Any = None
