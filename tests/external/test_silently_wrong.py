"""Where hooks on modules see only part of a network, peers return a wrong map and no word.

One network with two max-pools, written with modules, with functions, and with modules made while it
runs. The truth is NumPy by the papers (`pellucid.testing`), to which ours agree for each way of
writing, and which the peer misses by a hundredth of the map's maximum at least.
"""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pellucid import explain
from pellucid.testing.nodes import Node, send_back
from pellucid.testing.oracles_backward import Tape
from pellucid.testing.oracles_lrp import Descent, handed_down

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the peers' own imports; nothing of ours
    from captum.attr import LRP, Deconvolution, DeepLift, GuidedBackprop

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
OURS, MISSES = 1e-5, 0.01
CLASS = 1
DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(3, 3, 12, 12)).astype(np.float32) for _ in range(2))


class TwoPools(nn.Module):
    """Convolution, ReLU and max-pool twice, a mean of positions, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)
        self.relus = nn.ModuleList([nn.ReLU(), nn.ReLU()])
        self.pools = nn.ModuleList([nn.MaxPool2d(2), nn.MaxPool2d(2)])
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.pools[0](self.relus[0](self.one(x)))
        x = self.pools[1](self.relus[1](self.two(x)))
        return self.head(self.mean(x).flatten(1))

    def weights(self) -> dict[str, np.ndarray]:
        found = {}
        for name in ("one", "two", "head"):
            layer = getattr(self, name)
            order = (2, 3, 1, 0) if layer.weight.ndim == 4 else (1, 0)
            found[f"{name}/kernel"] = layer.weight.detach().numpy().transpose(order)
            found[f"{name}/bias"] = layer.bias.detach().numpy()
        return found


class FunctionalReLU(TwoPools):
    def forward(self, x):
        x = self.pools[0](functional.relu(self.one(x)))
        x = self.pools[1](torch.relu(self.two(x)))
        return self.head(self.mean(x).flatten(1))


class ReLUMadeInLine(TwoPools):
    def forward(self, x):
        x = self.pools[0](nn.ReLU()(self.one(x)))
        x = self.pools[1](self.two(x).relu_())
        return self.head(self.mean(x).flatten(1))


class FunctionalMean(TwoPools):
    def forward(self, x):
        x = self.pools[0](self.relus[0](self.one(x)))
        x = self.pools[1](self.relus[1](self.two(x)))
        return self.head(x.mean((2, 3)))


def in_numpy(run, x):
    x = run.max_pool(run.relu(run.conv(x, "one")))
    x = run.max_pool(run.relu(run.conv(x, "two")))
    return run.dense(x.mean(axis=(1, 2)), "head")


def truth(method: str) -> np.ndarray:
    x, b = (np.moveaxis(a, 1, -1).astype(float) for a in (X, B))
    weights = TwoPools().weights()
    if method == "lrp":
        (found,) = handed_down(
            Descent(weights, {"linear": "epsilon"}), in_numpy, [x], np.full(len(X), CLASS)
        )
    else:
        rule = {"deeplift": "rescale", "guided_backprop": "guided"}.get(method, method)
        leaf = Node(x, b)
        send_back(in_numpy(Tape(weights, rule), leaf), np.eye(3)[[CLASS] * len(X)])
        found = (x - b) * leaf.total if method == "deeplift" else leaf.total
    return np.moveaxis(found, -1, 1)


OPTIONS = {"deeplift": {"baseline": B}, "lrp": {"composite": "epsilon"}}


def by_captum(method: str, net: nn.Module) -> np.ndarray:
    x, b = torch.from_numpy(X), torch.from_numpy(B)
    makers: dict[str, Callable] = {
        "guided_backprop": lambda: GuidedBackprop(net).attribute(x, CLASS),
        "deconvnet": lambda: Deconvolution(net).attribute(x, CLASS),
        "deeplift": lambda: DeepLift(net).attribute(x, b, CLASS),
        "lrp": lambda: LRP(net).attribute(x, CLASS),
    }
    return makers[method]().detach().numpy()


def by_zennit(net: nn.Module) -> np.ndarray:
    composites = pytest.importorskip(
        "zennit.composites",
        reason="zennit comes with torchvision, which `make test-peers` installs",
    )
    from zennit import rules
    from zennit.attribution import Gradient
    from zennit.types import Activation, AvgPool, Linear

    kinds = [(Activation, rules.Pass()), (AvgPool, rules.Norm(1e-9)), (Linear, rules.Epsilon(1e-9))]
    with Gradient(net, composites.LayerMapComposite(kinds)) as attributor:
        hot = functional.one_hot(torch.full((len(X),), CLASS), 3)
        return attributor(torch.from_numpy(X), lambda y: y * hot)[1].detach().numpy()


def off(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.abs(found - true).max() / np.abs(true).max())


@pytest.mark.parametrize("network", [TwoPools, FunctionalReLU, ReLUMadeInLine, FunctionalMean])
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "deeplift", "lrp"])
def test_ours_are_right_however_the_network_is_written(method, network):
    options = OPTIONS.get(method, {})
    found = explain(network().eval(), X, method, target=CLASS, **options).values
    assert off(found, truth(method)) < OURS


@pytest.mark.parametrize(
    ("method", "network"),
    [
        ("guided_backprop", FunctionalReLU),
        ("guided_backprop", ReLUMadeInLine),
        ("deconvnet", FunctionalReLU),
        ("deconvnet", ReLUMadeInLine),
        ("deeplift", FunctionalReLU),
        ("deeplift", ReLUMadeInLine),
        ("deeplift", TwoPools),
        ("lrp", FunctionalMean),
    ],
)
def test_captum_is_silently_wrong(method, network):
    assert off(by_captum(method, network().eval()), truth(method)) > MISSES


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "lrp"])
def test_captum_is_right_where_every_operation_is_a_module_of_its_own(method):
    assert off(by_captum(method, TwoPools().eval()), with_the_peers_margin(method)) < 1e-4


def test_zennit_is_silently_wrong_on_a_functional_mean_and_right_on_a_module():
    assert off(by_zennit(FunctionalMean().eval()), truth("lrp")) > MISSES
    assert off(by_zennit(TwoPools().eval()), with_the_peers_margin("lrp")) < 1e-4


def with_the_peers_margin(method: str) -> np.ndarray:
    """The truth; of LRP, ours with an ε of 1e-9, not of 1e-6 of a layer's largest value."""
    if method != "lrp":
        return truth(method)
    options = {"composite": "epsilon", "epsilon": 1e-9, "absolute": True}
    return explain(TwoPools().eval(), X, "lrp", target=CLASS, **options).values
