"""Feature visualisation: the input that a unit, a channel, a class or a direction likes most."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.engine.schedule import Progress
from pellucid.errors import CapabilityError, InputError
from pellucid.explaining.preparing import unasked
from pellucid.inputs.batch import Batch
from pellucid.inside.feature_visualization import FeatureVisualization
from pellucid.methods.inside.ascent import Climbed, climb, values_of
from pellucid.methods.inside.feature_settings import Settings, range_of
from pellucid.methods.inside.objectives import Objective, Score, along, at_units
from pellucid.model import Model, wrap
from pellucid.running.outputs import check_class_names
from pellucid.targets import resolve_target
from pellucid.task import Task


def visualize_feature(
    model: Any,
    *,
    target: Any = None,
    layer: str | None = None,
    unit: Any = None,
    direction: Any = None,
    data: Any = None,
    shape: Sequence[int] | None = None,
    value_range: Any = None,
    parametrisation: str = "auto",
    steps: int = 256,
    rate: float | None = None,
    jitter: int | None = None,
    scale: float | None = None,
    rotate: float | None = None,
    pad: int | None = None,
    total_variation: float = 0.0,
    l2: float = 0.0,
    l1: float = 0.0,
    norm: float | None = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> FeatureVisualization:
    """Inputs that make a score, or what a layer returns, as large as they can.

    x* = argmax_x  E_t[o(t(x))] − λ_tv TV(x) − λ_2 ‖x − m‖² − λ_1 ‖x − m‖₁

    The objective o is a class's score (`target`, a class, its name, a pair, a function of the
    outputs, or a list of classes), or, with `layer`, a `unit`: the mean of a channel over its
    positions, one neuron `(channel, row, column)`, a unit of a vector; or a `direction`, `(c,)` or
    `(k, c)`, in the space of the channels. Several at once make several images, each as if alone.
    `parametrisation` is "fourier" (spectrum 1/f, decorrelated colours; pictures), "pixels" (all
    else), "maco" (only phases, with the mean spectrum of `data`). t moves the image by up to
    `jitter` positions, a share `scale`, `rotate` degrees, within `pad` positions of the middle m of
    the range; by default a sixteenth of the side, 10 %, 10° and a sixteenth, for pictures of 16
    pixels or more. Adam, `steps` of `rate` (0.05; 0.1 radians of phases).

    `data` are real inputs, as the model takes them: they say the shape, the range of each channel
    or column, MACO's spectrum, and what a real input reaches, for comparison. Otherwise `shape`
    (of one input, where the model does not say) and `value_range=(low, high)`, numbers or one a
    channel, in the model's own units, after `preprocess`. Without a range `norm` (‖x‖₂ at most) or
    `l2` holds inputs of "pixels". Draws: the start of `default_rng([seed, 61])`, the movement of a
    step of `default_rng([seed, 62, step])`, alike for all images and frameworks. All but o and
    its gradient is computed in NumPy, float64. Cost: 2 F a step and image, and F a row of `data`.
    Sources: Erhan et al. 2009; Olah, Mordvintsev, Schubert 2017 (doi 10.23915/distill.00007); Fel
    et al. 2023 (arXiv 2306.06805). Departs from them: all movements in one interpolation; colours
    by the axes of eight photographs; MACO by Adam, without its noise.

    Raises `InputError` for contradictions and what is missing, `CapabilityError` for a model
    without gradients, `LayerError` for an unknown layer.

    >>> found = pellucid.inside.visualize_feature(
    ...     model, layer="features", unit=[0, 3], value_range=(0, 1), steps=4)
    >>> found.images.shape, found.course.shape
    ((2, 12, 10, 3), (2, 4))
    """
    wrapped = wrap(model, example=data)
    _check_question(target, layer, unit, direction)
    if wrapped.supports < (Tier.DIFFERENTIABLE if layer is None else Tier.TRANSPARENT):
        raise CapabilityError(
            f"Feature visualisation follows gradients{'' if layer is None else ' from layers'},"
            f" which this {wrapped.framework} model does not give.\n"
            "  A torch module, a Keras, JAX or TensorLayer model itself does."
        )
    real = None if data is None else wrapped.accept(data)
    one = _one(wrapped, real, shape)
    settings = Settings(
        parametrisation, steps, rate, jitter, scale, rotate, pad, total_variation, l2, l1, norm
    )
    settings.check()
    # The start is in the model's own units already.
    task = unasked(replace(wrapped, preprocess=None), one, seed=seed, batch_size=batch_size,
                   progress=progress)  # fmt: skip
    objective = _objective(task, target, layer, unit, direction)
    dims, pictures = task.batch.dims[0], None if real is None else real.arrays[0]
    limits = range_of(value_range, None if norm is not None else pictures, dims)
    count = len(objective.names)
    ascent = settings.ascent((count, *one.shape[1:]), dims, limits, pictures)
    climbed = climb(task, objective, ascent)
    at_rows = None if real is None else values_of(task, objective, real.arrays[0])
    moved, chosen = ascent.transformations, ascent.parametrisation.name
    return FeatureVisualization(
        images=climbed.images, names=objective.names, dims=dims, course=climbed.course,
        reached=climbed.reached, opacity=climbed.opacity, parametrisation=chosen,
        parameters=asdict(settings) | asdict(moved)
        | {"parametrisation": chosen, "rate": ascent.rate},
        explained=_explained(task, layer), seed=int(seed), evaluations=task.model.evaluations,
        layer=layer and task.layer(layer),
        low=None if limits is None else limits.low, high=None if limits is None else limits.high,
        best=None if at_rows is None else at_rows.max(axis=0),
        best_row=None if at_rows is None else at_rows.argmax(axis=0),
        columns=wrapped.feature_names or (None if real is None else real.columns),
        warnings=unmoved(climbed, objective),
    )  # fmt: skip


def unmoved(climbed: Climbed, objective: Objective) -> tuple[str, ...]:
    """A word for features whose objective has no gradient all along: nothing was found for them."""
    flat = climbed.opacity.reshape(len(climbed.opacity), -1).max(axis=1) == 0
    return tuple(
        f"{name} does not react to any input on the way (it is dead or saturated): its image is"
        " the noise it began with"
        for name, dead in zip(objective.names, flat, strict=True)
        if dead
    )


def _check_question(target: Any, layer: Any, unit: Any, direction: Any) -> None:
    inner = [name for name, v in (("unit", unit), ("direction", direction)) if v is not None]
    if layer is None and inner:
        raise InputError(f"{inner[0]}= is of a layer: name it, layer=...")
    if layer is not None and (len(inner) != 1 or target is not None):
        raise InputError("With layer= give unit= or direction=, one of them, and no target=.")


def _one(wrapped: Model, real: Batch | None, shape: Sequence[int] | None) -> np.ndarray:
    """One input of zeros, in the model's shape."""
    if real is not None:
        if len(real.arrays) != 1:
            raise CapabilityError("Feature visualisation is of models with one input.")
        if real.arrays[0].dtype.kind != "f":
            raise CapabilityError(
                f"Inputs of {real.arrays[0].dtype} have no gradient, so none can be optimised."
            )
        return np.zeros((1, *real.arrays[0].shape[1:]), dtype=np.float32)
    if shape is not None:
        given = [int(s) for s in shape]
        if not given or min(given) < 1:
            raise InputError(f"Expected shape to be that of one input, got {tuple(shape)!r}.")
        return np.zeros((1, *given), dtype=np.float32)
    specs = wrapped.inputs
    if specs is not None and len(specs) > 1:
        raise CapabilityError("Feature visualisation is of models with one input.")
    (spec,) = specs or (None,)
    known = None if spec is None or not spec.certain else spec.shape
    if known is None or None in known:
        raise InputError(
            f"The model does not say the shape of its inputs ({known}): shape=(3, 224, 224), say,"
            " without a batch axis, or data=."
        )
    return np.zeros((1, *(s or 1 for s in known)), dtype=np.float32)


def _objective(task: Task, target: Any, layer: Any, unit: Any, direction: Any) -> Objective:
    if layer is not None:
        path = task.layer(layer)
        return at_units(task, path, unit) if unit is not None else along(task, path, direction)
    task.predict()
    check_class_names(task.wrapped.class_names, task.outputs)
    several = isinstance(target, list | range | np.ndarray)
    if several and not len(target):
        raise InputError("Expected one class or more in target, got none.")
    count = len(target) if several else 1
    shape = tuple(task.outputs.shape) if target is None else ()
    if target is None and len(shape) == 2 and shape[1] > 1:
        raise InputError(
            f"This model has {shape[1]} outputs: name the one to visualise, target=0 for instance,"
            " or a layer's unit."
        )
    chosen = list(target) if several else target
    task.set_target(
        resolve_target(
            chosen, task.outputs, count, task.wrapped.class_names,
            explained=task.wrapped.explained(task.x), to_numpy=task.wrapped.adapter.to_numpy,
        )
    )  # fmt: skip
    return Score(task)


def _explained(task: Task, layer: str | None) -> str:
    return task.wrapped.explained(task.x) if layer is None else "activation"
