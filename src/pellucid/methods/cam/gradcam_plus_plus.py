"""Grad-CAM++: each position of a gradient weighted, so that several objects count alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, by_gradient
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array


@register_method("gradcam_plus_plus")
@dataclass(frozen=True)
class GradCAMPlusPlus(ClassActivationMap):
    """Grad-CAM whose weights do not fade where an object takes up little of the picture.

    g = ∂f / ∂A,   α_kp = g_kp² / (2 g_kp² + g_kp³ Σ_q A_kq),   w_k = Σ_p α_kp ReLU(g_kp),
    map = ReLU(Σ_k w_k A_k), with p and q over positions

    α is computed as 1 / (2 + g_kp Σ_q A_kq), which is the same without a small number added.
    Where 2 + g Σ A is exactly 0, α is 0; near it α grows without bound, which activations that are
    not negative (after a ReLU) rule out. Shapes, `layer`, `relu`, `grid` and `tokens_before` as in
    gradcam; in units of score times activation.
    Cost: one forward, and one forward and backward of the layers above.
    Source: Chattopadhay et al. 2018 (arXiv 1710.11063), eq. 5 and 19, for exp(f). Departs from the
    paper: the factor exp(f), one number a sample, is left out of w_k; it only scales the map, and
    overflows from f = 89 on. tf-keras-vis also scales α to sum to 1 over the positions of a
    channel, Xplique has means over positions in place of both sums: other maps.

    Raises `LayerError` as gradcam.

    >>> explain(model, x, "gradcam_plus_plus", layer="features").values.shape
    (2, 12, 10)
    """

    cost = "1 F + head"
    source = "Chattopadhay et al. 2018"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return by_gradient(task, layout, higher_order)


def higher_order(xp: Any, a: Array, g: Array, space: tuple[int, ...], channel: int) -> Array:
    """Σ_k A_k Σ_p α_kp ReLU(g_kp)."""
    below = 2 + g * xp.sum(a, axis=space, keepdims=True)
    known = below != 0
    alpha = xp.where(known, 1 / xp.where(known, below, xp.ones_like(below)), xp.zeros_like(below))
    weight = xp.sum(alpha * xp.where(g > 0, g, xp.zeros_like(g)), axis=space, keepdims=True)
    return xp.sum(weight * a, axis=channel)
