"""What a layer returns, as a method; and which of a layer's units are worth a look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, LayerInfo, Operation, Tier
from pellucid.methods.base import Attribution, Method
from pellucid.methods.inside.layers import (
    HELD_AT_ONCE,
    bytes_of,
    dims_of,
    in_float32,
    operations_for,
    passed,
    unit_axis,
)
from pellucid.methods.inside.moments import Moments, by_unit
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array, Leaves

_GRADIENTS_AT_ONCE = 24
"""Layers asked for their gradient in one run, so that few gradients are held."""


@register_method("activations")
@dataclass(frozen=True)
class Activations(Method):
    """What a layer returns for each input: what the layers above it are given to work with.

    a_k = h_k(x)

    It does not look at the target, and says nothing of what counts for it. Returns the layer's
    own output, float32, of whatever shape it is (the first array, where it returns several), with
    its axes named: `(n, height, width, channel)` or channels first for maps, `(n, step, channel)`,
    `(n, unit)`; in the units of the layer. A final softmax or sigmoid is taken off, unless the
    model was wrapped with `output="probability"`. `layer` is a name path, `name#2` for the second
    call of a shared layer; None takes the one that gradcam would. `pellucid.inside.activations`
    looks at many layers and picks channels.
    Cost: one forward, and in torch one of the first sample for an output of three axes.
    Source: Zeiler, Fergus 2014 (arXiv 1311.2901), section 4.

    Raises `LayerError` for a layer that there is not, or that returns no real numbers,
    `CapabilityError` for None where no layer returns a map.

    >>> explain(model, x, "activations", layer="features").values.shape    # 3 by 3, 4 filters
    (2, 10, 8, 4)
    """

    layer: str | None = None

    family = "inside"
    needs = Tier.TRANSPARENT
    works_at_layer = True
    always_at_layer = True
    is_attribution = False
    cost = "1 F"
    source = "Zeiler & Fergus 2014"

    def attribute(self, task: Task) -> Attribution:
        (values,), origin = task.batch.arrays, task.origin
        shape, layer = values.shape, origin.cut_layer or ""
        dims = dims_of(origin, layer, shape, operations_for(origin, [shape]))
        return Attribution((values.copy(),), dims=(dims,))


def variances(
    task: Task, calls: Sequence[LayerInfo], dims: Sequence[tuple[str, ...]]
) -> list[np.ndarray]:
    """Of each layer the variance of every unit over all samples and positions, `(units,)`."""
    axes = {c.path: unit_axis(d) for c, d in zip(calls, dims, strict=True)}
    found: dict[str, Moments] = {}

    def reduce(name: str, op: Operation, value: np.ndarray) -> Moments:
        return Moments.of(by_unit(value, axes[name]))

    for name, new in passed(task, list(axes), reduce, row_bytes=sum(map(bytes_of, calls))):
        found[name] = found[name].with_more(new) if name in found else new
    return [found[c.path].variance for c in calls]


def contributions(
    task: Task, calls: Sequence[LayerInfo], dims: Sequence[tuple[str, ...]]
) -> list[np.ndarray]:
    """Of each layer what every unit has to do with each sample's score, `(n, units)` float64.

    c_k = Σ over positions  A_k · ∂f/∂A_k
    """
    found: dict[str, list[np.ndarray]] = {call.path: [] for call in calls}
    axes = {c.path: unit_axis(d) for c, d in zip(calls, dims, strict=True)}
    for first in range(0, len(calls), _GRADIENTS_AT_ONCE):
        group = calls[first : first + _GRADIENTS_AT_ONCE]
        at_most = max(1, HELD_AT_ONCE // max(1, 3 * sum(map(bytes_of, group))))

        def evaluate(
            start: int, stop: int, paths: Sequence[str] = tuple(c.path for c in group)
        ) -> list[np.ndarray]:
            whole = _activation_times_gradient(task, paths, np.arange(start, stop))
            pairs = zip(paths, whole, strict=True)
            return [a.sum(axis=_all_but(a.ndim, axes[path])) for path, a in pairs]

        run = task.schedule.run(task.count, evaluate, key="layer gradients", at_most=at_most)
        for _, _, parts in run:
            for call, part in zip(group, parts, strict=True):
                found[call.path].append(part)
    return [np.concatenate(found[call.path]) for call in calls]


def _all_but(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(1, rank) if i != axis)


def _activation_times_gradient(
    task: Task, paths: Sequence[str], rows: np.ndarray
) -> list[np.ndarray]:
    """A · ∂f/∂A at several layers from one run, by zeros that are added to what they return."""
    x = task.take(task.x, rows)
    values: dict[str, Array] = {}

    def keep(op: Operation) -> Array:
        value = op()
        values[numbered(op)] = value
        return value

    with task.naming_samples(x, rows):
        task.model.run(x, intercept=keep, layers=tuple(paths), kinds=LAYERS_ONLY)
    probes = tuple(task.xp.zeros_like(values[path]) for path in paths)

    def probed(leaves: Leaves) -> tuple[Array, None]:
        by_path = dict(zip(paths, leaves, strict=True))

        def add(op: Operation) -> Array:
            value, probe = op(), by_path.get(numbered(op))
            return value if probe is None else value + probe

        outputs = task.model.run(x, intercept=add, layers=tuple(paths), kinds=LAYERS_ONLY)
        return task.score(outputs, rows), None

    with task.naming_samples(x, rows):
        scores, _, pullback = task.model.vjp(probed, probes)
        gradients = pullback(task.xp.ones_like(scores))
    pairs = zip((values[path] for path in paths), gradients, strict=True)
    return [
        task.to_numpy(a).astype(np.float64) * task.to_numpy(g).astype(np.float64) for a, g in pairs
    ]


def maps_of(
    task: Task,
    calls: Sequence[LayerInfo],
    dims: Sequence[tuple[str, ...]],
    chosen: Sequence[np.ndarray | None],
) -> list[np.ndarray]:
    """What each layer returns for every sample, float32; of the chosen units if there are any."""
    axes = {c.path: unit_axis(d) for c, d in zip(calls, dims, strict=True)}
    units = {c.path: u for c, u in zip(calls, chosen, strict=True)}
    parts: dict[str, list[np.ndarray]] = {path: [] for path in axes}

    def reduce(name: str, op: Operation, value: np.ndarray) -> np.ndarray:
        own = units[name]
        return in_float32(value if own is None else np.take(value, own, axis=axes[name]))

    for name, part in passed(task, list(axes), reduce, row_bytes=sum(map(bytes_of, calls))):
        parts[name].append(part)
    return [np.concatenate(parts[call.path]) for call in calls]
