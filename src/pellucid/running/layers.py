"""The layers of a task: full paths, the calls of a run, the choice, what reaches one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.layers import find_layer
from pellucid.adapters.protocol import LAYERS_ONLY, Adapter, LayerInfo, Operation
from pellucid.counting import asked_once
from pellucid.errors import CapabilityError
from pellucid.layer_choice import choose_layer
from pellucid.running.outputs import model_errors
from pellucid.types import Array, Leaves

if TYPE_CHECKING:
    from pellucid.task import Task


def full_path(name: str, adapter: Adapter, x: Leaves) -> str:
    """The path of the layer that a user's name means; `#2` for its second call is kept."""
    # Functions name their layers only when they are run.
    paths = [c.path for c in adapter.layers() or adapter.layers(x)]
    if not paths:
        raise CapabilityError(
            "This model shows no layers, so it cannot be opened at one.\n"
            "  Wrap the Keras model or torch module itself; integrated_gradients and"
            " occlusion work without layers."
        )
    base, mark, call = name.partition("#")
    separator = "." if adapter.framework == "torch" else "/"
    return find_layer(base, paths, separator=separator) + mark + call


def chosen_layer(task: "Task", grid: Sequence[int] | None, tokens_before: int | None) -> str:
    """The layer that `choose_layer` finds: asked once for each model and shape of its inputs."""
    key = *shape_key(task), None if grid is None else tuple(grid), tokens_before
    chosen = task.wrapped.layer_choices.get(key)
    if chosen is None:
        with asked_once():
            chosen = choose_layer(task, grid, tokens_before)
        task.wrapped.layer_choices[key] = chosen
    return chosen


def layer_calls(task: "Task") -> tuple[LayerInfo, ...]:
    """The calls of layers in a run, with output shapes; asked once for each input shape."""
    key = shape_key(task)
    calls = task.wrapped.layer_calls.get(key)
    if calls is None:
        first = tuple(a[:1] for a in task.x)
        with asked_once(), model_errors(task.model, first, task.model.adapter):
            calls = task.wrapped.layer_calls[key] = task.model.layers(first)
    return calls


def shape_key(task: "Task") -> tuple[Any, ...]:
    """What the way through a model depends on: the model itself, and the form of its inputs."""
    shapes = ((a.shape[1:], a.dtype.str) for a in task.batch.arrays)
    return task.wrapped.fingerprint(), *shapes


def inputs_of_layer(task: "Task", layer: str) -> tuple[bool, ...]:
    """Which inputs a layer depends on, seen on the first sample."""

    def total(leaves: Leaves) -> tuple[Array, None]:
        values: list[Array] = []

        def keep(op: Operation) -> Array:
            values.append(op())
            return values[-1]

        task.model.run(leaves, intercept=keep, layers=(layer,), kinds=LAYERS_ONLY)
        return task.xp.reshape(task.xp.sum(values[-1] * values[-1]), (1,)), None

    value, _, pullback = task.model.vjp(total, tuple(a[:1] for a in task.x))
    grads = pullback(task.xp.ones_like(value))
    return tuple(bool(np.any(task.to_numpy(g) != 0)) for g in grads)
