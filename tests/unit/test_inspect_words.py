"""What inspect says of a model in sentences, and draws, is true: of every framework."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from pellucid.adapters.facts import InputSpec
from pellucid.inside import Structure, inspect
from pellucid.inside.orders import circles, in_order
from pellucid.plots.graph import boxes_of
from pellucid.testing import build

SERIES = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)


class Reads(torch.nn.Module):
    """With the words first, as torch's recurrent layers have them by default."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = torch.nn.LSTM(4, 5), torch.nn.Linear(5, 1)

    def forward(self, x):
        return self.head(self.lstm(x.transpose(0, 1))[0][-1])


def recurrent(framework: str) -> Any:
    if framework == "torch":
        return Reads()
    if framework == "keras":
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((7, 4)), layers.LSTM(5, name="lstm"), layers.Dense(1, name="head")]
        )
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            keys = nnx.Rngs(0)
            self.lstm = nnx.RNN(nnx.LSTMCell(4, 5, rngs=keys))
            self.head = nnx.Linear(5, 1, rngs=keys)

        def __call__(self, x):
            read: Any = self.lstm(x)
            return self.head(read[:, -1])

    return Net()


@pytest.mark.parametrize("framework", ["torch", "keras", "jax"])
def test_a_recurrent_layer_is_one_box_in_every_framework(framework: str):
    found = inspect(recurrent(framework), SERIES)
    assert "recurrent network" in found.sentences[0]
    assert "tables" not in found.sentences[0]
    assert not any("residual" in s or "added" in s for s in found.sentences)
    steps = {n.name: n for n in found.nodes if n.layer}
    assert list(steps) == ["lstm", "head"]
    assert steps["lstm"].multiply_adds == 7 * (4 + 5) * 20
    assert steps["lstm"].shape in {(7, 5), (5,)}
    assert len(boxes_of(found.nodes, found.edges)[0]) <= 5
    assert all(a < b for a, b in found.edges)
    assert not any(e.idle for e in found.layers)
    if framework == "torch":
        assert {e.path: e.shape for e in found.layers}["lstm"] == (7, None, 5)
        assert steps["lstm"].shape == (7, 5)


def test_the_cell_of_a_recurrent_layer_has_no_sentence_of_its_own():
    layers = keras.layers
    found = inspect(
        keras.Sequential(
            [
                keras.Input((7, 4)), layers.LSTM(5, return_sequences=True, name="reads"),
                layers.GRU(3, name="reads_on"), layers.Dense(1),
            ]
        )
    )  # fmt: skip
    assert (
        "The layer with the most parameters is reads (68%), and it is the one with the most work"
        " (71%)." in found.sentences
    )
    # The loop's own state is no second source.
    names = [n.name for n in found.nodes]
    on = [(names[a], names[b]) for a, b in found.edges]
    assert on[:2] == [("input", "reads"), ("reads", "reads_on")]
    assert on[2:] == [("reads_on", names[3]), (names[3], "output")]


def attention() -> Structure:
    one = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    words = np.random.default_rng(0).normal(size=(1, 5, 16)).astype(np.float32)
    return inspect(torch.nn.TransformerEncoder(one, 1), words)


def test_what_holds_the_weights_is_the_heaviest_and_used():
    found = attention()
    entries = {e.path: e for e in found.layers}
    assert entries["layers.0.self_attn"].parameters == 1088
    assert (
        "The layer with the most parameters is layers.0.self_attn (49%), and it is the one with"
        " the most work (54%)." in found.sentences
    )
    assert entries["layers"].calls == entries["layers.0.self_attn.out_proj"].calls == 0
    assert not any(e.idle for e in found.layers)
    assert ">not used<" not in found.to_html()
    assert "In 2 places two paths are added (residual connections)." in found.sentences


def test_the_shape_in_a_box_leaves_out_the_batch_wherever_it_is():
    found = attention()
    words = [n.shape for n in found.nodes if n.kind not in {"input", "output"}]
    assert {s for s in words if s not in {(5, 16), (5, 32)}} == set()


def test_a_layer_that_nothing_uses_is_told_from_one_that_only_holds_weights():
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
            self.idle = torch.nn.Linear(9, 9)

        def forward(self, x):
            return self.parts[1](self.parts[0](x))

    found = inspect(Net(), SERIES[:, 0])
    assert [e.path for e in found.layers if e.idle] == ["idle"]
    assert found.to_html().count(">not used<") == 1

    class Tied(Net):
        def forward(self, x):
            return torch.nn.functional.linear(super().forward(x), self.idle.weight[:, :4])

    assert not any(e.idle for e in inspect(Tied(), SERIES[:, 0]).layers)


