"""The explanation of a finished attribution."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from pellucid.explaining.after import (
    check_values,
    doubtful_layout,
    exploded,
    read_as,
    suspicions,
    wide_gaps,
    without_rules,
)
from pellucid.explaining.provenance import provenance
from pellucid.explanation import Explanation, Part
from pellucid.inputs.batch import Batch
from pellucid.inputs.layout import are_columns
from pellucid.methods.base import Attribution, Method
from pellucid.model import Model
from pellucid.targets import Target
from pellucid.task import Task
from pellucid.types import Evaluations, shape_of


def build(
    task: Task,
    method: Method,
    found: Attribution,
    score: np.ndarray,
    *,
    target: Target,
    origin: Task,
    recorded: Mapping[str, Any],
    explained: str,
    seconds: float,
) -> Explanation:
    """The explanation of one target, of what `found` says of the leaves of `task`.

    `origin` is the task over the model's own inputs. Raises `MethodError` or `ModelError` for
    attributions of another shape than declared, or that are not finite.
    """
    model, batch = task.wrapped, task.batch
    check_values(method, found, batch)
    outputs, gap = _matrix(task), _gap(method, found, score)
    prediction, names = _prediction(model, outputs, len(batch), target, explained)
    return _sealed(
        Explanation(
            parts=_parts(model, batch, found),
            method=method.name,
            parameters=dict(recorded),
            target=target.recorded(),
            target_names=target.names,
            prediction=prediction,
            prediction_names=names,
            score=score.astype(np.float32),
            outputs=outputs,
            probabilities=_probabilities(model, origin.batch, outputs),
            evaluations=_evaluations(task),
            seconds=seconds,
            seed=task.seed,
            explained=explained,
            provenance=_shared(
                provenance(model), len(task.targets), read_as(model, origin.batch) + found.notes
            )
            | {"micro_batches": _micro_batches(task), "expected_rows": origin.schedule.expected}
            | ({"uncovered": list(found.uncovered)} if found.uncovered else {}),
            baseline_score=_float32(found.baseline_score),
            gap=gap,
            class_names=model.class_names,
            extras=dict(found.extras),
            shared_extras=_shared_extras(found, len(batch)),
            warnings=found.warnings
            + without_rules(found)
            + suspicions(method, found, batch)
            + doubtful_layout(model, batch)
            + wide_gaps(method, found, gap, score)
            + exploded(method, found, score, outputs),
            batched=batch.batched,
            structure=batch.structure,
        )
    )


def _shared_extras(found: Attribution, count: int) -> tuple[str, ...]:
    """The extras without an entry a sample: those declared, and those of another length."""
    return tuple(
        name
        for name, array in found.extras.items()
        if name in found.shared_extras or np.shape(array)[:1] != (count,)
    )


def _parts(model: Model, batch: Batch, found: Attribution) -> tuple[Part, ...]:
    parts = []
    for i, (values, array) in enumerate(zip(found.values, batch.arrays, strict=True)):
        own = batch.dims[i]
        names = model.feature_names or batch.columns
        fits = names is not None and are_columns(names, array)
        parts.append(
            Part(
                name=batch.names[i],
                # Copies: what the user or the method does to its arrays later is not in the result.
                values=np.array(values, dtype=np.float32, order="C"),
                inputs=np.array(array, order="C"),
                dims=_dims_of(values, array, own) if found.dims is None else found.dims[i],
                input_dims=own,
                baseline=None if found.baseline is None else np.array(found.baseline[i]),
                stderr=None if found.stderr is None else found.stderr[i],
                feature_names=names if fits else None,
                categories=model.adapter.categories if fits else None,
                display=None if batch.display[i] is None else np.array(batch.display[i]),
                units=None if found.units is None or found.units[i].natural else found.units[i],
                in_equal_parts=found.in_equal_parts,
            )
        )
    return tuple(parts)


def _dims_of(values: np.ndarray, array: np.ndarray, own: tuple[str, ...]) -> tuple[str, ...]:
    """The axes of a user method's map: the input's, or those without the channel."""
    return own if values.shape == array.shape else tuple(d for d in own if d != "channel")


def _matrix(task: Task) -> np.ndarray | None:
    shape = shape_of(task.outputs)
    if len(shape) not in {1, 2}:
        return None
    return task.to_numpy(task.outputs).astype(np.float32).reshape(shape[0], -1)


def _prediction(
    model: Model, outputs: np.ndarray | None, count: int, target: Target, explained: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    if outputs is None:
        return np.zeros(count, dtype=np.float32), target.names
    names = model.class_names
    if outputs.shape[1] > 1:
        best = outputs.argmax(axis=1)
        return best, tuple(names[i] if names else f"class {i}" for i in best)
    value = outputs[:, 0]
    # A plain function does not say whether its number is a probability or a logit.
    if names is not None and len(names) == 2 and explained != "output":
        limit = 0.5 if explained == "probability" else 0.0
        return value, tuple(names[int(v > limit)] for v in value)
    return value, tuple(f"{v:.4g}" for v in value)


def _probabilities(model: Model, batch: Batch, outputs: np.ndarray | None) -> np.ndarray | None:
    """What the model's own final activation makes of the explained outputs."""
    finals = model.adapter.final_activation(batch.leaves)
    final = finals[0] if len(finals) == 1 else None
    if outputs is None or final is None:
        return None
    if not model.peel:
        return np.exp(outputs) if final == "log_softmax" else outputs
    if final == "sigmoid":
        return (1 / (1 + np.exp(-np.clip(outputs, -80, 80)))).astype(np.float32)
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def _gap(method: Method, found: Attribution, score: np.ndarray) -> np.ndarray | None:
    """|Σ a − (f(x) − f(x'))| / |f(x) − f(x')|, for methods that claim completeness."""
    if not method.claims_completeness or found.baseline_score is None:
        return None
    total = sum(v.reshape(len(v), -1).astype(np.float64).sum(axis=1) for v in found.values)
    difference = score - found.baseline_score
    error = np.abs(total - difference)
    # Where f(x) = f(x') the ratio has no meaning; an error at rounding level is then no error.
    scale = np.abs(score) + np.abs(found.baseline_score)
    size = np.maximum(np.abs(difference), 1e-6 * np.maximum(scale, 1e-30))
    return (error / size).astype(np.float32)


def _evaluations(task: Task) -> Evaluations:
    """What was counted at the model; backward passes are shared out among several targets."""
    counted = task.model.evaluations
    return counted._replace(backward=counted.backward // len(task.targets))


def _shared(known: dict[str, Any], targets: int, notes: tuple[str, ...]) -> dict[str, Any]:
    known["notes"].extend(notes)
    if targets > 1:
        known["notes"].append(
            f"the forward passes were shared by the explanations of {targets} targets:"
            " evaluations.forward is that of all together"
        )
    return known


def _micro_batches(task: Task) -> dict[str, str]:
    """How many rows went through the model at once, and in which memory layout."""
    return {
        key: f"{rows} rows, {layout}" if layout else f"{rows} rows"
        for key, (rows, layout) in task.schedule.used.items()
    }


def _sealed(e: Explanation) -> Explanation:
    """`e` with arrays that cannot be written to: results are cached and shared."""
    held = [getattr(p, f.name) for p in e.parts for f in fields(p)]
    held += [getattr(e, f.name) for f in fields(e)] + list(e.extras.values())
    for array in held:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return e


def _float32(a: np.ndarray | None) -> np.ndarray | None:
    return None if a is None else a.astype(np.float32)
