"""The one workflow: a model, an input, a method, an explanation."""

import platform
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from pellucid._version import __version__
from pellucid.adapters.protocol import Tier
from pellucid.counting import CountedModel
from pellucid.engine.schedule import Progress, Schedule
from pellucid.errors import CapabilityError, InputError, MethodError, ModelError
from pellucid.explanation import Explanation, Part
from pellucid.inputs.layout import modality
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import make_method, registered
from pellucid.model import Batch, Model, check_class_names, wrap
from pellucid.opened import at_layer
from pellucid.targets import Target, resolve_target
from pellucid.task import Task
from pellucid.types import Evaluations, TargetLike, shape_of


def explain(
    model: Any,
    x: Any,
    method: str = "integrated_gradients",
    *,
    target: TargetLike = None,
    layer: str | None = None,
    baseline: Any = None,
    features: Any = None,
    seed: int = 0,
    budget: int | None = None,
    tolerance: float | None = None,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
    **parameters: Any,
) -> Explanation:
    """Explain what `model` makes of `x` by one method.

    `x` is a batch, or one input (a missing batch axis is added and removed again); several
    inputs come as a tuple or dict. `target` is what to explain: None (each sample's predicted
    class, or the only output), a class number or name, a list of them, a pair `(a, b)` for why a
    rather than b, or a function of the outputs that returns one number a sample. What is
    explained is the logit: a final softmax or sigmoid is taken off where the model shows it
    (`wrap(model, output="probability")` keeps it).

    `layer`, `baseline`, `features`, `budget` (model evaluations allowed for each sample),
    `tolerance` and further `parameters` go to the method, which refuses what it does not take;
    `pellucid.methods()` lists the methods. Every random draw comes from `seed`.
    `batch_size="auto"` is timed on the work itself, and so may round differently from call to
    call; a number gives the same bits every time. `progress(done, total)` is called after
    every micro-batch.

    The user's model is left as it was: mode, weights, gradients, hooks, random state.

    Raises an error of `pellucid.errors` that says what was expected, what came, and what to do.

    >>> e = explain(model, x, "occlusion", target=1, window=4)    # x is (2, 12, 10, 3)
    >>> e.values.shape == x.shape, e.evaluations.forward    # 2 × (20 windows + 1), and f(x')
    (True, 43)
    """
    given = {
        "layer": layer, "baseline": baseline, "features": features,
        "budget": budget, "tolerance": tolerance,
    }  # fmt: skip
    return explain_each(
        model, x, method, (target,), seed=seed, batch_size=batch_size, progress=progress,
        parameters={k: v for k, v in given.items() if v is not None} | parameters,
    )[0]  # fmt: skip


def explain_each(
    model: Any,
    x: Any,
    method: str,
    targets: Sequence[TargetLike],
    *,
    parameters: Mapping[str, Any],
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> tuple[Explanation, ...]:
    """One explanation for each of several targets of a method that `shares_forward`.

    Forward passes are shared, so `evaluations.forward` of each is that of all together, which
    `provenance["notes"]` says; backward passes are its own.
    """
    began = time.perf_counter()
    wrapped = wrap(model, example=x)
    # An adapter remembers how the last inputs were held together: one's own for each explanation,
    # so that a prediction in between (from a progress callback, say) changes nothing.
    wrapped = replace(wrapped, adapter=copy(wrapped.adapter))
    chosen = _method(method, parameters)
    _check_seed(seed)
    require_tier(wrapped, type(chosen))
    batch = wrapped.accept(x)
    recorded = chosen.parameters()
    layered = chosen.works_at_layer and recorded.get("layer") is not None
    _check_modality(wrapped, batch, type(chosen), layered=layered)
    _check_feature_names(wrapped, batch)
    schedule = Schedule(
        batch_size,
        is_out_of_memory=wrapped.adapter.is_out_of_memory,
        # A batch size that is good above a layer says nothing of the whole model.
        memory={} if layered else wrapped.batch_sizes,
        progress=progress,
        kind=" ".join(f"{a.shape[1:]}{a.dtype}" for a in batch.arrays) + " ",
        layouts=wrapped.adapter.layouts,
    )
    task = Task(
        wrapped, batch, CountedModel(wrapped.adapter, peel=wrapped.peel), seed=int(seed),
        schedule=schedule, keeps_integers=type(chosen).needs >= Tier.DIFFERENTIABLE and not layered,
    )  # fmt: skip
    if layered or chosen.opens_at_layer:
        recorded["layer"] = task.layer(
            recorded.get("layer"),
            grid=recorded.get("grid"),
            tokens_before=recorded.get("tokens_before"),
        )
        task.predict_by_cut(recorded["layer"])
    elif chosen.opens_with_gradient:
        task.predict_for_gradient()
    else:
        task.predict()
    check_class_names(wrapped.class_names, task.outputs)
    explained = wrapped.explained(batch.leaves)
    resolved = [
        resolve_target(
            target, task.outputs, len(batch), wrapped.class_names,
            explained=explained, to_numpy=wrapped.adapter.to_numpy,
        )
        for target in targets
    ]  # fmt: skip
    task.set_target(*resolved)
    scores = task.scores()
    at = at_layer(task, recorded["layer"]) if layered else task
    attributions = chosen.attribute_each(at)
    return tuple(
        _build(
            at, chosen, attribution, score, target=target, origin=task,
            recorded=recorded | dict(attribution.parameters),
            explained=explained, seconds=time.perf_counter() - began,
        )
        for attribution, score, target in zip(attributions, scores, resolved, strict=True)
    )  # fmt: skip


def _method(name: str, parameters: Mapping[str, Any]) -> Method:
    try:
        return make_method(name, parameters)
    except TypeError as error:
        raise MethodError(f"{name}: {error}.") from error


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"Expected a seed that is a whole number of 0 or more, got {seed!r}.")


