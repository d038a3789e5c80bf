"""The pictures of how a model is built."""

from typing import Any

import numpy as np
import torch

import pellucid


class Block(torch.nn.Module):
    """A convolution that is added to what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


class Net(torch.nn.Module):
    """A stem, one block used twice, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = torch.nn.Conv2d(3, 8, 3, stride=2), Block()
        self.head = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.Softmax(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(self.block(torch.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


def structure() -> Any:
    """The graph of a small network."""
    return pellucid.inspect(Net().eval(), np.zeros((1, 3, 32, 32), np.float32)).to_svg()


PICTURES = {"structure.svg": structure}
