"""LRP inside recurrent layers, step by step, against relevance handed down in NumPy.

Gates take nothing and the signals they let through take all (Arras et al. 2017, section 3.1, and
2019, "LRP-all"); sums and weights share by ε; activations pass relevance on.
"""

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from test_recurrent_rules import TORCH, UNITS, Torch, X, keras_model

from pellucid import explain, wrap
from pellucid.testing.handed_down import over

TARGET = 1
EPSILON = 1e-9
"""Small, for a bias stands before the sum of a gate in one framework and behind it in another."""


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


class Steps:
    """Relevance of a recurrent layer and a dense head, from the weights as Keras keeps them."""

    def __init__(self, weights: list[np.ndarray], cell: str) -> None:
        self.kernel, self.recurrent, bias, self.head, self.last = (w.astype(float) for w in weights)
        self.bias = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
        self.cell = cell

    def forward(self, x: np.ndarray) -> None:
        self.x, self.hidden = x, [np.zeros((len(x), UNITS))]
        self.memory, self.kept = [self.hidden[0]], []
        for t in range(x.shape[1]):
            own = x[:, t] @ self.kernel + self.bias[0]
            back = self.hidden[-1] @ self.recurrent + self.bias[1]
            getattr(self, f"_{self.cell}")(own, back)
        self.score = self.hidden[-1] @ self.head + self.last

    def _lstm(self, own: np.ndarray, back: np.ndarray) -> None:
        taken, kept, new, shown = np.split(own + back, 4, axis=1)
        held, added = sigmoid(kept) * self.memory[-1], sigmoid(taken) * np.tanh(new)
        self.memory.append(held + added)
        self.hidden.append(sigmoid(shown) * np.tanh(self.memory[-1]))
        self.kept.append((held, added, new, slice(2 * UNITS, 3 * UNITS)))

    def _gru(self, own: np.ndarray, back: np.ndarray) -> None:
        update, reset = (
            sigmoid(own[:, k * UNITS : (k + 1) * UNITS] + back[:, k * UNITS : (k + 1) * UNITS])
            for k in range(2)
        )
        new, inner = own[:, 2 * UNITS :], reset * back[:, 2 * UNITS :]
        held, added = update * self.hidden[-1], (1 - update) * np.tanh(new + inner)
        self.kept.append((held, added, new, inner))
        self.hidden.append(held + added)

    def _rnn(self, own: np.ndarray, back: np.ndarray) -> None:
        self.kept.append((own, back))
        self.hidden.append(np.tanh(own + back))

    def relevance(self, x: np.ndarray) -> np.ndarray:
        """R of every step's inputs; each sum moved away from zero by ε, as the models' are."""
        self.forward(x)
        score = self.score[:, [TARGET]]
        found = np.zeros_like(x)
        hidden = self.hidden[-1] * self.head[:, TARGET] * over(score, away(score))
        memory = np.zeros_like(hidden)
        for t in reversed(range(x.shape[1])):
            hidden, memory, own = getattr(self, f"_{self.cell}_back")(t, hidden, memory)
            columns = own[1]
            weight = self.kernel[:, columns]
            z = x[:, t] @ weight + self.bias[0, columns]
            found[:, t] = x[:, t] * (over(own[0], away(z, self._whole(t))) @ weight.T)
        return found

    def _whole(self, t: int) -> np.ndarray:
        """What a step adds to all gates, of which the largest number makes the ε."""
        return self.x[:, t] @ self.kernel + self.bias[0]

    def _to_hidden(self, t: int, r: np.ndarray, columns: slice) -> np.ndarray:
        weight = self.recurrent[:, columns]
        z = self.hidden[t] @ weight + self.bias[1, columns]
        whole = self.hidden[t] @ self.recurrent + self.bias[1]
        return self.hidden[t] * (over(r, away(z, whole)) @ weight.T)

    def _lstm_back(self, t: int, hidden: np.ndarray, memory: np.ndarray):
        held, added, new, columns = self.kept[t]
        whole = hidden + memory  # of the memory: the shown gate takes nothing
        to_new = over(added, held + added) * whole
        own = self.x[:, t] @ self.kernel[:, columns] + self.bias[0, columns]
        to_own, to_back = over(own, new) * to_new, over(new - own, new) * to_new
        return self._to_hidden(t, to_back, columns), over(held, held + added) * whole, (
            to_own, columns,
        )  # fmt: skip

    def _gru_back(self, t: int, hidden: np.ndarray, memory: np.ndarray):
        held, added, new, inner = self.kept[t]
        columns = slice(2 * UNITS, 3 * UNITS)
        to_new = over(added, held + added) * hidden
        to_own, to_back = over(new, new + inner) * to_new, over(inner, new + inner) * to_new
        before = over(held, held + added) * hidden + self._to_hidden(t, to_back, columns)
        return before, memory, (to_own, columns)

    def _rnn_back(self, t: int, hidden: np.ndarray, memory: np.ndarray):
        own, back = self.kept[t]
        columns = slice(0, UNITS)
        to_own, to_back = over(own, own + back) * hidden, over(back, own + back) * hidden
        return self._to_hidden(t, to_back, columns), memory, (to_own, columns)


def away(z: np.ndarray, whole: np.ndarray | None = None) -> np.ndarray:
    margin = EPSILON * np.abs(z if whole is None else whole).max(axis=1, keepdims=True)
    return z + np.where(z >= 0, margin, -margin)