def _check_feature_names(model: Model, batch: Batch) -> None:
    names = model.feature_names
    if names is not None and not any(_fits(names, a) for a in batch.arrays):
        shapes = ", ".join(str(a.shape[1:]) for a in batch.arrays)
        raise InputError(
            f"{len(names)} feature names were given for inputs of shape {shapes}: expected one name"
            " for each column of a table."
        )


def _fits(names: tuple[str, ...], array: np.ndarray) -> bool:
    return array.ndim == 2 and len(names) == array.shape[1]


_WHAT_A_TIER_NEEDS = {
    Tier.DIFFERENTIABLE: "gradients",
    Tier.TRANSPARENT: "access to layers",
    Tier.TRAINABLE: "access to weights",
}
_FOR_FUNCTIONS = (
    " If it is made of torch or TensorFlow operations,"
    " wrap(function, framework='torch') or 'tensorflow' gives gradients."
)


def require_tier(model: Model, method: type[Method]) -> None:
    """Raise `CapabilityError`, naming the nearest method that works, before any work is done."""
    if method.needs <= model.supports:
        return
    fitting = [m for m in registered().values() if m.needs <= model.supports]
    fitting = [m for m in fitting if m.family != "controls"] or fitting
    best = max(fitting, key=lambda m: (m.needs, m.name == "occlusion"))
    hint = _FOR_FUNCTIONS if model.framework == "callable" else ""
    raise CapabilityError(
        f"{method.name} needs {_WHAT_A_TIER_NEEDS[method.needs]}, which a {model.framework} model"
        f" such as this one does not give.\n  {best.name} works on it.{hint}"
    )


def _check_modality(
    model: Model, batch: Batch, method: type[Method], *, layered: bool = False
) -> None:
    kinds = {modality(dims) for dims in batch.dims}
    if method.modalities and not kinds & method.modalities:
        wanted = ", ".join(sorted(method.modalities))
        raise CapabilityError(
            f"{method.name} works on inputs of the kinds {wanted}; this one is"
            f" {', '.join(sorted(kinds))} of shape {batch.arrays[0].shape}.\n"
            "  integrated_gradients and occlusion work on every kind."
        )
    if not layered and Tier.DIFFERENTIABLE <= method.needs < Tier.TRANSPARENT:
        floats = [a.dtype.kind == "f" for a in batch.arrays]
        if not any(floats):
            raise CapabilityError(
                f"{method.name} needs an input of real numbers, but these are"
                f" {', '.join(str(a.dtype) for a in batch.arrays)}.\n"
                "  Cast them to float if they are quantities; occlusion works on them as they are,"
                " gradients at a layer above them (layer=), such as an embedding."
            )


def _build(
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
    model, batch = task.wrapped, task.batch
    _check_values(method, found, batch)
    outputs = _matrix(task)
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
            provenance=_shared(provenance(model), len(task.targets))
            | {"micro_batches": _micro_batches(task)},
            baseline_score=_float32(found.baseline_score),
            gap=_gap(method, found, score),
            class_names=model.class_names,
            extras=dict(found.extras),
            warnings=found.warnings + _suspicions(method, found, batch),
            batched=batch.batched,
            structure=batch.structure,
        )
    )


