"""Evaluations are counted at the model: a model that counts its own rows agrees."""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap

METHODS = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 3},
    "gradcam": {"layer": "features"},
    "gradcam_plus_plus": {"layer": "features"},
    "hirescam": {"layer": "features"},
    "xgradcam": {"layer": "features"},
    "layercam": {"layer": "features"},
    "eigencam": {"layer": "features"},
    "scorecam": {"layer": "features"},
    "ablationcam": {"layer": "features"},
    "guided_backprop": {},
    "deconvnet": {},
    "guided_gradcam": {"layer": "features"},
    "occlusion": {"window": 3},
    "lime": {"features": "grid:3", "budget": 30},
    "rise": {"budget": 30},
    "sobol": {"budget": 80, "features": "grid:3"},
    "hsic": {"budget": 30},
    "random": {},
    "constant": {},
}


class Counting(torch.nn.Module):
    """Counts the rows above its layer, where a cut's suffix has as many as it is given."""

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = torch.nn.Conv2d(3, 4, 3)
        self.head = torch.nn.Linear(4, 3)
        self.softmax = softmax
        self.rows = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.features(x)
        self.rows += len(features)
        out = self.head(features.mean(dim=(2, 3)))
        return out.softmax(1) if self.softmax else out


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("output", ["auto", "probability"])
def test_a_torch_model_s_own_count_agrees(method, softmax, output):
    net = Counting(softmax).eval()
    x = np.random.default_rng(0).normal(size=(3, 3, 6, 6)).astype(np.float32)
    wrapped = wrap(net, output=output)
    for model in (wrapped, wrapped, wrap(net, output=output)):
        net.rows = 0
        e = explain(model, x, method, **METHODS[method])
        # A replayed suffix calls the module but computes only what is above the layer.
        assert net.rows == e.evaluations.forward + e.evaluations.suffix


def test_the_search_for_a_layer_is_counted():
    net = Counting(True).eval()
    x = np.random.default_rng(0).normal(size=(3, 3, 6, 6)).astype(np.float32)
    model = wrap(net)
    first, second = (explain(model, x, "gradcam").evaluations for _ in range(2))
    assert first.forward == 4, "one row more, to see which layer has the input's spatial axes"
    assert second.forward == 3


def test_a_function_s_own_count_agrees():
    rows = []

    def function(x: np.ndarray) -> np.ndarray:
        rows.append(len(x))
        return x.reshape(len(x), -1) @ np.arange(36.0).reshape(12, 3)

    x = np.random.default_rng(0).normal(size=(4, 2, 6))
    for method in ("occlusion", "constant", "random", "edges"):
        rows.clear()
        e = explain(function, x, method)
        assert sum(rows) == e.evaluations.forward
