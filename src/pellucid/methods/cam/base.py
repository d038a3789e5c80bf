"""What all class activation maps share: a layer, its positions, and the way back to the input."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.arrays import resize
from pellucid.counting import CountedCut
from pellucid.errors import LayerError, MethodError
from pellucid.inputs.layout import space_axes
from pellucid.inputs.map_layout import MapLayout, read_map, single_layout, token_layouts
from pellucid.layer_choice import map_grids
from pellucid.methods.base import Attribution, Method
from pellucid.running.gradients import gradient_at_cut
from pellucid.task import Task
from pellucid.types import Array

Rule = Callable[[Any, Array, Array, tuple[int, ...], int], Array]
"""`(xp, A, ∂f/∂A, axes of the positions, axis of the channels)` to the map, channels summed."""


@dataclass(frozen=True)
class ClassActivationMap(Method):
    """A map made of one layer's channels; subclasses say how they are weighed.

    `grid=(height, width)` and `tokens_before` say how the tokens of a transformer lie over its
    input; None finds out from the patch embedding, and what was found is recorded.
    """

    layer: str | None = None
    relu: bool = True
    grid: tuple[int, ...] | None = None
    tokens_before: int | None = None

    family = "cam"
    needs = Tier.TRANSPARENT
    modalities = frozenset({"image", "series", "volume"})
    opens_at_layer = True

    def __post_init__(self) -> None:
        whole = (int, np.integer)
        if self.grid is not None:
            given = tuple(self.grid) if isinstance(self.grid, list | tuple) else ()
            if not given or not all(isinstance(g, whole) and g > 0 for g in given):
                raise MethodError(
                    f"Expected grid to be the numbers of tokens along each axis of the input, such"
                    f" as (14, 14), got {self.grid!r}."
                )
            object.__setattr__(self, "grid", tuple(map(int, given)))
        if self.tokens_before is not None and self.tokens_before < 0:
            raise MethodError(f"Expected tokens_before of 0 or more, got {self.tokens_before}.")

    def attribute(self, task: Task) -> Attribution:
        leaf, layout = self._reading(task)
        maps, weights = self.maps(task, leaf, layout)
        grid = maps.reshape(len(maps), *layout.grid).astype(np.float32)
        remarks = self.remarks() + _read_at_one_place(grid, task.cut_layer)
        flat = grid.reshape(len(grid), -1)
        all_against = self.relu & (flat.max(axis=1) <= 0) & (flat.min(axis=1) < 0)
        if self.relu:
            grid = np.maximum(grid, 0)
        array, dims = task.batch.arrays[leaf], task.batch.dims[leaf]
        space = space_axes(dims)
        values = [np.zeros(a.shape, dtype=np.float32) for a in task.batch.arrays]
        sizes = tuple(array.shape[a] for a in space)
        values[leaf] = resize(grid, sizes, tuple(range(1, grid.ndim)))
        all_dims = list(task.batch.dims)
        all_dims[leaf] = ("sample", *(dims[a] for a in space))
        extras = {"grid": grid}
        if weights is not None:
            extras["weights"] = weights.astype(np.float32)
        tokens = layout.tokens_before is not None
        found = {"grid": layout.grid, "tokens_before": layout.tokens_before} if tokens else {}
        return Attribution(
            tuple(v.astype(np.float32) for v in values),
            dims=tuple(all_dims),
            extras=extras,
            parameters=found,
            warnings=remarks,
            all_against=all_against,
        )

    @abstractmethod
    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The map of each sample, `(n, *positions)`, and the channels' weights `(n, channels)`.

        `leaf` is the input that the map is laid over. Methods without one weight a channel
        return None for them.
        """

    def remarks(self) -> tuple[str, ...]:
        """What the user should know of a map made with these parameters."""
        return ()

    def _reading(self, task: Task) -> tuple[int, MapLayout]:
        """The input that the map is laid over, and how the layer's output is read.

        It is the one with fitting axes that the layer sees; where several have them, a gradient
        of the layer's output tells, for one forward and one backward of the part below.
        """
        shape = tuple(int(s) for s in task.cuts[0][2].value.shape)
        found = {}
        for leaf in range(len(task.batch.dims)):
            layout = self._layout(task, leaf, shape)
            if layout is not None:
                found[leaf] = layout
        if len(found) > 1:
            seen = task.inputs_of_layer()
            found = {leaf: layout for leaf, layout in found.items() if seen[leaf]}
            if len(found) != 1:
                names = ", ".join(task.batch.names[i] for i in found) or "no input"
                raise LayerError(
                    f"Expected one input with the axes of this layer's map, got {names}.\n"
                    "  layer= names a layer that sees one of them only; `model.layers(x)` lists"
                    " them."
                )
        if not found:
            raise LayerError(self._no_map(shape))
        ((leaf, layout),) = found.items()
        return leaf, layout

    def _layout(self, task: Task, leaf: int, shape: tuple[int, ...]) -> MapLayout | None:
        array, dims = task.batch.arrays[leaf], task.batch.dims[leaf]
        size = tuple(array.shape[a] for a in space_axes(dims))
        if not size:
            return None
        axis = task.wrapped.adapter.channel_axis_of(len(shape))
        if len(shape) == len(size) + 2:
            return read_map(shape, size, axis, self.grid)
        if len(shape) != 3 or len(size) < 2:
            return None
        layouts = token_layouts(
            shape,
            size,
            () if self.grid is not None else map_grids(task, size),
            grid=self.grid,
            tokens_before=self.tokens_before,
        )
        return single_layout(layouts, shape, task.cut_layer or "this layer")

    def _no_map(self, shape: tuple[int, ...]) -> str:
        as_grid = "" if self.grid is None else f" with the grid {self.grid}"
        return (
            f"Expected a layer whose output is a feature map{as_grid}, got shape {shape}.\n"
            "  layer=None chooses one; `model.layers(x)` lists them with shapes; grid=(height,"
            " width) says how tokens lie."
        )


