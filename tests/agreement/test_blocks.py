"""Two blocks of today's networks under every backward rule, in torch, JAX and Keras.

A residual block of LayerNorm and GELU on rows, and a residual block of a depthwise convolution on
pictures, with one set of weights; the truth is NumPy by the papers (`pellucid.testing`).
"""

import jax
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pellucid import explain
from pellucid.testing import tiny_jax
from pellucid.testing.nodes import Node, send_back
from pellucid.testing.oracles_backward import Tape
from pellucid.testing.oracles_lrp import Descent, handed_down

DRAWS = np.random.default_rng(7)
SHAPES = {
    "norm": {"enter": (5, 8), "up": (8, 12), "down": (12, 8), "head": (8, 3)},
    "depthwise": {"enter": (3, 3, 3, 4), "deep": (3, 3, 4, 1), "point": (1, 1, 4, 4),
                  "head": (4, 3)},
}  # fmt: skip
INPUTS = {
    name: tuple(DRAWS.normal(size=(3, *shape)).astype(np.float32) for _ in range(2))
    for name, shape in {"norm": (5,), "depthwise": (6, 5, 3)}.items()
}
TARGETS = np.array([0, 2, 1])


def draw(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    found = {}
    for name, shape in shapes.items():
        size = shape[2] * shape[3] if name == "deep" else shape[-1]
        spread = np.sqrt(2 / max(np.prod(shape[:-1]), 2))
        found[f"{name}/kernel"] = (DRAWS.normal(size=shape) * spread).astype(np.float32)
        found[f"{name}/bias"] = (DRAWS.normal(size=size) * 0.2).astype(np.float32)
    return found


WEIGHTS = {name: draw(shapes) for name, shapes in SHAPES.items()}
for layer in ("first", "last"):
    WEIGHTS["norm"][f"{layer}/gamma"] = (1 + 0.2 * DRAWS.normal(size=8)).astype(np.float32)
    WEIGHTS["norm"][f"{layer}/beta"] = (0.2 * DRAWS.normal(size=8)).astype(np.float32)


def norm_forward(run, x):
    """Written once for the oracles."""
    x = run.dense(x, "enter")
    x = x + run.dense(run.gelu(run.dense(run.layer_norm(x, "first"), "up")), "down")
    return run.dense(run.layer_norm(x, "last"), "head")


def depthwise_forward(run, x):
    x = run.relu(run.conv(x, "enter"))
    branch = run.conv(run.relu(run.depthwise(x, "deep")), "point")
    return run.dense(run.relu(x + branch).mean(axis=(1, 2)), "head")


FORWARDS = {"norm": norm_forward, "depthwise": depthwise_forward}


class NormBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.up, self.down = nn.Linear(5, 8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.head, self.first, self.last = nn.Linear(8, 3), nn.LayerNorm(8), nn.LayerNorm(8)

    def forward(self, x):
        x = self.enter(x)
        x = x + self.down(functional.gelu(self.up(self.first(x))))
        return self.head(self.last(x))


class DepthwiseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.point, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu(self.enter(x))
        branch = self.point(functional.relu(self.deep(x)))
        return self.head(functional.relu(x + branch).mean(dim=(2, 3)))


def in_torch(name: str) -> nn.Module:
    net = {"norm": NormBlock, "depthwise": DepthwiseBlock}[name]().eval()
    with torch.no_grad():
        for key, value in WEIGHTS[name].items():
            layer, part = key.split("/")
            if value.ndim == 4:
                rows = value.reshape(*value.shape[:2], 1, -1) if layer == "deep" else value
                value = rows.transpose(3, 2, 0, 1)
            elif value.ndim == 2:
                value = value.T
            module = net.get_submodule(layer)
            own = module.weight if part in {"kernel", "gamma"} else module.bias
            own.copy_(torch.from_numpy(np.array(value)))
    return net


def in_jax(name: str):
    params: dict[str, dict[str, np.ndarray]] = {}
    for key, value in WEIGHTS[name].items():
        layer, part = key.split("/")
        params.setdefault(layer, {})[part] = value
    dense, conv, norm = tiny_jax.dense, tiny_jax.conv, tiny_jax.layer_norm

    def norm_block(w, x):
        x = dense(w, x, "enter")
        hidden = jax.nn.gelu(dense(w, norm(w, x, "first"), "up"), approximate=False)
        return dense(w, norm(w, x + dense(w, hidden, "down"), "last"), "head")

    def depthwise_block(w, x):
        x = jax.nn.relu(conv(w, x, "enter"))
        branch = conv(w, jax.nn.relu(tiny_jax.depthwise(w, x, "deep")), "point")
        return dense(w, jax.nn.relu(x + branch).mean(axis=(1, 2)), "head")

    return {"norm": norm_block, "depthwise": depthwise_block}[name], params


def in_keras(name: str):
    from keras import Input, Model, layers

    def dense(size, key):
        return layers.Dense(size, name=key)

    if name == "norm":
        start = Input((5,))
        x = dense(8, "enter")(start)
        hidden = dense(12, "up")(layers.LayerNormalization(epsilon=1e-5, name="first")(x))
        x = layers.Add()([x, dense(8, "down")(layers.Activation("gelu")(hidden))])
        end = dense(3, "head")(layers.LayerNormalization(epsilon=1e-5, name="last")(x))
    else:
        start = Input((6, 5, 3))
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name="enter")(start)
        branch = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="deep")(x)
        x = layers.ReLU()(layers.Add()([x, layers.Conv2D(4, 1, name="point")(branch)]))
        end = dense(3, "head")(layers.GlobalAveragePooling2D()(x))
    model = Model(start, end)
    for layer in {key.split("/")[0] for key in WEIGHTS[name]}:
        held = [WEIGHTS[name][f"{layer}/{p}"] for p in ("kernel", "bias", "gamma", "beta")
                if f"{layer}/{p}" in WEIGHTS[name]]  # fmt: skip
        model.get_layer(layer).set_weights(held)
    return model


