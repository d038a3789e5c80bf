"""Networks with hand-set weights as `torch.nn.Sequential`."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from pellucid.testing.known.network import HandSet


class Square(nn.Module):
    """z², the activation by which products are made of layers."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z * z


def build(network: "HandSet") -> nn.Sequential:
    """A `HandSet` in evaluation mode; pictures are `(n, c, h, w)`, of which `Dense` sees one."""
    from pellucid.testing.known.network import Convolution, Dense

    modules: list[nn.Module] = []
    for layer in network.layers:
        if isinstance(layer, Dense):
            own: Any = nn.Linear(*layer.weight.shape)
            weight, bias = layer.weight.T, layer.bias
            modules += [nn.Flatten(), own]
        elif isinstance(layer, Convolution):
            kernel = layer.kernel
            own = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2], padding="same")
            weight, bias = kernel.transpose(3, 2, 0, 1), layer.bias
            modules.append(own)
        else:
            own = nn.Embedding(*layer.table.shape)
            weight, bias = layer.table, None
            modules.append(own)
        with torch.no_grad():
            own.weight.copy_(_tensor(weight))
            if bias is not None:
                own.bias.copy_(_tensor(bias))
        if layer.activation:
            modules.append(nn.ReLU() if layer.activation == "relu" else Square())
    return nn.Sequential(*modules).eval()


def _tensor(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(a, dtype=np.float32))
