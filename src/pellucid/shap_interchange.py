"""Explanations to and from the package shap, whose plots and readers many people know."""

from typing import Any

import numpy as np

from pellucid._version import __version__
from pellucid.adapters.shap_package import import_shap
from pellucid.errors import InputError
from pellucid.explanation import Explanation, Part
from pellucid.inputs.frames import MISSING
from pellucid.inputs.layout import input_dims
from pellucid.types import Evaluations
from pellucid.units import by_unit


def to_shap(explanation: Explanation) -> Any:
    """A `shap.Explanation` with values, base values, data and names.

    The base is `baseline_score`; where a method has none, f(x) − Σ a, so that shap's waterfall
    still ends at f(x). Categories stand in `data` as words; a group of
    columns of `features=` is one column. Raises `InputError` for several
    inputs, `MissingExtraError` without shap.
    """
    if len(explanation.parts) != 1:
        names = ", ".join(p.name for p in explanation.parts)
        raise InputError(f"A shap.Explanation is of one input; this one has {names}.")
    shap = import_shap("to_shap()")
    part = explanation.parts[0]
    part = by_unit(part) if part.dims == ("sample", "feature") else part
    values = part.values.astype(np.float64)
    base = explanation.baseline_score
    if base is None:
        base = explanation.score - values.reshape(len(values), -1).sum(axis=1)
    names, named = part.feature_names, tuple(dict.fromkeys(explanation.target_names))
    return shap.Explanation(
        values=values,
        base_values=np.asarray(base, dtype=np.float64),
        data=_shown(part),
        display_data=_shown(part),
        feature_names=None if names is None else list(names),
        output_names=named[0] if len(named) == 1 else "what was predicted",
        error_std=None if part.stderr is None else np.asarray(part.stderr, dtype=np.float64),
    )


def _shown(part: Part) -> np.ndarray:
    if part.categories is None or not any(part.categories):
        return np.array(part.inputs)
    shown = part.inputs.astype(object)
    for column, words in enumerate(part.categories):
        if words is not None:
            shown[:, column] = [words[int(i)] for i in part.inputs[:, column]]
    return shown


def from_shap(given: Any, *, method: str = "shap") -> Explanation:
    """The explanation of a table, of one output, that a `shap.Explanation` holds.

    What shap does not say is left open: the score is base + Σ a, evaluations are not known (0).
    Raises `InputError` for several outputs, other axes, or values without data.
    """
    values = np.asarray(given.values, dtype=np.float64)
    single = values.ndim == 1
    values = values[None] if single else values
    if values.ndim != 2 or given.data is None:
        raise InputError(
            f"Expected a shap.Explanation of a table with its data, values of shape (rows,"
            f" columns), got {np.shape(given.values)}.\n  Of several outputs choose one:"
            " from_shap(values[..., 1])."
        )
    count = len(values)
    inputs, categories = _coded(np.asarray(given.data, dtype=object).reshape(values.shape))
    base = np.broadcast_to(np.asarray(given.base_values, dtype=np.float64), (count,)).copy()
    score = base + values.sum(axis=1)
    errors = given.error_std
    dims = input_dims(2, -1)
    names = given.feature_names
    part = Part(
        name="x", values=values.astype(np.float32), inputs=inputs, dims=dims, input_dims=dims,
        stderr=None if errors is None else np.asarray(errors, np.float32).reshape(values.shape),
        feature_names=None if names is None else tuple(map(str, names)),
        categories=categories if any(categories) else None,
    )  # fmt: skip
    output = given.output_names if isinstance(given.output_names, str) else "the output"
    return Explanation(
        parts=(part,), method=method, parameters={}, target=None, target_names=(output,) * count,
        prediction=score.astype(np.float32), prediction_names=tuple(f"{s:.4g}" for s in score),
        score=score.astype(np.float32), outputs=None, probabilities=None,
        evaluations=Evaluations(0, 0, 0), seconds=float(given.compute_time or 0.0), seed=0,
        explained="output", baseline_score=base.astype(np.float32), batched=not single,
        provenance={
            "versions": {"pellucid": __version__}, "framework": "shap", "fingerprint": "unknown",
            "device": "unknown", "source": None, "output": "auto", "preprocess": None,
            "notes": ["made by shap"],
        },
    )  # fmt: skip


def _coded(data: np.ndarray) -> tuple[np.ndarray, tuple[tuple[str, ...] | None, ...]]:
    """Numbers as they are, words by number."""
    table = np.empty(data.shape)
    categories: list[tuple[str, ...] | None] = []
    for j in range(data.shape[1]):
        try:
            table[:, j] = [np.nan if v is None else float(v) for v in data[:, j]]
            categories.append(None)
        except (TypeError, ValueError):
            words = [MISSING if v is None or v != v else str(v) for v in data[:, j]]
            known = tuple(sorted(set(words)))
            table[:, j] = [known.index(word) for word in words]
            categories.append(known)
    return table, tuple(categories)
