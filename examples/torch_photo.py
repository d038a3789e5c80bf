"""Explain the photograph of `keras_photo.py` with the same weights in PyTorch; run that first.

Needs `pip install '.[torch]'`. Prints the largest difference of each map, as a share of its
maximum.
"""

from pathlib import Path

import numpy as np
import torch

import pellucid
from pellucid.demo import demo_photos, load_photo
from pellucid.demo.weights import imagenet_class_names, preprocess
from pellucid.testing.mobilenet_torch import build_mobilenet


def channels_first(pixels: np.ndarray) -> np.ndarray:
    return preprocess(pixels).transpose(0, 3, 1, 2)


def main() -> None:
    found = sorted(Path.cwd().glob("samoyed-*.zarr"))
    if not found:
        raise SystemExit("Run keras_photo.py in this folder first.")
    # Keras's memory layout, so that sums run in the same order: where a ReLU is within a rounding
    # error of its kink, the last bit of a sum decides the gradient.
    network = build_mobilenet().to(memory_format=torch.channels_last)
    model = pellucid.wrap(network, class_names=imagenet_class_names(), preprocess=channels_first)
    photos = {photo.name: load_photo(photo.path)[None] for photo in demo_photos()}
    largest = 0.0
    for path in found:
        theirs = pellucid.Explanation.load(path)
        options = {k: v for k, v in theirs.parameters.items() if v is not None and k != "layer"}
        ours = pellucid.explain(model, photos["samoyed"], theirs.method, **options)
        values = ours.values
        if values.ndim == 4:
            values = values.transpose(0, 2, 3, 1)
        difference = np.abs(values - theirs.values).max() / np.abs(theirs.values).max()
        largest = max(largest, float(difference))
        print(f"{theirs.method:<22} {ours.target_names[0]:<20} {difference:.1e}")
    print(f"largest difference: {largest:.1e} of a map's maximum")


if __name__ == "__main__":
    main()
