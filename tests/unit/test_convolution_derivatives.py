"""Convolutions of few channels, differentiated by columns: the same numbers, and nothing kept."""

from typing import Any

import numpy as np
import pytest

from pellucid.explain import explain_each

torch = pytest.importorskip("torch")


def net(*layers):
    torch.manual_seed(0)
    return torch.nn.Sequential(*layers).eval()


def plain_gradient(model, x):
    given = torch.from_numpy(x).requires_grad_()
    return torch.autograd.grad(model(given)[:, 0].sum(), given)[0].numpy()


CONVOLUTIONS = {
    "one channel": lambda: torch.nn.Conv2d(1, 5, 3),
    "stride and padding": lambda: torch.nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)),
    "without bias": lambda: torch.nn.Conv2d(4, 5, 2, bias=False),
    "padded by a word": lambda: torch.nn.Conv2d(3, 5, 3, padding="same"),
    "dilated": lambda: torch.nn.Conv2d(2, 5, 3, dilation=2),
    "in groups": lambda: torch.nn.Conv2d(4, 6, 3, groups=2),
    "many channels": lambda: torch.nn.Conv2d(7, 5, 3),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("last", [False, True], ids=["as it is", "channels last"])
def test_a_convolution_s_derivative_is_its_own(name, last):
    layer = CONVOLUTIONS[name]()
    model = net(layer, torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.LazyLinear(3))
    x = np.random.default_rng(0).normal(size=(4, layer.in_channels, 8, 9)).astype(np.float32)
    model(torch.from_numpy(x))
    if last:
        model.to(memory_format=torch.channels_last)
    wanted = plain_gradient(model, x)
    for method, options in (("saliency", {"absolute": False}), ("guided_backprop", {})):
        found = explain_each(model, x, method, [0], parameters=options)[0].values
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolution_of_few_channels_keeps_its_weights_alone(channels):
    from pellucid.adapters.torch.convolutions import conv2d

    weight = torch.randn(5, channels, 3, 3)
    x = torch.randn(4, channels, 8, 8, requires_grad=True)
    node: Any = conv2d(x, weight, torch.randn(5), padding=1).grad_fn
    assert "ByColumns" in node.name()
    assert [tuple(t.shape) for t in node.saved_tensors] == [tuple(weight.shape)]


def test_a_model_that_differentiates_itself_still_has_a_gradient():
    """The derivative in the input of a convolution by columns has one itself."""

    class OwnSlope(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = net(torch.nn.Conv2d(1, 3, 3), torch.nn.Tanh(), torch.nn.Conv2d(3, 1, 3))

        def forward(self, x):
            x = x if x.requires_grad else x.detach().requires_grad_()
            with torch.enable_grad():
                slope = torch.autograd.grad(self.inside(x).sum(), x, create_graph=True)[0]
            return (slope**2).sum((2, 3))

    model, x = OwnSlope().eval(), np.random.default_rng(0).normal(size=(2, 1, 7, 7))
    x = x.astype(np.float32)
    found = explain_each(model, x, "saliency", [0], parameters={"absolute": False})[0].values
    np.testing.assert_allclose(found, plain_gradient(model, x), rtol=1e-4, atol=1e-6)


def test_a_model_that_computes_in_bfloat16_by_itself_has_a_gradient():
    """By columns its cotangent would meet weights of another type."""

    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            tail = torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(98, 3)
            self.inside = net(torch.nn.Conv2d(1, 2, 3), *tail)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.inside(x).float()

    model = Mixed().eval()
    x = np.random.default_rng(0).normal(size=(2, 1, 9, 9)).astype(np.float32)
    wanted = plain_gradient(model, x)
    for method, options in (("saliency", {"absolute": False}), ("guided_backprop", {})):
        found = explain_each(model, x, method, [0], parameters=options)[0].values
        bound = 2**-7 * np.abs(wanted).max()  # a bfloat16 has 8 bits
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
