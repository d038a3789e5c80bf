"""References made of the sample itself and its units: what surrounds or averages a hidden part."""

import numpy as np

from pellucid.arrays import resize
from pellucid.inputs.features import Features
from pellucid.number_types import nearest_in_type

_ROUNDS = 4


def unit_means(x: np.ndarray, features: Features, dims: tuple[str, ...]) -> np.ndarray:
    """Every unit in its own mean, channel by channel: a batch like `x` `(n, ...)`.

    Positions of no unit stay as they are; means of whole numbers are rounded. It is what
    LIME's authors hide superpixels with.
    """
    axis = dims.index("channel") if "channel" in dims else None
    last = x if axis is None else np.moveaxis(x, axis, -1)
    filled = np.empty_like(last)
    for sample, image in enumerate(last):
        units = features.of(sample).ravel()
        held = units >= 0
        pixels = image.reshape(len(units), -1).astype(np.float64)
        sizes = np.maximum(np.bincount(units[held]), 1)
        means = np.stack(
            [np.bincount(units[held], weights=channel[held]) / sizes for channel in pixels.T],
            axis=1,
        )
        pixels[held] = means[units[held]]
        filled[sample] = nearest_in_type(pixels.reshape(image.shape), x.dtype)
    return filled if axis is None else np.ascontiguousarray(np.moveaxis(filled, -1, axis))


def inpaint(x: np.ndarray, kept: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """Hidden positions filled smoothly from those around them: a batch like `x` `(m, ...)`.

    `kept (m, *positions)` is true where x stays. Averages of what is known are taken at half the
    size again and again until none is left hidden, then drawn back over the hidden positions
    (push and pull; Gortler et al. 1996, section 3.5), where at each size a few rounds bring each
    nearer to the mean of its neighbours, which in the limit is Laplace's equation. Where nothing
    is kept: x's own mean.
    """
    axis = dims.index("channel") if "channel" in dims else None
    last = x[..., None] if axis is None else np.moveaxis(x, axis, -1)
    known = kept[..., None].astype(np.float32)
    empty = ~kept.reshape(len(kept), -1).any(axis=1)
    mean = last.reshape(len(last), -1, last.shape[-1]).mean(axis=1)
    filled = _pulled(last.astype(np.float32), known)
    middle = tuple(range(1, last.ndim - 1))
    filled[empty] = np.expand_dims(mean[empty], middle)
    out = np.where(kept[..., None], last, nearest_in_type(filled, x.dtype))
    return out[..., 0] if axis is None else np.ascontiguousarray(np.moveaxis(out, -1, axis))


def _pulled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What is not known, from a picture of half the size in which less is unknown."""
    shape = values.shape[1:-1]
    if known.all() or max(shape) == 1:
        return values
    axes = tuple(range(1, values.ndim - 1))
    weight = _halved(known)
    coarse = _halved(values * known) / np.maximum(weight, 1e-6)
    smaller = _pulled(coarse, (weight > 0).astype(np.float32))
    filled = values * known + resize(smaller, shape, axes) * (1 - known)
    for _ in range(_ROUNDS):
        around = np.mean([_beside(filled, axis, way) for axis in axes for way in (0, 1)], axis=0)
        filled = values * known + around * (1 - known)
    return filled


def _beside(a: np.ndarray, axis: int, way: int) -> np.ndarray:
    """Every position's neighbour along an axis, itself at the border."""
    last = a.shape[axis] - 1
    index = np.arange(last + 1) + (1 if way else -1)
    return np.take(a, np.clip(index, 0, last), axis=axis)


def _halved(a: np.ndarray) -> np.ndarray:
    """Means over blocks of 2 along each spatial axis, the last block filled up with nothing."""
    for axis in range(1, a.ndim - 1):
        if a.shape[axis] % 2:
            a = np.pad(a, [(0, int(i == axis)) for i in range(a.ndim)])
        a = a.reshape(*a.shape[:axis], a.shape[axis] // 2, 2, *a.shape[axis + 1 :]).mean(axis + 1)
    return a
