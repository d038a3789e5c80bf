"""XGrad-CAM: gradients averaged with the activations as weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, by_gradient
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array


@register_method("xgradcam")
@dataclass(frozen=True)
class XGradCAM(ClassActivationMap):
    """Grad-CAM with weights that add up to the score, as far as the layers above are linear.

    w_k = Σ_p (A_kp / Σ_q A_kq) ∂f/∂A_kp,   map = ReLU(Σ_k w_k A_k), with p, q over positions

    A channel whose activations add up to exactly 0 gets w_k = 0. Shapes, `layer`, `relu`, `grid`
    and `tokens_before` as in gradcam; in units of the explained score. Made for activations that
    are not negative: where a sum comes near 0 by cancelling, its weight grows without bound.
    Cost: one forward, and one forward and backward of the layers above.
    Source: Fu et al. 2020 (arXiv 2008.02312), eq. 8.

    Raises `LayerError` as gradcam.

    >>> explain(model, x, "xgradcam", layer="features").values.shape
    (2, 12, 10)
    """

    cost = "1 F + head"
    source = "Fu et al. 2020"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return by_gradient(task, layout, activation_weighted)


def activation_weighted(xp: Any, a: Array, g: Array, space: tuple[int, ...], channel: int) -> Array:
    """Σ_k A_k (Σ_p A_kp g_kp) / Σ_q A_kq."""
    total = xp.sum(a, axis=space, keepdims=True)
    known = total != 0
    share = xp.sum(a * g, axis=space, keepdims=True) / xp.where(known, total, xp.ones_like(total))
    return xp.sum(xp.where(known, share, xp.zeros_like(share)) * a, axis=channel)