def _read_at_one_place(grid: np.ndarray, layer: str | None) -> tuple[str, ...]:
    """A warning where all maps have one and the same position, such as the last step of an RNN."""
    read = (grid != 0).reshape(len(grid), -1).any(axis=0)
    if read.size < 3 or read.sum() != 1:
        return ()
    return (
        f"the score reads {layer or 'the layer'} at position {int(np.flatnonzero(read)[0])} alone,"
        " as a network does that goes on from its last step: the map shows that, and nothing of"
        " the input; integrated_gradients looks at the input itself",
    )


def by_gradient(task: Task, layout: MapLayout, rule: Rule) -> tuple[np.ndarray, np.ndarray | None]:
    """The map of a weight rule: one forward and backward of the layers above, for each sample."""
    xp, parts = task.xp, []
    for start, _, cut in task.cuts:
        rows = np.arange(start, start + int(cut.value.shape[0]))
        activation, gradient = (
            xp.astype(layout.patches(a), xp.float32) for a in layer_gradient(task, cut, rows)
        )
        parts.append(task.to_numpy(rule(xp, activation, gradient, layout.space, layout.channel)))
    return np.concatenate(parts), None


def layer_gradient(task: Task, cut: CountedCut, rows: np.ndarray) -> tuple[Array, Array]:
    """What the layer of a cut of samples `rows` returned, and the score's gradient there."""
    return cut.value, gradient_at_cut(task, cut, rows)


def activations(task: Task, layout: MapLayout) -> np.ndarray:
    """What the layer returned for every sample, `(n, positions, channels)` float32."""
    parts = [
        np.moveaxis(task.to_numpy(layout.patches(cut.value)), layout.channel, -1)
        for _, _, cut in task.cuts
    ]
    whole = np.concatenate(parts).astype(np.float32)
    return whole.reshape(len(whole), -1, whole.shape[-1])