def _evaluations(task: Task) -> Evaluations:
    """What was counted at the model; backward passes are shared out among several targets."""
    counted = task.model.evaluations
    return counted._replace(backward=counted.backward // len(task.targets))


def _shared(known: dict[str, Any], targets: int) -> dict[str, Any]:
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


def _check_values(method: Method, found: Attribution, batch: Batch) -> None:
    if len(found.values) != len(batch.arrays):
        raise MethodError(
            f"Expected {method.name} to return {len(batch.arrays)} array(s), one an input, got"
            f" {len(found.values)}."
        )
    for i, (values, name) in enumerate(zip(found.values, batch.names, strict=True)):
        _check_shape(method, values, batch, i, None if found.dims is None else found.dims[i])
        if not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            where = (
                f"{method.name} found NaN or infinity for {name} in the rows {bad[:20].tolist()}"
            )
            if method.family == "custom" or method.needs < Tier.DIFFERENTIABLE:
                raise ModelError(f"{where}.\n  A division by zero is a usual cause.")
            raise ModelError(
                f"{where}: the model's derivative is not finite there.\n"
                "  occlusion needs no derivative; a square root or logarithm at 0 is a usual cause."
            )


def _check_shape(
    method: Method,
    values: np.ndarray,
    batch: Batch,
    number: int,
    dims: tuple[str, ...] | None,
) -> None:
    """A map has the input's shape, that without its channels, or one whose axes are named."""
    array, own = batch.arrays[number], batch.dims[number]
    shape = tuple(np.shape(values))
    flat = tuple(s for s, d in zip(array.shape, own, strict=True) if d != "channel")
    if dims is None:
        fits = shape in {array.shape, flat}
    else:
        fits = len(shape) == len(dims) and shape[0] == len(batch)
    if not fits:
        either = f" or {flat}" if flat != array.shape else ""
        wanted = f"shape {array.shape}{either}" if dims is None else f"the axes {dims}"
        raise MethodError(
            f"Expected {method.name} to return one map a sample for {batch.names[number]}, with"
            f" {wanted}, got shape {shape}."
        )


def _suspicions(method: Method, found: Attribution, batch: Batch) -> tuple[str, ...]:
    if method.family == "controls":
        return ()
    return _without_gradient(method, found, batch) + _empty_maps(found)


def _without_gradient(method: Method, found: Attribution, batch: Batch) -> tuple[str, ...]:
    """A word for the zeros that inputs of whole numbers get from gradients."""
    if method.family != "gradient":
        return ()
    triples = zip(batch.names, batch.arrays, found.values, strict=True)
    whole = [n for n, a, v in triples if a.dtype.kind != "f" and not np.any(v)]
    if not whole:
        return ()
    names = ", ".join(map(repr, whole))
    return (
        f"{names}: whole numbers have no gradient, so the map there is zero; occlusion gives them"
        " one",
    )


def _empty_maps(found: Attribution) -> tuple[str, ...]:
    flat = [
        i
        for i in range(len(found.values[0]))
        if not any(np.any(values[i]) for values in found.values)
    ]
    if not flat:
        return ()
    return (
        f"the map of sample(s) {flat[:20]} is zero everywhere: the explained score does not react"
        " to the input there (saturated, dead, or all evidence was cut off by a ReLU)",
    )


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


def _parts(model: Model, batch: Batch, found: Attribution) -> tuple[Part, ...]:
    parts = []
    for i, (values, array) in enumerate(zip(found.values, batch.arrays, strict=True)):
        own = batch.dims[i]
        names = model.feature_names or batch.columns
        fits = names is not None and _fits(names, array)
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
                display=None if batch.display[i] is None else np.array(batch.display[i]),
            )
        )
    return tuple(parts)


def _dims_of(values: np.ndarray, array: np.ndarray, own: tuple[str, ...]) -> tuple[str, ...]:
    """The axes of a user method's map: the input's, or those without the channel."""
    return own if values.shape == array.shape else tuple(d for d in own if d != "channel")


_PACKAGES = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    "jax": ("jax", "flax", "equinox"),
}


@cache
def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def provenance(model: Model) -> dict[str, Any]:
    """Versions, the model's fingerprint and how it was read, and the time."""
    versions = {
        "pellucid": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    for name in (model.framework, model.adapter.backend):
        versions |= {package: _version_of(package) for package in _PACKAGES.get(name, ())}
    return {
        "versions": versions,
        "framework": model.framework,
        "device": model.adapter.device,
        "fingerprint": model.fingerprint(),
        "source": model.source,
        "output": model.output,
        "preprocess": getattr(model.preprocess, "__qualname__", None),
        "notes": list(model.adapter.notes),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
