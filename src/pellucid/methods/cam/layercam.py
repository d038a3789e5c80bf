"""LayerCAM: positive gradients, position by position, so that early layers can be looked at."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, by_gradient
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array


@register_method("layercam")
@dataclass(frozen=True)
class LayerCAM(ClassActivationMap):
    """Where a layer's activations raise the score, also in early layers.

    map = ReLU(Σ_k ReLU(∂f/∂A_k) ⊙ A_k)

    Evidence against the target is left out, not weighed. Shapes, `layer`, `relu`, `grid` and
    `tokens_before` as in gradcam; in units of the explained score.
    Cost: one forward, and one forward and backward of the layers above.
    Source: Jiang et al. 2021 (IEEE TIP 30, 5875), eq. 5 to 7. Departs from the paper: maps of
    several layers are not scaled by a tanh and fused; each call explains one layer.

    Raises `LayerError` as gradcam.

    >>> explain(model, x, "layercam", layer="features").values.shape
    (2, 12, 10)
    """

    cost = "1 F + head"
    source = "Jiang et al. 2021"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return by_gradient(task, layout, positive_elementwise)


def positive_elementwise(
    xp: Any, a: Array, g: Array, space: tuple[int, ...], channel: int
) -> Array:
    """Σ_k ReLU(g_k) ⊙ A_k."""
    return xp.sum(xp.where(g > 0, g, xp.zeros_like(g)) * a, axis=channel)
