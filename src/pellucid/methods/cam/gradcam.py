"""Grad-CAM: a layer's feature maps, weighted by the class's mean gradient."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, by_gradient
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array


@register_method("gradcam")
@dataclass(frozen=True)
class GradCAM(ClassActivationMap):
    """Where a layer's feature maps speak for the target.

    w_k = mean over positions of ∂f / ∂A_k,   map = ReLU(Σ_k w_k A_k)

    Returns one map a sample without a channel axis, `(n, height, width)`, enlarged bilinearly
    (pixel areas, not corners) to the input's size; the layer's own grid is in `extras["grid"]`.
    Not negative, in units of score times activation per position; `relu=False` keeps the sign.
    `layer=None` takes the last layer whose output is still a map over the input, be it a feature
    map or the tokens of a transformer, and that the score depends on at every position; which one
    it was stands in `parameters`. Of tokens, `grid` and `tokens_before` say how they lie; None
    reads it off the patch embedding. The model below the layer runs once and without a gradient.
    Cost: one forward, and one forward and backward of the layers above.
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2.

    Raises `LayerError` for a layer that does not exist, whose output is no map, or whose tokens
    can be laid out in several ways.

    >>> explain(model, x, "gradcam", layer="features").values.shape
    (2, 12, 10)
    """

    cost = "1 F + head"
    source = "Selvaraju et al. 2017"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return by_gradient(task, layout, mean_gradient)


def mean_gradient(xp: Any, a: Array, g: Array, space: tuple[int, ...], channel: int) -> Array:
    """Σ_k mean(g_k) A_k."""
    return xp.sum(xp.mean(g, axis=space, keepdims=True) * a, axis=channel)
