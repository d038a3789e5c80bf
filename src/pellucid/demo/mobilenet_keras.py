"""MobileNetV2 as Keras itself builds it, filled with the demo's weights; nothing is downloaded."""

from typing import Any

import keras
import numpy as np
from keras import layers

from pellucid.demo.weights import mobilenet_layers


def build_mobilenet() -> keras.Model:
    """Build the model: `(n, 224, 224, 3)` in [-1, 1] to the probabilities of 1000 classes."""
    applications: Any = keras.applications  # its stubs do not know `weights=None`
    model = applications.MobileNetV2(weights=None, classes=1000)
    *folded, classifier = mobilenet_layers()
    convolutions = _of_types(model, layers.Conv2D, layers.DepthwiseConv2D)
    norms = _of_types(model, layers.BatchNormalization)
    for layer, convolution, norm in zip(folded, convolutions, norms, strict=True):
        convolution.set_weights([layer.kernel])
        ones, zeros = np.ones_like(layer.bias), np.zeros_like(layer.bias)
        # The batch norm is in the kernel already: this one only adds the bias.
        # In float64, so that in a float64 model variance + epsilon is 1 to the last bit.
        variance = ones.astype(np.float64) - norm.epsilon
        norm.set_weights([ones, layer.bias, zeros, variance])
    head = model.get_layer("predictions")
    head.set_weights([classifier.kernel[0, 0], classifier.bias])
    return model


def _of_types(model: Any, *types: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, types)]
