"""PyTorch modules and functions of tensors."""

from pellucid.adapters.torch.adapter import TorchAdapter

__all__ = ["TorchAdapter"]
