"""HiResCAM: gradient times activation at every position."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, by_gradient
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array


@register_method("hirescam")
@dataclass(frozen=True)
class HiResCAM(ClassActivationMap):
    """Where the score comes from in a layer, gradients not averaged over positions.

    map = ReLU(Σ_k ∂f/∂A_k ⊙ A_k)

    With `relu=False` and linear layers above the chosen one, the grid adds up to f less its bias:
    the map then shows no place that the score does not use. Shapes, `layer`, `relu`, `grid` and
    `tokens_before` as in gradcam; in units of the explained score.
    Cost: one forward, and one forward and backward of the layers above.
    Source: Draelos, Carin 2020 (arXiv 2011.08891), eq. 5. The paper has no ReLU: `relu=False`.

    Raises `LayerError` as gradcam.

    >>> explain(model, x, "hirescam", layer="features").values.shape
    (2, 12, 10)
    """

    cost = "1 F + head"
    source = "Draelos & Carin 2020"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return by_gradient(task, layout, elementwise)


def elementwise(xp: Any, a: Array, g: Array, space: tuple[int, ...], channel: int) -> Array:
    """Σ_k g_k ⊙ A_k."""
    return xp.sum(g * a, axis=channel)
