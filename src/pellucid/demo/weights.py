"""The demo network's weights, class names and preprocessing, in NumPy alone."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np

ASSETS = resources.files("pellucid.demo") / "assets"
IMAGE_SIZE = 224


@dataclass(frozen=True)
class FoldedLayer:
    """One convolution with its batch norm folded in.

    `kernel` is `(rows, columns, in, out)`, or `(rows, columns, channels, 1)` if `depthwise`;
    `bias` is `(out,)`. The classifier is the last, a convolution of one pixel.
    """

    depthwise: bool
    kernel: np.ndarray
    bias: np.ndarray


def mobilenet_layers() -> tuple[FoldedLayer, ...]:
    """Read the 53 layers of MobileNetV2 in order of execution; the classifier has 1000 rows."""
    archive = ASSETS / "mobilenetv2-imagenet" / "mobilenet_v2_1.0_224_int8.npz"
    with archive.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        *layers, classifier = _read_layers(arrays)
    # Its first output is "background", which ImageNet's 1000 classes do not have.
    head = FoldedLayer(False, classifier.kernel[..., 1:], classifier.bias[1:])
    return (*layers, head)


@functools.cache
def imagenet_class_names() -> tuple[str, ...]:
    """Read the 1000 names as published: "crane" names two classes, the bird and the machine."""
    text = (ASSETS / "mobilenetv2-imagenet" / "imagenet_labels.txt").read_text("utf-8")
    return tuple(text.splitlines()[1:])


def preprocess(images: np.ndarray) -> np.ndarray:
    """Map RGB 0..255 to float32 in [-1, 1], in any layout."""
    return np.asarray(images, dtype=np.float32) / np.float32(127.5) - np.float32(1.0)


def _read_layers(arrays: np.lib.npyio.NpzFile) -> Iterator[FoldedLayer]:
    """Yield the layers in the order of their numbers, int8 weights scaled to float32."""
    for name in dict.fromkeys(key.split("/")[0] for key in sorted(arrays.files)):
        quantised, scale = arrays[f"{name}/w"], arrays[f"{name}/scale"]
        along = [1, 1, 1, 1]
        along[int(arrays[f"{name}/axis"])] = -1
        kernel = quantised.astype(np.float32) * scale.reshape(along)
        yield FoldedLayer(
            depthwise=name.endswith("_dw"),
            kernel=np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)),
            bias=arrays[f"{name}/b"],
        )