def side_by_side(framework: str) -> Any:
    if framework == "keras":
        given = keras.Input((4,))
        ways = [keras.layers.Dense(3)(given), keras.layers.Dense(3)(given)]
        return keras.Model(given, keras.layers.Add()(ways))
    if framework == "torch":

        class Sums(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)

            def forward(self, x):
                return self.a(x) + self.b(x)

        return Sums()
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            self.a, self.b = (nnx.Linear(4, 3, rngs=nnx.Rngs(i)) for i in (0, 1))

        def __call__(self, x):
            return self.a(x) + self.b(x)

    return Net()


@pytest.mark.parametrize("framework", ["torch", "keras", "jax"])
def test_a_sum_of_two_layers_side_by_side_is_no_residual_connection(framework: str):
    said = inspect(side_by_side(framework), SERIES[:, 0]).sentences
    assert "In 1 place two paths are added." in said
    assert not any("residual" in s for s in said)


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras", "jax", "tensorlayer"])
def test_a_way_round_layers_is_one(framework: str):
    said = inspect(*build("residual", framework)).sentences
    assert any("two paths are added (residual connections)" in s for s in said)


def test_of_several_as_large_none_is_called_the_largest():
    net = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(4)))
    assert (
        "The layers with the most parameters are 0, 1, 2 and 1 more (25% each), and they are those"
        " with the most work (25% each)." in inspect(net, SERIES[:, 0]).sentences
    )


def test_the_length_of_a_series_is_the_one_it_was_given():
    net = torch.nn.Sequential(
        torch.nn.Conv1d(2, 4, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    said = inspect(net, np.zeros((1, 2, 16), np.float32)).sentences[0]
    assert "for series of shape (2, 16) (the size it was given)" in said
    assert "series of shape (2, any)" in inspect(net).sentences[0]


def test_what_a_model_takes_is_not_said_and_denied():
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a = keras.layers.Dense(3)

        def call(self, x):
            return self.a(x)

    net = Net()
    net(np.zeros((1, 8), np.float32))
    said = " ".join(inspect(net).sentences)
    assert "for tables of 8 columns, by its first weights" in said
    assert "does not say which shape" not in said
    assert "for tables of 8 columns that gives 3" in inspect(net, np.zeros((1, 8))).sentences[0]


def test_an_estimator_that_gives_one_number_says_so():
    from sklearn.linear_model import LinearRegression

    found = inspect(LinearRegression().fit(SERIES[:, 0], [0.0, 1.0]), SERIES[:, 0])
    assert "for tables of 4 columns that gives one number" in found.sentences[0]
    assert "()" not in " ".join(found.sentences)
    assert "<td>one number</td>" in found.to_html()


def test_an_input_called_input_is_named_once():
    found = inspect(torch.nn.Linear(4, 3), SERIES[:, 0])
    assert isinstance(found.inputs, tuple)
    assert isinstance(found.inputs[0], InputSpec)
    assert "<td>4</td>" in found.to_html().replace(" float32", "")


def test_order_and_circles():
    assert in_order(4, [(3, 0), (0, 1), (2, 1)]) == [2, 3, 0, 1]
    assert circles(6, [(0, 1), (1, 2), (2, 1), (2, 3), (3, 4), (4, 3), (4, 5)]) == [{1, 2}, {3, 4}]


class Words(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = torch.nn.Embedding(20, 6), torch.nn.Embedding(9, 6)
        self.mix = torch.nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, x):
        places = self.places(torch.arange(x.shape[1]))
        return self.head(self.mix(self.words(x) + places, src_key_padding_mask=x == 0)[:, 0])


def test_a_model_of_whole_numbers_has_its_work_and_graph_in_torch():
    found = inspect(Words().eval(), np.arange(1, 8)[None])
    # In-projection, two products of 7 x 7, out-projection; two layers of the block; the head.
    mix = 7 * 6 * 18 + 2 * 7 * 7 * 6 + 7 * 6 * 6
    assert found.multiply_adds == mix + 2 * 7 * 6 * 8 + 18
    steps = [n.name for n in found.nodes if n.layer]
    assert steps[0] == "words"
    assert steps[-1] == "head"
    assert "transformer" in found.sentences[0]
    assert "residual" in " ".join(found.sentences)
    assert "<svg" in found.to_svg()
    fed, feeding = {b for _, b in found.edges}, {a for a, _ in found.edges}
    assert all(i in fed for i, n in enumerate(found.nodes) if n.kind != "input")
    assert all(i in feeding for i, n in enumerate(found.nodes) if n.kind != "output")
