"""Explanations made by hand, so that drawing and reporting are tested without any model."""

from typing import Any

import numpy as np

from pellucid.explanation import Explanation, Part
from pellucid.types import Evaluations

IMAGE_DIMS = ("sample", "height", "width", "channel")


def make_explanation(values: np.ndarray, **changes: Any) -> Explanation:
    """An explanation of these values, `(n, ...)`; any field can be given instead."""
    n = len(values)
    part_fields = {"name", "inputs", "dims", "input_dims", "stderr", "feature_names", "display"}
    part = {k: changes.pop(k) for k in part_fields & set(changes)}
    dims = part.setdefault("dims", IMAGE_DIMS[: values.ndim])
    part.setdefault("name", "input")
    part.setdefault("inputs", np.zeros_like(values))
    part.setdefault("input_dims", dims)
    fields: dict[str, Any] = {
        "parts": (Part(values=values.astype(np.float32), **part),),
        "method": "integrated_gradients",
        "parameters": {"steps": 32},
        "target": np.zeros(n, int),
        "target_names": ("tabby",) * n,
        "prediction": np.zeros(n, int),
        "prediction_names": ("tabby",) * n,
        "score": np.full(n, 11.5),
        "baseline_score": np.full(n, 0.5),
        "gap": np.full(n, 0.004),
        "outputs": None,
        "probabilities": None,
        "evaluations": Evaluations(65 * n, 64 * n, 0),
        "seconds": 1.5,
        "seed": 0,
        "explained": "logit",
        "provenance": {"pellucid": "0.1.0", "fingerprint": "8f3a"},
    }
    return Explanation(**{**fields, **changes})


def blob(height: int, width: int, y: float, x: float, spread: float = 0.15) -> np.ndarray:
    """A bump of height 1 at (y, x) in shares of the picture."""
    rows = (np.arange(height) + 0.5)[:, None] / height
    columns = (np.arange(width) + 0.5)[None] / width
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2))


def table_explanation(values: Any, **changes: Any) -> Explanation:
    """An explanation of rows of a table."""
    array = np.atleast_2d(np.asarray(values, np.float32))
    names = tuple(f"feature_{i}" for i in range(array.shape[1]))
    changes.setdefault("feature_names", names)
    return make_explanation(array, dims=("sample", "feature"), **changes)
