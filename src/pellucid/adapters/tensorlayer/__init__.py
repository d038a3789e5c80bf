"""TensorLayer 2 models, static, dynamic and nested."""

from typing import Any

from pellucid.adapters.tensorflow import TensorFlowAdapter
from pellucid.adapters.tensorlayer.model import TensorLayerModel

__all__ = ["TensorLayerModel", "tensorlayer_adapter"]


def tensorlayer_adapter(model: Any) -> TensorFlowAdapter:
    """The TensorFlow adapter over TensorLayer's rules."""
    return TensorFlowAdapter(TensorLayerModel(model))
