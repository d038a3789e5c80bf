"""Which layer a class activation map looks at, where the user names none."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, LayerInfo, Operation
from pellucid.errors import CapabilityError
from pellucid.inputs.layout import space_axes
from pellucid.inputs.map_layout import MapLayout, read_map, single_layout, token_layouts
from pellucid.types import Array, Leaves, Outputs

if TYPE_CHECKING:
    from pellucid.task import Task

_AT_ONCE = 24  # layers asked for their gradient in one run, so that few gradients are held


@dataclass(frozen=True)
class _Candidate:
    path: str
    layouts: tuple[MapLayout, ...]
    width: int | None


def choose_layer(
    task: "Task", grid: Sequence[int] | None = None, tokens_before: int | None = None
) -> str:
    """The last layer to return whose output is still a map over the input.

    A map is an output with the input's spatial axes, more than one position along each (along
    one of them, where there is no other), or the tokens of a transformer. Of tokens, those count
    whose patches the outputs depend on: above the last attention only the class token matters.
    The parts of an attention (its queries, keys and values) are not looked at.

    Raises `CapabilityError` where no layer returns a map, `LayerError` where tokens can be laid
    out in several ways.
    """
    calls = task.layer_calls()
    if not calls:
        raise CapabilityError(
            "This model shows no layers, so there is no class activation map."
            f"{_made_by_functions(task)}\n"
            "  integrated_gradients and occlusion work without layers; a Keras model or torch"
            " module itself, in place of a saved graph or a function, shows its own."
        )
    for array, dims in zip(task.batch.arrays, task.batch.dims, strict=True):
        size = tuple(array.shape[a] for a in space_axes(dims))
        if not size:
            continue
        fitting = _candidates(task, calls, size, grid, tokens_before)
        if not fitting:
            continue
        last = fitting[-1]
        if last.layouts[0].tokens_before is None:
            return last.path
        single_layout(last.layouts, (None, *_tokens_of(calls, last.path)), last.path)
        return _last_with_gradient(task, fitting).path
    raise CapabilityError(
        "No layer of this model returns a feature map with the input's spatial axes, so there is"
        f" no class activation map.{_made_by_functions(task)}\n  integrated_gradients and occlusion"
        " work without one; layer= names a layer, if one was missed (`model.layers(x)` lists them"
        " with shapes), and grid=(height, width) says how its tokens lie."
    )


def _made_by_functions(task: "Task") -> str:
    """What a message adds where functions, which are no layers, return feature maps."""
    adapter, first = task.wrapped.adapter, tuple(a[:1] for a in task.x)
    made = ""
    for array, dims in zip(task.batch.arrays, task.batch.dims, strict=True):
        size = tuple(array.shape[a] for a in space_axes(dims))
        axis = adapter.channel_axis_of(len(size) + 2)
        for op in adapter.operations(first) if size else ():
            layout = None if op.shape is None else read_map(op.shape, size, axis)
            if layout is not None and 1 not in layout.grid:
                made = f"{op.name}, with a grid of {layout.grid}"
    if not made:
        return ""
    return (
        f"\n  Functions do (the last is {made}), but they are no layers: in a module or layer of"
        " its own, a map has a name that layer= takes."
    )


def map_grids(task: "Task", size: Sequence[int]) -> list[tuple[int, ...]]:
    """The grids of the feature maps that the model makes of an input of this size."""
    return [layout.grid for _, layout in _maps(task, task.layer_calls(), size)]


def _maps(
    task: "Task",
    calls: Sequence[LayerInfo],
    size: Sequence[int],
    grid: Sequence[int] | None = None,
) -> list[tuple[LayerInfo, MapLayout]]:
    axis = task.wrapped.adapter.channel_axis_of(len(size) + 2)
    found = []
    for call in sorted(calls, key=lambda c: c.order):
        layout = None if call.shape is None else read_map(call.shape, size, axis, grid)
        if layout is not None and 1 not in layout.grid:
            found.append((call, layout))
    if found:
        return found
    layouts = ((c, read_map(c.shape, size, axis, grid)) for c in calls if c.shape is not None)
    return [(c, m) for c, m in layouts if m is not None and any(s != 1 for s in m.grid)]


def _candidates(
    task: "Task",
    calls: Sequence[LayerInfo],
    size: Sequence[int],
    grid: Sequence[int] | None,
    tokens_before: int | None,
) -> list[_Candidate]:
    """The layers that return a map or tokens, in the order in which they return."""
    maps = {c.order: (c, m) for c, m in _maps(task, calls, size)}
    grids = [m.grid for _, m in maps.values()]
    tokens = {}
    for call in calls:
        if call.shape is not None:
            layouts = token_layouts(call.shape, size, grids, grid=grid, tokens_before=tokens_before)
            if layouts:
                tokens[call.order] = _Candidate(call.path, tuple(layouts), call.shape[2])
    # The width of the residual stream is what most layers return; others are parts of a block.
    widths = Counter(c.width for c in tokens.values())
    width = widths.most_common(1)[0][0] if widths else None
    lengths = {c.shape[1] for c in calls if c.shape is not None and c.order in tokens}
    outside = {order: c for order, c in tokens.items() if not _is_in_attention(c.path)}
    tokens = outside or tokens
    # Queries, keys and attention weights have a side as long as there are tokens; no map has.
    found = {order: c for order, c in tokens.items() if c.width == width}
    for order, (call, layout) in maps.items():
        if grid is not None and layout.grid != tuple(grid):
            continue
        if not lengths & {*layout.grid}:
            found[order] = _Candidate(call.path, (layout,), None)
    return [found[order] for order in sorted(found)]


def _is_in_attention(path: str) -> bool:
    """Whether a layer is a part of one that is called attention: a projection, a dropout."""
    *within, _ = re.split(r"[./]", path)
    return any("attn" in part.lower() or "attention" in part.lower() for part in within)


def _tokens_of(calls: Sequence[LayerInfo], path: str) -> tuple[int | None, ...]:
    shape = next(c.shape for c in calls if c.path == path)
    return () if shape is None else shape[1:]


def _last_with_gradient(task: "Task", candidates: Sequence[_Candidate]) -> _Candidate:
    """The last whose positions reach the outputs; all zero there means that none does."""
    for stop in range(len(candidates), 0, -_AT_ONCE):
        asked = candidates[max(0, stop - _AT_ONCE) : stop]
        reached = _reached(task, asked)
        for candidate, gradient in zip(reversed(asked), reversed(reached), strict=True):
            patches = candidate.layouts[0].patches(gradient)
            # Dead positions of the one sample are no sign: what is cut off is cut off for all.
            if np.any(patches):
                return candidate
    return candidates[-1]


def _reached(task: "Task", candidates: Sequence[_Candidate]) -> list[np.ndarray]:
    """∂(a weighted sum of the outputs)/∂(output of each layer), of the first sample."""
    paths = tuple(c.path for c in candidates)
    first = tuple(a[:1] for a in task.x)
    values: dict[str, Array] = {}

    def keep(op: Operation) -> Array:
        values[numbered(op)] = value = op()
        return value

    task.model.run(first, intercept=keep, layers=paths, kinds=LAYERS_ONLY)
    probes = tuple(task.xp.zeros_like(values[p]) for p in paths)

    def probed(leaves: Leaves) -> tuple[Array, Any]:
        by_path = dict(zip(paths, leaves, strict=True))
        outputs = task.model.run(
            first,
            intercept=lambda op: op() + by_path[numbered(op)],
            layers=paths,
            kinds=LAYERS_ONLY,
        )
        return _weighted_sum(task, outputs), None

    total, _, pullback = task.model.vjp(probed, probes)
    return [task.to_numpy(g) for g in pullback(task.xp.ones_like(total))]


def _weighted_sum(task: "Task", outputs: Outputs) -> Array:
    """`(1,)`: all outputs, each with a weight of its own, since equal ones could cancel."""
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return sum(_weighted_sum(task, part) for part in outputs if part is not None)
    flat = task.xp.reshape(outputs, (1, -1))
    weights = np.linspace(1, 2, int(flat.shape[1]), dtype=np.float32)[None]
    return task.xp.sum(flat * task.xp.astype(task.asarray(weights), flat.dtype), axis=1)
