"""Cascading randomisation of a trained network (Adebayo et al. 2018): who notices, who does not."""

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain

SIZE, CLASSES = 16, 4


def pictures(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A cross, a ring, a bar or a corner somewhere on noise."""
    draws = np.random.default_rng(seed)
    shapes = np.zeros((CLASSES, 5, 5), np.float32)
    shapes[0, 2, :] = shapes[0, :, 2] = 1
    shapes[1, [0, 4], :] = shapes[1, :, [0, 4]] = 1
    shapes[2, 2, :] = shapes[2, 1, :] = 1
    shapes[3, 0, :] = shapes[3, :, 0] = 1
    x = 0.3 * draws.normal(size=(count, 1, SIZE, SIZE)).astype(np.float32)
    y = draws.integers(CLASSES, size=count)
    for picture, label, (row, column) in zip(
        x, y, draws.integers(SIZE - 5, size=(count, 2)), strict=True
    ):
        picture[0, row : row + 5, column : column + 5] += shapes[label]
    return torch.from_numpy(x), torch.from_numpy(y)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 16, 3, padding=1)
        self.three, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16 * 64, CLASSES)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.one(x)))
        x = torch.relu(self.three(torch.relu(self.two(x))))
        return self.head(x.flatten(1))


@pytest.fixture(scope="module")
def trained() -> Net:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x, y = pictures(1500, 1)
    for epoch in range(10):
        for rows in np.array_split(np.random.default_rng(epoch).permutation(len(x)), 24):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    held, labels = pictures(300, 2)
    assert (net(held).argmax(1) == labels).float().mean() > 0.9
    return net.eval()


def randomised(net: Net, layers: tuple[str, ...], seed: int) -> Net:
    """A copy whose upper layers have the weights of a new network."""
    torch.manual_seed(seed)
    fresh, copy = Net(), Net()
    copy.load_state_dict(net.state_dict())
    for layer in layers:
        copy.get_submodule(layer).load_state_dict(fresh.get_submodule(layer).state_dict())
    return copy.eval()


def ranks(a: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(np.abs(a).ravel()))


def likeness(net: Net, other: Net, method: str, **options) -> float:
    """The mean rank correlation of |maps| of the class that the trained network sees."""
    x, y = pictures(20, 3)
    one, two = (explain(n, x, method, target=y.numpy(), **options).values for n in (net, other))
    return float(
        np.mean([np.corrcoef(ranks(a), ranks(b))[0, 1] for a, b in zip(one, two, strict=True)])
    )


def test_guided_backpropagation_hardly_sees_that_the_upper_layers_are_gone(trained):
    cascade = (("head",), ("head", "three"), ("head", "three", "two"))
    found = {
        name: [
            np.mean([likeness(trained, randomised(trained, c, s), name, **o) for s in (1, 2, 3)])
            for c in cascade
        ]
        for name, o in (
            ("saliency", {}), ("gradcam", {"layer": "three"}), ("guided_backprop", {})
        )
    }  # fmt: skip
    for step in range(len(cascade)):
        for name in ("saliency", "gradcam"):
            assert found["guided_backprop"][step] > found[name][step] + 0.1, (step, found)
