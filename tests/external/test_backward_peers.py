"""Captum and shap as outside oracles of guided backprop, deconvolution, DeepLIFT and DeepSHAP.

Where they are right the numbers agree to 1e-4 of the map's maximum. Where they are silently wrong
the truth is the tape of `pellucid.testing.oracles_backward`, or the sum that both claim to keep.
"""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain
from pellucid.testing import build
from pellucid.testing.oracles_backward import multipliers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the peers' own imports; nothing of ours
    from captum.attr import Deconvolution, DeepLift, DeepLiftShap, GuidedBackprop

pytestmark = [
    pytest.mark.slow,
    # Captum says that it registers hooks, and shap uses them.
    pytest.mark.filterwarnings("ignore"),
]
OF_MAXIMUM = 1e-4
DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(4, 3, 12, 12)).astype(np.float32) for _ in range(2))


def network(*, pool: bool = False) -> nn.Sequential:
    """Modules only, each used once, which is what the peers ask for."""
    torch.manual_seed(0)
    between = nn.MaxPool2d(2) if pool else nn.AvgPool2d(2)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), between, nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.AvgPool2d(3), nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3),
    ).eval()  # fmt: skip


def off(found: np.ndarray, oracle) -> float:
    oracle = oracle.detach().numpy() if isinstance(oracle, torch.Tensor) else np.asarray(oracle)
    assert found.shape == oracle.shape
    return float(np.abs(found - oracle).max() / np.abs(oracle).max())


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(
    ("method", "peer"), [("guided_backprop", GuidedBackprop), ("deconvnet", Deconvolution)]
)
def test_gates_are_those_of_captum_where_every_relu_is_a_module(method, peer, pool):
    net = network(pool=pool)
    oracle = peer(net).attribute(torch.from_numpy(X), target=1)
    assert off(explain(network(pool=pool), X, method, target=1).values, oracle) < OF_MAXIMUM


def test_deeplift_is_captum_s_without_max_pools():
    oracle, delta = DeepLift(network()).attribute(
        torch.from_numpy(X), torch.from_numpy(B), target=1, return_convergence_delta=True
    )
    e = explain(network(), X, "deeplift", baseline=B, target=1)
    assert off(e.values, oracle) < OF_MAXIMUM
    assert np.abs(delta.numpy()).max() < 1e-4


def test_deep_shap_is_captum_s_without_max_pools():
    oracle = DeepLiftShap(network()).attribute(torch.from_numpy(X), torch.from_numpy(B), target=1)
    e = explain(network(), X, "deep_shap", background=B, target=1)
    assert off(e.values, oracle) < OF_MAXIMUM


def test_captum_s_max_pools_do_not_add_up_and_ours_do():
    _, delta = DeepLift(network(pool=True)).attribute(
        torch.from_numpy(X), torch.from_numpy(B), target=1, return_convergence_delta=True
    )
    e = explain(network(pool=True), X, "deeplift", baseline=B, target=1)
    missing = np.abs(delta.numpy()) / np.abs(e.score - e.baseline_score)
    assert missing.max() > 1e-3
    assert e.gap.max() < 1e-4


@pytest.mark.parametrize("pool", [False, True])
def test_deep_shap_is_shap_s_in_torch(pool):
    import shap

    oracle = shap.DeepExplainer(network(pool=pool), torch.from_numpy(B)).shap_values(
        torch.from_numpy(X)
    )
    e = explain(network(pool=pool), X, "deep_shap", background=B, target=1)
    assert off(e.values, oracle[..., 1]) < OF_MAXIMUM


@pytest.mark.parametrize("pool", [False, True])
def test_deep_shap_is_shap_s_in_keras(pool):
    import keras
    import shap
    from keras import layers as L

    keras.utils.set_random_seed(0)
    between = L.MaxPooling2D(2) if pool else L.AveragePooling2D(2)
    model = keras.Sequential(
        [keras.Input((12, 12, 3)), L.Conv2D(6, 3, activation="relu"), between,
         L.Conv2D(8, 3, activation="relu"), L.Flatten(), L.Dense(3)]
    )  # fmt: skip
    x, b = np.moveaxis(X, 1, -1).copy(), np.moveaxis(B, 1, -1).copy()
    oracle = shap.DeepExplainer(model, b).shap_values(x)
    e = explain(model, x, "deep_shap", background=b, target=1)
    assert off(e.values, oracle[..., 1]) < OF_MAXIMUM


class Twice(nn.Module):
    """One ReLU module used twice, or in line."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8, 3)
        self.relu, self.inplace = nn.ReLU(), inplace

    def forward(self, x):
        if self.inplace:
            return self.head(self.two(self.one(x).relu_()).relu_().mean((2, 3)))
        return self.head(self.relu(self.two(self.relu(self.one(x)))).mean((2, 3)))


def test_functional_relus_are_invisible_to_captum_and_not_to_us():
    model, x = build("cnn_functional", "torch")
    target = model(torch.from_numpy(x)).argmax(1)
    picture = np.moveaxis(x, 1, -1)
    (truth,) = multipliers("cnn_functional", [picture], [0 * picture], target.numpy(), "guided")
    truth = np.moveaxis(truth, -1, 1)
    found = explain(model, x, "guided_backprop").values
    peer = GuidedBackprop(model).attribute(torch.from_numpy(x), target=target).detach().numpy()
    assert off(found, truth) < 1e-5
    assert off(peer, truth) > 0.1


@pytest.mark.parametrize("inplace", [False, True])
def test_relus_used_twice_or_in_line(inplace):
    """Written with a module for each use, which is the same network, the peers are right."""
    net = Twice(inplace).eval()
    apart = nn.Sequential(
        net.one, nn.ReLU(), net.two, nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), net.head
    )
    truth = DeepLift(apart).attribute(torch.from_numpy(X), torch.from_numpy(B), target=1)
    e = explain(Twice(inplace).eval(), X, "deeplift", baseline=B, target=1)
    assert off(e.values, truth) < OF_MAXIMUM
    assert e.gap.max() < 1e-4
    try:
        peer, delta = DeepLift(Twice(inplace).eval()).attribute(
            torch.from_numpy(X), torch.from_numpy(B), target=1, return_convergence_delta=True
        )
    except (RuntimeError, AttributeError, AssertionError):
        return  # refused, which is the better of the two
    assert off(peer.detach().numpy(), truth) > 1e-3
    assert np.abs(delta.numpy()).max() > 1e-3
