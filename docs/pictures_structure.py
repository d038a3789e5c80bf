"""The pictures of how a model is built: a small network that has learned digits."""

import numpy as np
import torch
from sklearn.datasets import load_digits

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
        self.stem, self.block = torch.nn.Conv2d(1, 8, 3, padding=1), Block()
        self.head = torch.nn.Sequential(torch.nn.Linear(8 * 64, 10), torch.nn.Softmax(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(self.block(torch.relu(self.stem(x))))
        return self.head(x.flatten(1))


def digits() -> tuple[Net, np.ndarray]:
    """The network after three times through 1500 digits, and those it has not seen."""
    pixels, classes = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for rows in [rows for _ in range(3) for rows in torch.randperm(1500).split(50)]:
        optimizer.zero_grad()
        found = net(torch.from_numpy(x)[rows])[range(len(rows)), torch.from_numpy(classes)[rows]]
        (-found.log().mean()).backward()
        optimizer.step()
    return net.eval(), x[1500:]


def structure() -> str:
    """The graph of the network as it reads one digit."""
    net, x = digits()
    return pellucid.inspect(net, x[:1]).to_svg()


PICTURES = {"structure.svg": structure}
