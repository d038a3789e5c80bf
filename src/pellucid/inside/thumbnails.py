"""Small pictures of the samples of a batch, for points and rows of neighbours."""

import numpy as np

from pellucid.inputs.batch import Batch
from pellucid.inputs.layout import modality

SIDE = 56
"""The longer side of a thumbnail, in pixels, at most."""


def thumbnails(batch: Batch, rows: np.ndarray) -> np.ndarray | None:
    """Pictures of these rows, uint8 `(m, h, w, 3)`; None where the only input is no picture.

    As the user passed them where the model's `preprocess` made something else of them; otherwise
    stretched from the smallest to the largest value of all these rows. Three channels are colours,
    any other number is averaged.
    """
    if len(batch.arrays) != 1 or modality(batch.dims[0]) != "image":
        return None
    shown = batch.display[0]
    if shown is not None:
        pictures, low, high = shown, 0.0, 255.0
    else:
        axis = batch.dims[0].index("channel")
        pictures = np.moveaxis(batch.arrays[0], axis, -1)
        low, high = float(pictures[rows].min()), float(pictures[rows].max())
    found = [_thumbnail(pictures[row], low, high) for row in rows]
    return np.stack(found)


def _thumbnail(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    values = picture.astype(np.float32)
    if values.shape[-1] != 3:
        values = np.repeat(values.mean(axis=-1, keepdims=True), 3, axis=-1)
    scaled = (values - low) / ((high - low) or 1.0) * 255
    pixels = np.clip(np.round(scaled), 0, 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    share = SIDE / max(height, width)
    if share >= 1:
        return pixels
    from PIL import Image

    size = (max(round(width * share), 1), max(round(height * share), 1))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
