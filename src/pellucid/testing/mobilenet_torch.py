"""MobileNetV2 in plain PyTorch, with the weights the demo has in Keras: a model of real size."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.demo.weights import FoldedLayer, mobilenet_layers

# Expansion of the channels, output channels, number of blocks, stride of the first (Sandler et
# al. 2018, table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: with stride 2, more below and to the right."""

    def forward(self, input: Tensor) -> Tensor:
        (top, bottom), (left, right) = (
            _same_padding(length, kernel, stride)
            for length, kernel, stride in zip(
                input.shape[2:], self.kernel_size, self.stride, strict=True
            )
        )
        return super().forward(functional.pad(input, (left, right, top, bottom)))


class ConvReLU6(nn.Sequential):
    """A convolution with its batch norm folded in, then ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            SameConv2d(inputs, outputs, kernel, stride, groups=groups), nn.ReLU6(inplace=True)
        )


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [ConvReLU6(inputs, hidden, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvReLU6(hidden, hidden, 3, stride, groups=hidden),
            SameConv2d(hidden, outputs, 1),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds_input else self.conv(x)


class MobileNetV2(nn.Module):
    """`(n, 3, 224, 224)` in [-1, 1] to the probabilities of 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [ConvReLU6(3, 32, 3, stride=2)]
        channels = 32
        for expansion, outputs, count, first_stride in STAGES:
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, outputs, stride, expansion))
                channels = outputs
        blocks.append(ConvReLU6(channels, 1280, 1))
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(nn.Linear(1280, 1000), nn.Softmax(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def build_mobilenet() -> MobileNetV2:
    """Build the model in inference mode with the demo's ImageNet weights."""
    model = MobileNetV2()
    *folded, classifier = mobilenet_layers()
    convolutions = [module for module in model.modules() if isinstance(module, SameConv2d)]
    with torch.no_grad():
        for layer, convolution in zip(folded, convolutions, strict=True):
            convolution.weight.copy_(_torch_kernel(layer))
            _copy_bias(convolution, layer)
        head = model.classifier[0]
        assert isinstance(head, nn.Linear)
        head.weight.copy_(torch.from_numpy(classifier.kernel[0, 0].T.copy()))
        _copy_bias(head, classifier)
    return model.eval()


def _torch_kernel(layer: FoldedLayer) -> Tensor:
    """Kernel as (out, in of the group, rows, columns)."""
    axes = (2, 3, 0, 1) if layer.depthwise else (3, 2, 0, 1)
    return torch.from_numpy(layer.kernel.transpose(axes).copy())


def _copy_bias(module: nn.Conv2d | nn.Linear, layer: FoldedLayer) -> None:
    assert module.bias is not None
    module.bias.copy_(torch.from_numpy(layer.bias.copy()))


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis."""
    total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2
