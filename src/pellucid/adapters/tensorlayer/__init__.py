"""TensorLayer 2 models, static, dynamic and nested, and TensorLayerX modules on TensorFlow."""

from typing import Any

from pellucid.adapters.tensorflow import TensorFlowAdapter

__all__ = ["tensorlayer_adapter", "tensorlayerx_adapter"]


def tensorlayer_adapter(model: Any) -> TensorFlowAdapter:
    """The TensorFlow adapter over TensorLayer's rules."""
    from pellucid.adapters.tensorlayer.model import TensorLayerModel

    return TensorFlowAdapter(TensorLayerModel(model))


def tensorlayerx_adapter(model: Any) -> TensorFlowAdapter:
    """The TensorFlow adapter over TensorLayerX's rules; does not import TensorLayer."""
    from pellucid.adapters.tensorlayer.modules import TensorLayerXModule

    return TensorFlowAdapter(TensorLayerXModule(model))
