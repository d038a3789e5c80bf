"""Recurrent layers under rules: opened step by step, in every framework, against a NumPy tape."""

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

from pellucid import explain, wrap
from pellucid.adapters.facts import OPERATION_KINDS
from pellucid.testing.nodes import Node, send_back
from pellucid.testing.oracles_backward import Tape

DRAWS = np.random.default_rng(0)
X, B = (DRAWS.normal(size=(3, 6, 4)).astype(np.float32) for _ in range(2))
UNITS = 5


class Torch(nn.Module):
    """A recurrent layer and a head over its last step."""

    def __init__(self, kind: str, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = getattr(nn, kind)(4, UNITS, batch_first=True, **options)
        ways = 2 if options.get("bidirectional") else 1
        self.head = nn.Linear(ways * (options.get("proj_size") or UNITS), 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Packed(Torch):
    """Sequences of different lengths."""

    def forward(self, x):
        lengths = torch.tensor([6, 4, 3])[: len(x)]
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        return self.head(self.rnn(packed)[1][0][-1])


class Cells(nn.Module):
    """The loop is the user's own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.LSTMCell(4, UNITS), nn.GRUCell(UNITS, UNITS)
        self.head = nn.Linear(UNITS, 3)

    def forward(self, x):
        state, last = None, torch.zeros(len(x), UNITS)
        for step in x.unbind(1):
            state = self.one(step, state)
            last = self.two(state[0], last)
        return self.head(last)


TORCH = {
    "lstm": lambda: Torch("LSTM"),
    "gru": lambda: Torch("GRU"),
    "rnn": lambda: Torch("RNN"),
    "rnn of relu": lambda: Torch("RNN", nonlinearity="relu"),
    "two layers, both ways": lambda: Torch("LSTM", num_layers=2, bidirectional=True),
    "without bias": lambda: Torch("GRU", bidirectional=True, bias=False),
    "projected": lambda: Torch("LSTM", proj_size=3),
    "packed": lambda: Packed("LSTM", num_layers=2),
    "cells": Cells,
}
KERAS = {
    "lstm": lambda: [L.LSTM(UNITS)],
    "gru": lambda: [L.GRU(UNITS)],
    "gru, reset before": lambda: [L.GRU(UNITS, reset_after=False)],
    "rnn of relu": lambda: [L.SimpleRNN(UNITS, activation="relu")],
    "both ways": lambda: [L.Bidirectional(L.LSTM(UNITS, return_sequences=True)), L.GRU(UNITS)],
    "masked": lambda: [L.Masking(), L.LSTM(UNITS)],
}


def keras_model(name: str):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6, 4)), *KERAS[name](), L.Dense(3)])


def is_complete(e) -> bool:
    """As `test_backward` has it: under 1e-4, or under the rounding of what was added up."""
    size = np.abs(e.values).reshape(len(e.values), -1).sum(axis=1)
    rounding = 2 * np.finfo(np.float32).eps * size / np.abs(e.score - e.baseline_score)
    return bool((e.gap < np.maximum(1e-4, rounding)).all())


def check(model, x=X) -> None:
    assert model.coverage("deeplift", x).complete
    assert is_complete(explain(model, x, "deeplift", baseline=B))
    assert is_complete(explain(model, x, "deeplift", baseline=B, rule="reveal_cancel"))
    assert is_complete(explain(model, x, "deep_shap", background=B))
    plain, guided = explain(model, x, "saliency"), explain(model, x, "guided_backprop")
    has_relus = not guided.warnings
    assert np.allclose(plain.values, guided.values, atol=1e-6) != has_relus


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", list(TORCH))
def test_torch(name):
    net = TORCH[name]().eval()
    model, x = wrap(net), torch.from_numpy(X)
    opened = model.adapter.run((x,), intercept=lambda op: op(), kinds=OPERATION_KINDS)
    torch.testing.assert_close(opened.detach(), net(x).detach(), rtol=1e-5, atol=1e-6)
    seen = {op.name for op in model.coverage("deeplift", X)}
    assert {"linear", "tanh"} & seen
    assert not seen & {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"}
    if name == "packed":  # its lengths go by the place in the batch, so rows are not comparable
        assert is_complete(explain(model, X, "deeplift", baseline=B))
    else:
        check(model)


@pytest.mark.parametrize("name", list(KERAS))
def test_keras(name):
    network = keras_model(name)
    x = X.copy()
    x[:, 4:] = 0 if name == "masked" else x[:, 4:]
    model = wrap(network)
    seen = [op for op in model.coverage("deeplift", x) if op.name == "MatMul"]
    assert len(seen) >= 12, "six steps, with two products each"
    assert any("lstm" in op.path or "gru" in op.path or "rnn" in op.path for op in seen)
    check(model, x)


def test_flax():
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.rnn = nnx.RNN(nnx.LSTMCell(4, UNITS, rngs=rngs))
            self.head = nnx.Linear(UNITS, 3, rngs=rngs)

        def __call__(self, x):
            start = self.rnn.cell.initialize_carry((x.shape[0], 4), nnx.Rngs(0))
            return self.head(self.rnn(x, initial_carry=start)[:, -1])

    check(wrap(Model(nnx.Rngs(0))))


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def on_tape(weights: list[np.ndarray], target: int) -> np.ndarray:
    """DeepLIFT of an LSTM and a dense head, by the paper's rules, float64."""
    kernel, recurrent, bias, head, last = (w.astype(float) for w in weights)
    tape, x = Tape({}, "rescale"), Node(X.astype(float), B.astype(float))
    state = np.zeros((len(X), UNITS))
    hidden, memory = Node(state, state), Node(state, state)

    def times(a: Node, b: Node) -> Node:
        return tape.product(lambda p, q: p * q, a, b, lambda m, q: m * q, lambda m, p: m * p)

    for t in range(X.shape[1]):
        gates = x[:, t].linear(lambda v: v @ kernel + bias, lambda m: m @ kernel.T)
        gates = gates + hidden.linear(lambda v: v @ recurrent, lambda m: m @ recurrent.T)
        taken, kept, new, shown = (gates[:, k * UNITS : (k + 1) * UNITS] for k in range(4))
        memory = times(tape.bent(sigmoid, kept), memory) + times(
            tape.bent(sigmoid, taken), tape.bent(np.tanh, new)
        )
        hidden = times(tape.bent(sigmoid, shown), tape.bent(np.tanh, memory))
    output = hidden.linear(lambda v: v @ head + last, lambda m: m @ head.T)
    send_back(output, np.eye(3)[[target] * len(X)])
    return x.total * (X - B)


def test_one_lstm_has_one_set_of_numbers_everywhere():
    import jax
    import jax.numpy as jnp

    network = keras_model("lstm")
    weights = [np.asarray(w) for w in network.get_weights()]
    kernel, recurrent, bias, head, last = weights
    net = Torch("LSTM").eval()
    for parameter, value in zip(
        (net.rnn.weight_ih_l0, net.rnn.weight_hh_l0, net.rnn.bias_ih_l0, net.head.weight,
         net.head.bias),
        (kernel.T, recurrent.T, bias, head.T, last), strict=True,
    ):  # fmt: skip
        parameter.data = torch.from_numpy(value.copy())
    net.rnn.bias_hh_l0.data.zero_()

    def scanned(x):
        def step(state, row):
            hidden, memory = state
            taken, kept, new, shown = jnp.split(row @ kernel + hidden @ recurrent + bias, 4, axis=1)
            memory = jax.nn.sigmoid(kept) * memory + jax.nn.sigmoid(taken) * jnp.tanh(new)
            hidden = jax.nn.sigmoid(shown) * jnp.tanh(memory)
            return (hidden, memory), None

        start = jnp.zeros((x.shape[0], UNITS))
        (hidden, _), _ = jax.lax.scan(step, (start, start), jnp.moveaxis(x, 1, 0))
        return hidden @ head + last

    wanted = on_tape(weights, 1)
    apart = explain(net, X, "deeplift", baseline=B, target=1, rule="reveal_cancel").values
    assert np.abs(apart - wanted).max() > 0.01 * np.abs(wanted).max()
    for model in (wrap(network), wrap(net), wrap(scanned, framework="jax")):
        e = explain(model, X, "deeplift", baseline=B, target=1, rule="reveal_cancel")
        assert np.abs(e.values - apart).max() < 1e-5 * np.abs(apart).max()
        e = explain(model, X, "deeplift", baseline=B, target=1)
        assert np.abs(e.values - wanted).max() < 1e-5 * np.abs(wanted).max()
        assert is_complete(e)
