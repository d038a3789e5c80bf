"""Array bounds of the rule box follow the input's layout, in every framework and batch."""

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import InputError

rng = np.random.default_rng(5)
X = rng.uniform(size=(3, 4, 5, 3)).astype(np.float32)
KERNEL = rng.normal(size=(2, 2, 3, 4)).astype(np.float32)
HEAD = rng.normal(size=(3 * 4 * 4, 2)).astype(np.float32)
LOW, HIGH = -rng.uniform(size=(4, 5, 3)), 1 + rng.uniform(size=(4, 5, 3))
BOUNDS = {
    "of a sample": (LOW, HIGH),
    "of a batch of one": (LOW[None], HIGH[None]),
    "of each channel": ([-0.1, -0.5, -0.2], [1.0, 1.5, 2.0]),
    "one number": (-0.5, 1.5),
}


def in_torch(first: bool):
    """The network in torch, on pictures with their channels first, or turned round by itself."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 2, bias=False)
            self.head = nn.Linear(48, 2, bias=False)
            with torch.no_grad():
                self.conv.weight.copy_(torch.from_numpy(KERNEL.transpose(3, 2, 0, 1).copy()))
                self.head.weight.copy_(torch.from_numpy(HEAD.T.copy()))

        def forward(self, x):
            z = torch.relu(self.conv(x if first else x.permute(0, 3, 1, 2)))
            return self.head(z.permute(0, 2, 3, 1).flatten(1))

    return Net().eval()


def in_keras():
    import keras

    net = keras.Sequential([
        keras.layers.Conv2D(4, 2, activation="relu"), keras.layers.Flatten(),
        keras.layers.Dense(2, use_bias=False),
    ])  # fmt: skip
    net.build((None, 4, 5, 3))
    net.set_weights([KERNEL, np.zeros(4, np.float32), HEAD])
    return net


def in_jax():
    import jax
    from jax import numpy as jnp

    def net(x):
        shapes = ("NHWC", "HWIO", "NHWC")
        z = jax.lax.conv_general_dilated(
            x, jnp.asarray(KERNEL), (1, 1), "VALID", dimension_numbers=shapes
        )
        return jax.nn.relu(z).reshape(len(x), -1) @ jnp.asarray(HEAD)

    return wrap(net, framework="jax", inputs=(4, 5, 3))


NETS = {
    "torch": lambda: in_torch(True), "torch, turned": lambda: in_torch(False),
    "keras": in_keras, "jax": in_jax,
}  # fmt: skip


def turned(bound):
    return np.moveaxis(bound, -1, -3) if np.ndim(bound) > 1 else bound


def box(model, x, bounds):
    low, high = bounds
    rules = {"first": "box", "linear": "epsilon"}
    return explain(model, x, "lrp", target=1, composite=rules, low=low, high=high).values


def by_hand(bounds):
    """R of the whole network by the paper's rule, window by window."""
    low, high = (np.broadcast_to(np.asarray(b, float), (4, 5, 3)) for b in bounds)
    kernel, found = KERNEL.astype(float), np.zeros((3, 4, 5, 3))
    up, down = np.maximum(kernel, 0), np.minimum(kernel, 0)
    for n, x in enumerate(X.astype(float)):
        for place in np.ndindex(3, 4):
            at = tuple(slice(i, i + 2) for i in place)
            z = np.einsum("hwc,hwck->k", x[at], kernel)
            above = HEAD.reshape(3, 4, 4, 2)[place][:, 1] * np.maximum(z, 0)
            parts = (x - low)[at][..., None] * up + (x - high)[at][..., None] * down
            found[n][at] += (parts / parts.sum((0, 1, 2)) * above).sum(-1)
    return found


@pytest.mark.parametrize("name", NETS)
def test_bounds_are_in_the_input_s_layout_whatever_the_network_s(name):
    model = NETS[name]()
    for said, bounds in BOUNDS.items():
        expected = by_hand(tuple(np.reshape(b, np.shape(b)[-3:]) for b in bounds))
        x = X
        if name == "torch":
            x, expected = np.ascontiguousarray(turned(X)), turned(expected)
            bounds = tuple(map(turned, bounds))
        found = box(model, x, bounds)
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol, err_msg=said)
        np.testing.assert_allclose(box(model, x[1:2], bounds), found[1:2], rtol=1e-4, atol=atol)


@pytest.mark.parametrize(
    "bound",
    [np.zeros((3, 4, 5, 3)), np.zeros((3, 4, 5)), np.zeros(2), np.zeros((5, 3)), "much",
     [[0], [0, 0]], [0, None, 0], np.full((4, 5, 3), np.nan)],
)  # fmt: skip
def test_other_shapes_are_refused_with_the_one_that_fits(bound):
    with pytest.raises(InputError, match=r"each of the 3 channels, or of shape \(4, 5, 3\)"):
        box(in_jax(), X, (bound, 9.0))


def test_frames_that_a_network_takes_one_by_one_have_their_own_bounds_in_every_batch():
    import torch

    torch.manual_seed(0)
    frame = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4), torch.nn.ReLU())

    class Film(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frame, self.head = frame, torch.nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.frame(x.reshape(-1, 1, 2, 3)).reshape(len(x), -1))

    x = rng.uniform(size=(3, 2, 1, 2, 3)).astype(np.float32)
    bounds = -rng.uniform(size=(2, 1, 2, 3)), 1 + rng.uniform(size=(2, 1, 2, 3))
    model = wrap(Film().eval())
    together = box(model, x, bounds)
    for i in range(3):
        np.testing.assert_allclose(
            together[i : i + 1], box(model, x[i : i + 1], bounds), rtol=1e-4, atol=1e-6
        )
