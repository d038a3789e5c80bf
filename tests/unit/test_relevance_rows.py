"""LRP of a sample does not depend on its batch, wherever the samples are in a layer's values.

With an ε large enough to be seen: it goes by the largest value that a layer has for a sample.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain, wrap
from pellucid.methods.backward.rules.layout import Layout, layouts_told

DRAWS = np.random.default_rng(8)
SCALES = np.asarray([1.0, 30.0, 0.2, 4.0], np.float32)
"""So that an ε of the largest sample would be seen in the others."""


def drawn(*shape: int) -> np.ndarray:
    x = DRAWS.normal(size=(len(SCALES), *shape)).astype(np.float32)
    return x * SCALES.reshape(-1, *(1,) * len(shape))


class Attending(nn.Module):
    """Torch's attention, which flattens positions and samples into rows, positions first."""

    def __init__(self, *, batch_first: bool, weights: bool) -> None:
        super().__init__()
        self.first, self.weights = batch_first, weights
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = x if self.first else x.transpose(0, 1)
        h, _ = self.attention(x, x, x, need_weights=self.weights)
        return self.head(h.mean(int(self.first)))


class TimeFirst(nn.Module):
    """Layers on an axis of positions that stands before that of the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.relu(self.body(x.transpose(0, 1))).mean(0))


class Windows(nn.Module):
    """Windows of positions as rows of their own, the samples outermost or in the middle."""

    def __init__(self, *, middle: bool) -> None:
        super().__init__()
        self.body, self.head, self.middle = nn.Linear(4, 5), nn.Linear(5, 3), middle

    def forward(self, x):
        n = len(x)
        h = x.reshape(n, 3, 2, 4)
        h = h.transpose(0, 1) if self.middle else h
        h = torch.relu(self.body(h.flatten(0, 2))).reshape(*h.shape[:3], 5)
        return self.head(h.mean((0, 2) if self.middle else (1, 2)))


class Packed(nn.Module):
    """A recurrent layer on sequences of which some are shorter."""

    def __init__(self, lengths: list[int] | None) -> None:
        super().__init__()
        self.rnn, self.head, self.lengths = nn.GRU(4, 3), nn.Linear(3, 3), lengths

    def forward(self, x):
        lengths = torch.as_tensor(self.lengths or [6] * len(x))
        lengths = torch.where(x[:, 3:].abs().sum((1, 2)) > 0, lengths[: len(x)], 3)
        packed = nn.utils.rnn.pack_padded_sequence(x.transpose(0, 1), lengths, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][0])


TORCH = {
    "attention, samples first": lambda: Attending(batch_first=True, weights=False),
    "attention, positions first": lambda: Attending(batch_first=False, weights=False),
    "attention with its weights": lambda: Attending(batch_first=True, weights=True),
    "encoder": lambda: nn.Sequential(
        nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), nn.Flatten(), nn.Linear(24, 3)
    ),
    "positions first": TimeFirst,
    "windows": lambda: Windows(middle=False),
    "windows around samples": lambda: Windows(middle=True),
    "packed": lambda: Packed(None),
}


def same_alone(model, x: np.ndarray, **options) -> np.ndarray:
    options = {"composite": "epsilon", "epsilon": 1e-2, "target": 1, **options}
    together = explain(model, x, "lrp", **options).values
    for i in range(len(x)):
        alone = explain(model, x[i : i + 1], "lrp", **options).values[0]
        np.testing.assert_allclose(together[i], alone, atol=2e-5 * np.abs(alone).max(), rtol=0)
    return together


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", TORCH)
def test_torch(name):
    torch.manual_seed(3)
    model, x = TORCH[name]().eval(), drawn(6, 4)
    found = same_alone(model, x)
    small = explain(model, x, "lrp", composite="epsilon", epsilon=1e-7, target=1).values
    assert np.abs(found - small).max() > 1e-3 * np.abs(small).max(), "this ε is seen"


def test_torch_sequences_of_other_lengths():
    torch.manual_seed(3)
    x = drawn(6, 4)
    x[1:3, 3:] = 0
    same_alone(Packed(None).eval(), x)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 0, 0, 0]])
def test_rows_that_repeat_within_a_sample_are_still_told_apart(rows):
    torch.manual_seed(3)
    x = drawn(1, 4)[rows].repeat(6, axis=1)
    same_alone(Windows(middle=True).eval(), x)


@pytest.mark.parametrize("bias", [False, True])
def test_tensorflow_s_dilated_convolutions(bias):
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 2, dilation_rate=2, activation="relu", use_bias=bias),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    same_alone(model, drawn(6, 6, 2))


def test_jax_positions_first():
    w, v = (jnp.asarray(DRAWS.normal(size=s).astype(np.float32)) for s in ((4, 5), (5, 3)))

    def model(x):
        h = jax.nn.relu(jnp.swapaxes(x, 0, 1).reshape(-1, 4) @ w).reshape(6, -1, 5)
        return h.mean(axis=0) @ v

    same_alone(wrap(model, framework="jax"), drawn(6, 4))


def test_where_samples_are_is_told_by_the_numbers_of_one():
    from pellucid.adapters.protocol import Operation

    class Made(Operation):
        index = 0

        def __init__(self, value):
            self.value = value

        def __call__(self, **_):
            return self.value

    one = DRAWS.normal(size=(6, 4))
    orders = {
        Layout(0, 1, 6): np.concatenate([one, one]),
        Layout(0, 6, 1): np.repeat(one, 2, axis=0),
        Layout(0, 3, 2): np.stack([one.reshape(3, 2, 4)] * 2, 1).reshape(12, 4),
        Layout(1, 1, 4): np.concatenate([one, one], axis=1),
    }

    def told(one, two):
        given = {1: Made(one), 2: Made(two)}
        return layouts_told(lambda n, see: see(given[n]), frozenset({0}), np.asarray)

    for layout, two in orders.items():
        assert told(one, two) == {0: layout}
    assert not told(np.ones((6, 4)), np.ones((12, 4)))
