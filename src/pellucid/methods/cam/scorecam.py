"""Score-CAM: each channel weighted by the score of the input seen through it."""

from dataclasses import dataclass

import numpy as np

from pellucid.arrays import resize
from pellucid.errors import MethodError
from pellucid.inputs.layout import space_axes
from pellucid.inputs.map_layout import MapLayout
from pellucid.methods.cam.base import ClassActivationMap, activations
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Leaves


@register_method("scorecam")
@dataclass(frozen=True)
class ScoreCAM(ClassActivationMap):
    """A layer's feature maps, weighted by how well the model does with what each lets through.

    M_k = A_k enlarged to the input's size and scaled to 0..1,   s_k = f(x ⊙ M_k) − f(x_b),
    w = softmax over channels of s,   map = ReLU(Σ_k w_k A_k)

    The baseline's score f(x_b) is the same for all channels and cancels in the softmax, so it is
    not run. A channel that is the same at every position lets through no place more than another:
    it gets the weight 0 and is not run. `max_channels` looks at no more than that many channels
    a sample, those of the largest variance over positions: cheaper, and another map, as
    `warnings` then says. Weights are in `extras["weights"]`. Shapes, `layer`, `relu`, `grid` and
    `tokens_before` as in gradcam; in units of activation. No gradient is used.
    Cost: one forward, and one a channel: hundreds.
    Source: Wang et al. 2020 (arXiv 1910.01279), algorithm 1; max_channels: Li et al. 2020
    (Faster Score-CAM). The score is the logit, as everywhere here. tf-keras-vis weighs by the
    class's probability f(x ⊙ M_k) itself, without a softmax over channels: another map.

    Raises `LayerError` as gradcam, `MethodError` for max_channels below 1.

    >>> e = explain(model, x, "scorecam", layer="features")
    >>> e.values.shape, e.evaluations.forward        # 2 × (1 + 4 channels)
    ((2, 12, 10), 10)
    """

    max_channels: int | None = None

    cost = "1 F a channel: hundreds"
    source = "Wang et al. 2020"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_channels is not None and self.max_channels < 1:
            raise MethodError(f"Expected max_channels of 1 or more, got {self.max_channels}.")

    def remarks(self) -> tuple[str, ...]:
        if self.max_channels is None:
            return ()
        return (
            f"only the {self.max_channels} channels of the largest variance were looked at in each"
            " sample: an approximation of Score-CAM, whose weights leave all others out",
        )

    def maps(
        self, task: Task, leaf: int, layout: MapLayout
    ) -> tuple[np.ndarray, np.ndarray | None]:
        whole = activations(task, layout)
        samples, channels = self._jobs(whole)
        scores = np.full((len(whole), whole.shape[2]), -np.inf)

        def evaluate(start: int, stop: int) -> np.ndarray:
            rows = samples[start:stop]
            seen = whole[rows, :, channels[start:stop]].reshape(len(rows), *layout.grid)
            return task.score_of(_through(task, leaf, rows, seen), rows)

        for start, stop, part in task.schedule.run(len(samples), evaluate, key="forward"):
            scores[samples[start:stop], channels[start:stop]] = part
        weights = _softmax(scores)
        return np.einsum("npk,nk->np", whole, weights), weights

    def _jobs(self, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The (sample, channel) pairs to run, sample by sample."""
        runs = whole.max(axis=1) > whole.min(axis=1)
        if self.max_channels is not None:
            order = np.argsort(-whole.var(axis=1, dtype=np.float64), axis=1, kind="stable")
            among = np.zeros_like(runs)
            np.put_along_axis(among, order[:, : self.max_channels], True, axis=1)
            runs &= among
        samples, channels = np.nonzero(runs)
        return samples, channels


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis; 0 everywhere where there is no score but −∞."""
    largest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(largest), largest, 0))
    return powers / np.maximum(powers.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _through(task: Task, leaf: int, rows: np.ndarray, seen: np.ndarray) -> Leaves:
    """The samples of `rows`, input `leaf` multiplied by the enlarged and scaled channel."""
    array, dims = task.batch.arrays[leaf], task.batch.dims[leaf]
    space = space_axes(dims)
    masks = resize(seen, tuple(array.shape[a] for a in space), tuple(range(1, seen.ndim)))
    over = tuple(range(1, masks.ndim))
    lowest = masks.min(axis=over, keepdims=True)
    extent = masks.max(axis=over, keepdims=True) - lowest
    masks = (masks - lowest) / np.where(extent > 0, extent, 1)
    masks = np.expand_dims(masks, dims.index("channel"))
    copies = [a[rows] for a in task.batch.arrays]
    copies[leaf] = (copies[leaf] * masks).astype(array.dtype)
    return tuple(map(task.asarray, copies))
