"""Ablation-CAM: each channel weighted by what the score loses without it."""

from dataclasses import dataclass
from math import prod

import numpy as np

from pellucid.counting import CountedCut
from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, activations, layer_gradient
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Array

_VALUES_AT_ONCE = 2**22  # of changed activations, which are copied for every channel


@register_method("ablationcam")
@dataclass(frozen=True)
class AblationCAM(ClassActivationMap):
    """A layer's feature maps, weighted by the drop in score when each is set to 0.

    w_k = f(A) − f(A with A_k ← 0),   map = ReLU(Σ_k w_k A_k)

    Only the layers above are run again, never those below. Where all they do to reach the score
    is known to be affine (pooling by averages, then a linear layer), w_k = Σ ∂f/∂A_k · A_k over
    the positions, exactly: one forward and one backward of these layers do for all channels. Of
    tokens, those of the patches are set to 0 and a class token is left as it is. Weights are in
    `extras["weights"]`, in units of the explained score. Shapes, `layer`, `relu`, `grid` and
    `tokens_before` as in gradcam. Elsewhere no gradient is used, so saturation does not hide a
    channel.
    Cost: one forward, and one of the layers above for each channel; or, where these are affine,
    one forward and one backward of them.
    Source: Desai, Ramaswamy 2020 (WACV), eq. 2 and 4. Departs from the paper: w_k is not divided
    by f(A), which scales the whole map and would turn it over where a logit is negative.

    Raises `LayerError` as gradcam.

    >>> e = explain(model, x, "ablationcam", layer="features")
    >>> e.values.shape, e.evaluations.forward, e.evaluations.suffix        # 2 images
    ((2, 12, 10), 2, 2)
    """

    cost = "1 F + 1 head a channel, or 2 heads"
    source = "Desai & Ramaswamy 2020"

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        weights = np.concatenate([_drops(task, start, cut, layout) for start, _, cut in task.cuts])
        whole = activations(task, layout)
        return np.einsum("npk,nk->np", whole, weights), weights


def _drops(task: Task, start: int, cut: CountedCut, layout: MapLayout) -> np.ndarray:
    """f(A) − f(A without channel k) of the samples of one cut, `(samples, channels)`."""
    if task.target.function is None and cut.affine:
        return _affine_drops(task, start, cut, layout)
    samples = int(cut.value.shape[0])
    channels = int(cut.value.shape[layout.channel])
    rows = np.arange(start, start + samples)
    whole = task.to_numpy(task.score(cut.outputs, rows)).astype(np.float64)
    drops = np.empty((samples, channels))

    def evaluate(first: int, last: int) -> np.ndarray:
        outputs = cut.run(_without(task, cut.value, layout, first, last))
        scores = task.score(outputs, np.repeat(rows, last - first))
        return task.to_numpy(scores).astype(np.float64).reshape(samples, last - first)

    at_most = max(1, _VALUES_AT_ONCE // max(1, prod(map(int, cut.value.shape[1:]))))
    for first, last, scores in task.schedule.run(
        channels, evaluate, key="suffix", width=samples, at_most=at_most
    ):
        drops[:, first:last] = whole[:, None] - scores
    return drops


def _affine_drops(task: Task, start: int, cut: CountedCut, layout: MapLayout) -> np.ndarray:
    """What an affine score loses without each channel: the part that it takes from it."""
    xp, rows = task.xp, np.arange(start, start + int(cut.value.shape[0]))
    value, gradient = layer_gradient(task, cut, rows)
    parts = layout.patches(xp.astype(value, xp.float32) * xp.astype(gradient, xp.float32))
    return task.to_numpy(xp.sum(parts, axis=layout.space)).astype(np.float64)


def _without(task: Task, value: Array, layout: MapLayout, first: int, last: int) -> Array:
    """Each sample's activations once for every channel of a range, that channel set to 0."""
    xp, shape = task.xp, tuple(int(s) for s in value.shape)
    # One value a channel, repeated over the positions; of tokens, which differ, one a token too.
    varied = {layout.channel} | ({1} if layout.tokens_before is not None else set())
    keep = np.ones((last - first, *(s if i in varied else 1 for i, s in enumerate(shape[1:], 1))))
    by_channel = np.moveaxis(keep, layout.channel, -1)
    for j in range(last - first):
        layout.patches(by_channel[j][None])[..., first + j] = 0
    factor = xp.astype(task.asarray(keep.astype(np.float32)[None]), value.dtype)
    changed = xp.reshape(value, (shape[0], 1, *shape[1:])) * factor
    return xp.reshape(changed, (shape[0] * (last - first), *shape[1:]))