MAKERS = {"torch": in_torch, "jax": in_jax, "keras": in_keras}
RULES = {
    "epsilon": "epsilon", "plus": "epsilon_plus", "alpha_beta": "epsilon_alpha2_beta1",
    "gamma": "epsilon_gamma",
}  # fmt: skip


def explained(name: str, framework: str, method: str, **options):
    x, baseline = INPUTS[name]
    if framework == "torch" and x.ndim == 4:
        x, baseline = (np.moveaxis(a, -1, 1).copy() for a in (x, baseline))
    if method == "deeplift":
        options["baseline"] = baseline
    e = explain(MAKERS[framework](name), x, method, target=TARGETS.tolist(), **options)
    values = e.values
    return e, np.moveaxis(values, 1, -1) if framework == "torch" and x.ndim == 4 else values


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize("name", FORWARDS)
def test_deeplift_agrees_with_the_tape_and_adds_up(name, framework):
    x, baseline = (a.astype(float) for a in INPUTS[name])
    leaf = Node(x, baseline)
    output = FORWARDS[name](Tape(WEIGHTS[name], "rescale"), leaf)
    send_back(output, np.eye(3)[TARGETS])
    e, values = explained(name, framework, "deeplift")
    close(values, (x - baseline) * leaf.total)
    assert (e.gap < 1e-4).all()


@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_gated_gradients_agree_with_the_tape(method, framework):
    x = INPUTS["depthwise"][0].astype(float)
    leaf = Node(x, np.zeros_like(x))
    rule = "guided" if method == "guided_backprop" else "deconvnet"
    output = depthwise_forward(Tape(WEIGHTS["depthwise"], rule), leaf)
    send_back(output, np.eye(3)[TARGETS])
    close(explained("depthwise", framework, method)[1], leaf.total)


@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", FORWARDS)
def test_relevance_agrees_with_what_is_handed_down(name, rule, framework):
    from pellucid.methods.backward.rules.composites import PRESETS

    rules = {k: v for k, v in PRESETS[RULES[rule]].items() if k != "attention"}
    descent = Descent(WEIGHTS[name], rules)
    (wanted,) = handed_down(descent, FORWARDS[name], [INPUTS[name][0]], TARGETS)
    close(explained(name, framework, "lrp", composite=RULES[rule])[1], wanted)
