"""ONNX models, run by ONNX Runtime."""

from pellucid.adapters.onnx.adapter import OnnxAdapter

__all__ = ["OnnxAdapter"]
