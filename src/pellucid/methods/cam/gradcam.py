"""Grad-CAM: a layer's feature maps, weighted by the class's mean gradient."""

from dataclasses import dataclass

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.arrays import resize
from pellucid.errors import LayerError
from pellucid.inputs.layout import space_axes
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array, Leaves


@register_method("gradcam")
@dataclass(frozen=True)
class GradCAM(Method):
    """Where a layer's feature maps speak for the target.

    w_k = mean over positions of ∂f / ∂A_k,   map = ReLU(Σ_k w_k A_k)

    Returns one map a sample without a channel axis, `(n, height, width)`, enlarged bilinearly
    (pixel areas, not corners) to the input's size; the layer's own grid is in `extras["grid"]`.
    Not negative, in units of score times activation per position; `relu=False` keeps the sign.
    `layer=None` takes the last layer whose output still has the input's spatial axes; which one
    it was stands in `parameters`. The model below the layer runs once and without a gradient.
    Cost: one forward, and one forward and backward of the layers above.
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2.

    Raises `LayerError` for a layer that does not exist or whose output is no feature map.

    >>> explain(model, x, "gradcam", layer="features").values.shape
    (2, 12, 10)
    """

    layer: str | None = None
    relu: bool = True

    family = "cam"
    needs = Tier.TRANSPARENT
    modalities = frozenset({"image", "series", "volume"})
    opens_at_layer = True
    cost = "1 F + head"
    source = "Selvaraju et al. 2017"

    def attribute(self, task: Task) -> Attribution:
        parts = []
        for start, _, cut in task.cuts:
            activation = cut.value
            channel = task.wrapped.adapter.channel_axis_of(len(activation.shape))
            rows = np.arange(start, start + int(activation.shape[0]))

            def score(leaves: Leaves, cut=cut, rows=rows) -> tuple[Array, None]:
                return task.score(cut.run(leaves[0]), rows), None

            value, _, pullback = task.model.vjp(score, (activation,))
            gradient = pullback(task.xp.ones_like(value))[0]
            parts.append(_weighted(task, activation, gradient, channel))
        grid = np.concatenate(parts)
        if self.relu:
            grid = np.maximum(grid, 0)
        leaf, dims, sizes = _image_leaf(task, grid.ndim)
        values = [np.zeros(a.shape, dtype=np.float32) for a in task.batch.arrays]
        values[leaf] = resize(grid, sizes, tuple(range(1, grid.ndim)))
        all_dims = list(task.batch.dims)
        all_dims[leaf] = dims
        return Attribution(
            tuple(v.astype(np.float32) for v in values),
            dims=tuple(all_dims),
            extras={"grid": grid},
        )


def _weighted(task: Task, activation: Array, gradient: Array, channel: int) -> np.ndarray:
    """Σ_k w_k A_k, `(m, *positions)`."""
    xp = task.xp
    rank = len(activation.shape)
    if rank < 3:
        raise LayerError(
            f"Expected a layer whose output is a feature map, got shape"
            f" {tuple(int(s) for s in activation.shape)}.\n"
            "  layer=None chooses one; `model.layers(x)` lists them with shapes."
        )
    space = tuple(range(2, rank)) if channel == 1 else tuple(range(1, rank - 1))
    activation = xp.astype(activation, xp.float32)
    weight = xp.mean(xp.astype(gradient, xp.float32), axis=space, keepdims=True)
    return task.to_numpy(xp.sum(weight * activation, axis=1 if channel == 1 else rank - 1))


def _image_leaf(task: Task, rank: int) -> tuple[int, tuple[str, ...], tuple[int, ...]]:
    """The input that the map is laid over: the one with as many spatial axes that the layer sees.

    Where several inputs have them, a gradient of the layer's output tells, at the cost of one
    forward and one backward of the part below the layer.
    """
    fitting = [i for i, dims in enumerate(task.batch.dims) if len(space_axes(dims)) == rank - 1]
    if len(fitting) > 1:
        seen = task.inputs_of_layer()
        fitting = [i for i in fitting if seen[i]]
    if len(fitting) != 1:
        names = ", ".join(task.batch.names[i] for i in fitting) or "no input"
        raise LayerError(
            f"Expected one input with the spatial axes of this layer's feature map, got {names}.\n"
            "  layer= names a layer that sees one of them only; `model.layers(x)` lists them."
        )
    (leaf,) = fitting
    array, dims = task.batch.arrays[leaf], task.batch.dims[leaf]
    space = space_axes(dims)
    return leaf, ("sample", *(dims[a] for a in space)), tuple(array.shape[a] for a in space)
