"""Eigen-CAM: what a layer's positions have most in common, whatever the class."""

from dataclasses import dataclass

import numpy as np

from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, activations
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("eigencam")
@dataclass(frozen=True)
class EigenCAM(ClassActivationMap):
    """The strongest pattern of a layer: its activations along their first principal direction.

    A = U Σ Vᵀ with A (positions, channels),   map = ReLU(A v₁)

    It does not look at the target: every class gets the same map. v₁ comes from the matrix of
    inner products of the positions or of the channels, whichever is smaller, in float64. A
    singular vector has no sign of its own: the map is turned so that it adds up to 0 or more.
    Activations are not centred. Shapes, `layer`, `relu`, `grid` and `tokens_before` as in
    gradcam; in units of activation. No gradient is used.
    Cost: one forward.
    Source: Muhammad, Yeasin 2020 (arXiv 2008.00299), eq. 4 and 5. Departs from the paper: the sign.

    Raises `LayerError` as gradcam.

    >>> explain(model, x, "eigencam", layer="features").values.shape
    (2, 12, 10)
    """

    cost = "1 F"
    source = "Muhammad & Yeasin 2020"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        whole = activations(task, layout)
        return np.stack([first_projection(a.astype(np.float64)) for a in whole]), None


def first_projection(a: np.ndarray) -> np.ndarray:
    """A v₁ for A `(positions, channels)`, `(positions,)`."""
    if a.shape[0] <= a.shape[1]:
        values, vectors = np.linalg.eigh(a @ a.T)
        projected = np.sqrt(max(values[-1], 0.0)) * vectors[:, -1]
    else:
        projected = a @ np.linalg.eigh(a.T @ a)[1][:, -1]
    return -projected if projected.sum() < 0 else projected
