"""The tiny models in PyTorch: channels first, modules and functions mixed as people mix them."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.testing.tiny_numpy import BATCH_NORM_EPSILON, HEADS, LAYER_NORM_EPSILON


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


class CnnFunctional(nn.Module):
    """`(n, 3, 8, 10) -> (n, 3)`; three spellings of a functional ReLU, one convolution twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(functional.relu(self.conv1(x)), 2)
        x = torch.relu(self.conv2(x))
        x = self.conv2(x).relu_()
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


class HandWrittenAttention(nn.Module):
    """`(n, t, c) -> (n, t, c)`, as timm writes it: projections and a call of one function."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        query, key, value = (
            part(x).reshape(n, t, HEADS, c // HEADS).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    """One pre-norm transformer block, `(n, t, 8) -> (n, t, 8)`."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(8, eps=LAYER_NORM_EPSILON)
        self.attention = attention
        self.norm2 = nn.LayerNorm(8, eps=LAYER_NORM_EPSILON)
        self.mlp1 = nn.Linear(8, 16)
        self.gelu = nn.GELU()
        self.mlp2 = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        given = self.norm1(x)
        if isinstance(self.attention, nn.MultiheadAttention):
            x = x + self.attention(given, given, given, need_weights=False)[0]
        else:
            x = x + self.attention(given)
        return x + self.mlp2(self.gelu(self.mlp1(self.norm2(x))))


class Vit(nn.Module):
    """`(n, 3, 8, 6) -> (n, 3)`; torch's attention module in one block, hand-written in the next."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, stride=2)
        self.class_token = nn.Parameter(torch.zeros(1, 8))
        self.position = nn.Parameter(torch.zeros(13, 8))
        self.block1 = Block(nn.MultiheadAttention(8, HEADS, batch_first=True))
        self.block2 = Block(HandWrittenAttention(8))
        self.norm = nn.LayerNorm(8, eps=LAYER_NORM_EPSILON)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(x), 1, 8)
        tokens = torch.cat([first, tokens], dim=1) + self.position
        tokens = self.norm(self.block2(self.block1(tokens)))
        return self.head(tokens[:, 0])


CLASSES: Mapping[str, type[nn.Module]] = {
    "dense": Dense,
    "sigmoid": Sigmoid,
    "cnn": Cnn,
    "cnn_functional": CnnFunctional,
    "residual": Residual,
    "depthwise": Depthwise,
    "shared": Shared,
    "two_inputs": TwoInputs,
    "vit": Vit,
}


def build(name: str, weights: Mapping[str, np.ndarray]) -> nn.Module:
    """Build the model in inference mode, with these weights; two inputs are two arguments."""
    model = Dense(ends_in_softmax=True) if name == "dense_softmax" else CLASSES[name]()
    by_layer = {path.split(".")[-1]: module for path, module in model.named_modules()}
    by_layer |= {path.replace(".", "_"): module for path, module in model.named_modules()}
    for key, value in weights.items():
        layer, part = key.split("/")
        with torch.no_grad():
            if part == "value":
                getattr(model, layer).copy_(torch.tensor(value))
                continue
            block, _, kind = layer.rpartition("_")
            if kind in _ATTENTION:
                target = _attention_part(by_layer[f"{block}_attention"], kind, part)
                module: nn.Module | None = None
            else:
                module = by_layer[layer]
                target = getattr(module, _TORCH_NAMES.get(part, part))
            target.copy_(torch.from_numpy(_torch_order(value, module)))
    return model.eval()


_ATTENTION = ("query", "key", "value", "output")


def _attention_part(attention: nn.Module, kind: str, part: str) -> Tensor:
    """The weight or bias of one projection; torch keeps three of them in one array."""
    name = _TORCH_NAMES.get(part, part)
    if kind == "output":
        return getattr(attention.out_proj, name)
    if isinstance(attention, nn.MultiheadAttention):
        place = _ATTENTION.index(kind)
        return getattr(attention, f"in_proj_{name}").chunk(3)[place]
    return getattr(getattr(attention, kind), name)


_TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def _torch_order(value: np.ndarray, module: nn.Module | None) -> np.ndarray:
    """Put a kernel in torch's order: (out, in) or (out, in of the group, rows, columns)."""
    if value.ndim == 2:
        value = value.T
    elif value.ndim == 4 and isinstance(module, nn.Conv2d) and module.groups > 1:
        rows, columns, channels, multiplier = value.shape
        value = value.reshape(rows, columns, 1, channels * multiplier).transpose(3, 2, 0, 1)
    elif value.ndim == 4:
        value = value.transpose(3, 2, 0, 1)
    return np.array(value)  # a copy: the shared weights are read-only