LAYERS = {
    "lstm": lambda: L.LSTM(UNITS),
    "gru": lambda: L.GRU(UNITS),
    "rnn": lambda: L.SimpleRNN(UNITS),
}
BLOCKS = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}
"""The gates' order in Keras, in that of torch."""


def networks(cell: str) -> tuple[keras.Model, list[np.ndarray]]:
    """A Keras model with biases that are not zero, and its weights."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input(X.shape[1:]), LAYERS[cell](), L.Dense(3)])
    draws = np.random.default_rng(2)
    weights = [
        w if i in {0, 1, 3} else draws.normal(0, 0.2, w.shape).astype(np.float32)
        for i, w in enumerate(network.get_weights())
    ]
    network.set_weights(weights)
    return network, weights


def in_torch(cell: str, weights: list[np.ndarray]) -> torch.nn.Module:
    """The same model in torch."""

    def blocks(w: np.ndarray) -> np.ndarray:
        pieces = np.split(w, len(BLOCKS[cell]), axis=-1)
        return np.concatenate([pieces[i] for i in BLOCKS[cell]], axis=-1)

    kernel, recurrent, bias, head, last = weights
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    net = Torch(cell.upper()).eval()
    for parameter, value in (
        (net.rnn.weight_ih_l0, blocks(kernel).T),
        (net.rnn.weight_hh_l0, blocks(recurrent).T),
        (net.rnn.bias_ih_l0, blocks(both[0])),
        (net.rnn.bias_hh_l0, blocks(both[1])),
        (net.head.weight, head.T),
        (net.head.bias, last),
    ):
        parameter.data = torch.from_numpy(value.copy())
    return net


def in_jax(cell: str, weights: list[np.ndarray]):
    """The same model as a scan."""
    import jax
    import jax.numpy as jnp

    kernel, recurrent, bias, head, last = weights
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])

    def step(state, row):
        hidden, memory = state
        own, back = row @ kernel + both[0], hidden @ recurrent + both[1]
        if cell == "lstm":
            taken, kept, new, shown = jnp.split(own + back, 4, axis=1)
            memory = jax.nn.sigmoid(kept) * memory + jax.nn.sigmoid(taken) * jnp.tanh(new)
            return (jax.nn.sigmoid(shown) * jnp.tanh(memory), memory), None
        if cell == "rnn":
            return (jnp.tanh(own + back), memory), None
        update = jax.nn.sigmoid(own[:, :UNITS] + back[:, :UNITS])
        reset = jax.nn.sigmoid(own[:, UNITS : 2 * UNITS] + back[:, UNITS : 2 * UNITS])
        new = jnp.tanh(own[:, 2 * UNITS :] + reset * back[:, 2 * UNITS :])
        return (update * hidden + (1 - update) * new, memory), None

    def model(x):
        start = jnp.zeros((x.shape[0], UNITS))
        (hidden, _), _ = jax.lax.scan(step, (start, start), jnp.moveaxis(x, 1, 0))
        return hidden @ head + last

    return wrap(model, framework="jax")


@pytest.mark.parametrize("cell", list(LAYERS))
def test_gates_take_nothing_and_signals_all_in_every_framework(cell):
    network, weights = networks(cell)
    wanted = Steps(weights, cell).relevance(X.astype(float))
    scale = np.abs(wanted).max()
    for model in (wrap(network), wrap(in_torch(cell, weights)), in_jax(cell, weights)):
        listed = model.coverage("lrp", X, composite="epsilon")
        assert listed.complete
        assert {"epsilon", "pass"} <= {op.rule for op in listed}
        e = explain(model, X, "lrp", composite="epsilon", epsilon=EPSILON, target=TARGET)
        assert np.abs(e.values - wanted).max() < 1e-5 * scale
        total = np.abs(wanted.reshape(3, -1).sum(axis=1) - e.score) / np.abs(e.score)
        assert e.gap == pytest.approx(total, rel=1e-3, abs=1e-4)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", [n for n in TORCH if n != "without bias"])
def test_relevance_is_kept_where_there_are_no_biases_in_torch(name):
    net = TORCH[name]().eval()
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            if "bias" in key:
                parameter.zero_()
    x = X[:1] if name == "packed" else X
    e = explain(net, x, "lrp", composite="epsilon", epsilon=EPSILON, target=TARGET)
    size = np.abs(e.values).reshape(len(x), -1).sum(axis=1) / np.abs(e.score)
    assert np.all(e.gap < 1e-5 * size + 1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru, reset before", "masked"])
def test_relevance_is_kept_where_there_are_no_biases_in_keras(name):
    network = keras_model(name)
    network.set_weights([np.zeros_like(w) if w.ndim == 1 else w for w in network.get_weights()])
    x = X.copy()
    x[:, 4:] = 0 if name == "masked" else x[:, 4:]
    e = explain(network, x, "lrp", composite="epsilon", epsilon=EPSILON, target=TARGET)
    size = np.abs(e.values).reshape(len(x), -1).sum(axis=1) / np.abs(e.score)
    assert np.all(e.gap < 1e-5 * size + 1e-5)
    assert not (e.values[:, 4:].any() and name == "masked"), "what is masked has no relevance"
