"""Keras models on TensorFlow, `tf.Module`s, SavedModels and functions of tensors."""

from pellucid.adapters.tensorflow.adapter import TensorFlowAdapter

__all__ = ["TensorFlowAdapter"]
