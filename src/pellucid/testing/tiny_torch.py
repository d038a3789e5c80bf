"""The tiny models in PyTorch: channels first, modules and functions mixed as people mix them."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON


class Dense(nn.Module):
    """`(n, 6) -> (n, 3)`; one ReLU module called twice, a softmax on top if asked."""

    def __init__(self, ends_in_softmax: bool = False) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(6, 8)
        self.hidden2 = nn.Linear(8, 7)
        self.head = nn.Linear(7, 3)
        self.relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=-1) if ends_in_softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.hidden1(x))
        x = self.relu(self.hidden2(x))
        return self.softmax(self.head(x))


class Sigmoid(nn.Module):
    """`(n, 6) -> (n, 1)`, a functional sigmoid at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(6, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.head(functional.relu(self.hidden1(x))))


class Cnn(nn.Module):
    """`(n, 3, 12, 10) -> (n, 3)`; one in-place ReLU module called twice, the mean a method."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.relu(self.conv2(x))
        return self.head(x.mean(dim=(2, 3)))


class Residual(nn.Module):
    """`(n, 3, 8, 6) -> (n, 3)`; functional ReLUs, batch norm with statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(6, eps=BATCH_NORM_EPSILON)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(6, eps=BATCH_NORM_EPSILON)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm1(self.conv1(x)))
        x = functional.relu(x + self.norm2(self.conv2(x)))
        return self.head(torch.flatten(self.average(x), 1))


class Depthwise(nn.Module):
    """`(n, 4, 8, 6) -> (n, 3)`; each input channel makes two, then a 1 by 1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.depthwise(x))
        x = functional.relu(self.pointwise(x))
        return self.head(x.mean(dim=(2, 3)))


class Encoder(nn.Module):
    """`(n, 6) -> (n, 5)`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder1 = nn.Linear(6, 8)
        self.encoder2 = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.encoder2(functional.relu(self.encoder1(x))))


class Shared(nn.Module):
    """`(n, 6), (n, 6) -> (n, 3)`; the same encoder reads both inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.hidden = nn.Linear(10, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        joined = torch.cat([self.encoder(left), self.encoder(right)], dim=1)
        return self.head(functional.relu(self.hidden(joined)))


class TwoInputs(nn.Module):
    """An image `(n, 3, 8, 6)` and a row of a table `(n, 5)` `-> (n, 3)`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.table = nn.Linear(5, 6)
        self.hidden = nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        seen = functional.relu(self.conv(image)).mean(dim=(2, 3))
        joined = torch.cat([seen, functional.relu(self.table(table))], dim=1)
        return self.head(functional.relu(self.hidden(joined)))


CLASSES: Mapping[str, type[nn.Module]] = {
    "dense": Dense,
    "sigmoid": Sigmoid,
    "cnn": Cnn,
    "residual": Residual,
    "depthwise": Depthwise,
    "shared": Shared,
    "two_inputs": TwoInputs,
}


def build(name: str, weights: Mapping[str, np.ndarray]) -> nn.Module:
    """Build the model in inference mode, with these weights; two inputs are two arguments."""
    model = Dense(ends_in_softmax=True) if name == "dense_softmax" else CLASSES[name]()
    by_layer = {path.split(".")[-1]: module for path, module in model.named_modules()}
    for key, value in weights.items():
        layer, part = key.split("/")
        module = by_layer[layer]
        target = getattr(module, _TORCH_NAMES.get(part, part))
        with torch.no_grad():
            target.copy_(torch.from_numpy(_torch_order(value, module)))
    return model.eval()


_TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def _torch_order(value: np.ndarray, module: nn.Module) -> np.ndarray:
    """Put a kernel in torch's order: (out, in) or (out, in of the group, rows, columns)."""
    if value.ndim == 2:
        value = value.T
    elif value.ndim == 4 and isinstance(module, nn.Conv2d) and module.groups > 1:
        rows, columns, channels, multiplier = value.shape
        value = value.reshape(rows, columns, 1, channels * multiplier).transpose(3, 2, 0, 1)
    elif value.ndim == 4:
        value = value.transpose(3, 2, 0, 1)
    return np.array(value)  # a copy: the shared weights are read-only
