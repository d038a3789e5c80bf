"""TensorLayerX on TensorFlow, in a process of its own: its backend is chosen at import."""

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import warnings

warnings.simplefilter("ignore")  # TensorLayerX names TensorFlow 2.4.0 as its backend
import numpy as np
import tensorflow as tf
import tensorlayerx as tlx
from pellucid import explain, wrap
from pellucid.testing import check_adapter

class Net(tlx.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = tlx.nn.Conv2d(4, (3, 3), in_channels=3, act=tlx.ReLU, name="conv")
        self.norm = tlx.nn.BatchNorm2d(num_features=4, name="norm")
        self.flat = tlx.nn.Flatten(name="flat")
        self.drop = tlx.nn.Dropout(0.5)
        self.head = tlx.nn.Linear(3, in_features=8 * 6 * 4, name="head")

    def forward(self, x):
        return self.head(self.drop(self.flat(self.norm(self.conv(x)))))

net = Net()
net.set_train()
x = np.random.default_rng(0).normal(size=(4, 8, 6, 3)).astype("float32")
weights = [v.numpy() for v in net.all_weights]
model = wrap(net)
e = explain(model, x, "saliency", target=1)
assert (model.framework, list(e.provenance["notes"])) == ("tensorlayerx", ["compiled trace"])
assert [i.path for i in model.layers(x)] == ["conv", "norm", "flat", "drop", "head"]
assert explain(model, x, "gradcam", layer="conv").values.shape == (4, 8, 6)
assert net.is_train and net.norm.is_train
for before, after in zip(weights, net.all_weights, strict=True):
    np.testing.assert_array_equal(before, after.numpy())
net.set_eval()
with tf.GradientTape() as tape:
    tape.watch(given := tf.constant(x))
    score = net(given)[:, 1]
np.testing.assert_allclose(e.values, tape.gradient(score, given), rtol=1e-4, atol=1e-6)
check_adapter(model, x, state=lambda: [v.numpy() for v in net.all_weights])
print("agrees")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("tensorlayerx") is None,
    reason="TensorLayerX 0.5.8 asks for six 1.15.0, older than TensorFlow's; it runs when"
    " installed by `pip install --no-deps tensorlayerx`",
)
def test_a_module_is_explained_by_the_rules_of_tensorlayer():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"TL_BACKEND": "tensorflow"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "agrees" in done.stdout
