"""The network of the demo, ready to wrap."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pellucid.demo.weights import imagenet_class_names, preprocess
from pellucid.errors import MissingExtraError


class DemoModel(NamedTuple):
    """A Keras model ending in a softmax, its 1000 class names, and what prepares its input."""

    model: Any
    class_names: tuple[str, ...]
    preprocess: Callable[[np.ndarray], np.ndarray]


def demo_model() -> DemoModel:
    """Build MobileNetV2 with its ImageNet weights; input `(n, 224, 224, 3)` in [-1, 1]."""
    try:
        from pellucid.demo.mobilenet_keras import build_mobilenet
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("pellucid"):
            raise
        raise MissingExtraError(error.name or "keras", "tensorflow", "the demo network") from error
    return DemoModel(build_mobilenet(), imagenet_class_names(), preprocess)
