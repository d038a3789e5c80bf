"""DeepSHAP over two max-pools in Keras, ours and shap's.

The truth is DeepLIFT in NumPy by the papers, once for each row of the background.
"""

import keras
import numpy as np
import pytest
from keras import layers as L

from pellucid import explain
from pellucid.testing.nodes import Node, send_back
from pellucid.testing.oracles_backward import Tape

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CLASS = 1
DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(4, 12, 12, 3)).astype(np.float32) for _ in range(2))


def network(pools: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            L.Conv2D(6, 3, padding="same", activation="relu", name="one"),
            *[L.MaxPooling2D(2)] * (pools > 0),
            L.Conv2D(8, 3, padding="same", activation="relu", name="two"),
            *[L.MaxPooling2D(2)] * (pools > 1),
            L.Flatten(),
            L.Dense(3, name="head"),
        ]
    )


def truth(model: keras.Model, pools: int) -> np.ndarray:
    weights = {}
    for name in ("one", "two", "head"):
        kernel, bias = model.get_layer(name).get_weights()
        weights |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    tape, total = Tape(weights, "rescale"), np.zeros(X.shape)
    for row in B.astype(float):
        leaf = Node(X.astype(float), np.broadcast_to(row, X.shape))
        h = tape.relu(tape.conv(leaf, "one"))
        h = tape.max_pool(h) if pools > 0 else h
        h = tape.relu(tape.conv(h, "two"))
        h = tape.max_pool(h) if pools > 1 else h
        shape = h.shape
        flat = h.linear(lambda v: v.reshape(len(X), -1), lambda m, s=shape: m.reshape(s))
        send_back(tape.dense(flat, "head"), np.eye(3)[[CLASS] * len(X)])
        total += (X - row) * leaf.total
    return total / len(B)


def off(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.abs(found - true).max() / np.abs(true).max())


@pytest.mark.parametrize("pools", [0, 1, 2])
def test_ours_are_right_over_any_number_of_max_pools(pools):
    model = network(pools)
    found = explain(model, X, "deep_shap", background=B, target=CLASS).values
    assert off(found, truth(model, pools)) < 1e-5


@pytest.mark.parametrize("pools", [0, 1, 2])
def test_shap_is_as_right_on_this_network(pools):
    import shap

    model = network(pools)
    peer = shap.DeepExplainer(model, B).shap_values(X)[..., CLASS]
    assert off(peer, truth(model, pools)) < 1e-4
