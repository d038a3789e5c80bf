"""Methods that fit a model and its inputs, and measure different things."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError
from pellucid.inputs.batch import Batch
from pellucid.methods.registry import takes_parameter
from pellucid.model import Model

Asked = Sequence[str | tuple[str, Mapping[str, Any]]]

BACKGROUND = 20
"""Rows of the data that a table's samples are compared with."""


def default_methods(model: Model, batch: Batch, seed: int) -> Asked:
    """Up to three methods, the most telling first.

    Pictures: Grad-CAM, integrated gradients, occlusion; tables: Shapley values, with expected
    gradients where there are gradients; anything else: integrated gradients and occlusion. What
    needs gradients is left out where there are none. Raises `CapabilityError` for words.
    """
    if any(a.dtype.kind not in "fiub" for a in batch.arrays):
        raise CapabilityError(
            "The inputs are words, for which no method fits by default: name some."
        )
    smooth = model.supports >= Tier.DIFFERENTIABLE and all(
        a.dtype.kind == "f" for a in batch.arrays
    )
    kind = model.modality(batch) if len(batch.arrays) == 1 else ""
    if kind == "table":
        count = min(len(batch), BACKGROUND) * (2 * batch.arrays[0].shape[1] + 256)
        return ["expected_gradients"] * smooth + [("kernel_shap", {"budget": count})]
    if kind == "image" and smooth:
        return ["gradcam", "integrated_gradients", "occlusion"]
    return ["integrated_gradients"] * smooth + ["occlusion"]


def with_background(asked: Asked, model: Model, batch: Batch, seed: int) -> Asked:
    """Tables: rows drawn by `default_rng([seed, 63])` for the methods that ask for a background."""
    if len(batch.arrays) != 1 or model.modality(batch) != "table":
        return asked
    draw = np.sort(np.random.default_rng([seed, 63]).permutation(len(batch))[:BACKGROUND])
    rows = model.adapter.as_given(tuple(a[draw] for a in batch.arrays))
    filled: list[str | tuple[str, Mapping[str, Any]]] = []
    for entry in asked:
        name, given = (entry, {}) if isinstance(entry, str) else entry
        if takes_parameter(name, "background") and "background" not in given:
            given = {**given, "background": rows}
        filled.append((name, given) if given else name)
    return filled
