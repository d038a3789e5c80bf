"""Feature visualisation: the input that a unit, a channel, a class or a direction likes most."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.engine.schedule import Progress
from pellucid.errors import CapabilityError, InputError
from pellucid.explaining.preparing import unasked
from pellucid.inside.feature_start import Start, start_of
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
    input: str | int | None = None,
    held: Any = None,
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

    Of several inputs, `input` names the one (or its number) that is made; the others are held at
    those of `held`, one sample in the model's own structure, or else of the first row of `data`,
    and what a real input reaches is of the named one beside the others as held.

    Raises `InputError` for contradictions and what is missing, `CapabilityError` for a model
    without gradients, `LayerError` for an unknown layer.

    >>> found = pellucid.inside.visualize_feature(
    ...     model, layer="features", unit=[0, 3], value_range=(0, 1), steps=4)
    >>> found.images.shape, found.course.shape
    ((2, 12, 10, 3), (2, 4))
    """
    settings = Settings(
        parametrisation, steps, rate, jitter, scale, rotate, pad, total_variation, l2, l1, norm
    )
    wrapped = wrap(model, example=data if held is None else held)
    _check_question(wrapped, target, layer, unit, direction)
    start = start_of(wrapped, data, held, shape, input)
    settings.check()
    # The start is in the model's own units already.
    task = unasked(replace(wrapped, preprocess=None), start.sample, seed=seed,
                   batch_size=batch_size, progress=progress)  # fmt: skip
    objective = _objective(task, target, layer, unit, direction)
    return _made(task, objective, settings, start, value_range, layer)


def _made(
    task: Task,
    objective: Objective,
    settings: Settings,
    start: Start,
    value_range: Any,
    layer: str | None,
) -> FeatureVisualization:
    """Climb, and say what was reached and how."""
    dims, shape = task.batch.dims[start.part], task.batch.arrays[start.part].shape[1:]
    limits = range_of(value_range, None if settings.norm is not None else start.real, dims)
    ascent = settings.ascent((len(objective.names), *shape), dims, limits, start.real)
    ascent = replace(ascent, part=start.part)
    climbed = climb(task, objective, ascent)
    at_rows = None
    if start.real is not None:
        at_rows = values_of(task, objective, start.part, start.real)
    moved, chosen = ascent.transformations, ascent.parametrisation.name
    return FeatureVisualization(
        images=climbed.images, names=objective.names, dims=dims, course=climbed.course,
        reached=climbed.reached, opacity=climbed.opacity, parametrisation=chosen,
        parameters=asdict(settings) | asdict(moved)
        | {"parametrisation": chosen, "rate": ascent.rate},
        explained=_explained(task, layer), seed=task.seed, evaluations=task.model.evaluations,
        layer=layer and task.layer(layer), input_name=start.name,
        low=None if limits is None else limits.low, high=None if limits is None else limits.high,
        best=None if at_rows is None else at_rows.max(axis=0),
        best_row=None if at_rows is None else at_rows.argmax(axis=0),
        columns=task.wrapped.feature_names or start.columns,
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


def _check_question(wrapped: Model, target: Any, layer: Any, unit: Any, direction: Any) -> None:
    """Raise for questions that contradict themselves, and models that cannot be asked them."""
    inner = [name for name, v in (("unit", unit), ("direction", direction)) if v is not None]
    if layer is None and inner:
        raise InputError(f"{inner[0]}= is of a layer: name it, layer=...")
    if layer is not None and (len(inner) != 1 or target is not None):
        raise InputError("With layer= give unit= or direction=, one of them, and no target=.")
    if wrapped.supports < (Tier.DIFFERENTIABLE if layer is None else Tier.TRANSPARENT):
        raise CapabilityError(
            f"Feature visualisation follows gradients{'' if layer is None else ' from layers'},"
            f" which this {wrapped.framework} model does not give.\n"
            "  A torch module, a Keras, JAX or TensorLayer model itself does."
        )


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
