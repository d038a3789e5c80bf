"""How a model is built: counted work against torch's own counter, one answer in all frameworks."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import pellucid
from pellucid.errors import InputError
from pellucid.inside import inspect
from pellucid.plots.graph import boxes_of, graph_svg
from pellucid.plots.layered import place
from pellucid.testing import build

NAMES = ("dense_softmax", "cnn", "residual", "depthwise", "shared", "two_inputs", "vit")
MATH = SDPBackend.MATH
OTHERS = ("tensorflow", "keras", "jax", "tensorlayer")


def counted_by_torch(network: torch.nn.Module, *arrays: np.ndarray) -> int:
    # Its counter does not know the fused attentions of the CPU.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(MATH):
            network(*(torch.tensor(a) for a in arrays))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_those_of_torchs_own_counter(name: str):
    network, x = build(name, "torch")
    arrays = x if isinstance(x, tuple) else (x,)
    found = inspect(network, x)
    assert found.flops == counted_by_torch(network, *(a[:1] for a in arrays))
    assert found.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (4, 11, 9)),
        (torch.nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 7)),
        (torch.nn.ConvTranspose1d(4, 6, 3), (4, 5)),
        (torch.nn.Conv3d(2, 3, 2), (2, 4, 5, 6)),
        (torch.nn.MultiheadAttention(8, 2, batch_first=True), None),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, torch.nn.Module) else "",
)
def test_flops_of_any_convolution_and_of_attention(network: torch.nn.Module, shape):
    if shape is None:

        class Attends(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.attention = network

            def forward(self, x):
                return self.attention(x, x, x, need_weights=False)[0]

        network, shape = Attends(), (7, 8)
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    assert inspect(network.eval(), x).flops == counted_by_torch(network, x)


@pytest.mark.parametrize("framework", ["torch", *OTHERS])
def test_each_of_two_inputs_goes_where_it_goes(framework: str):
    found = inspect(*build("shared", framework))
    ends = [i for i, n in enumerate(found.nodes) if n.kind == "input"]
    taken = {a: [b for c, b in found.edges if c == a] for a in ends}
    assert [len(t) for t in taken.values()] == [1, 1]
    assert taken[ends[0]] != taken[ends[1]]


@pytest.mark.parametrize("framework", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_one_network_takes_the_same_work_in_every_framework(name: str, framework: str):
    reference = inspect(*build(name, "torch"))
    found = inspect(*build(name, framework))
    assert found.multiply_adds == reference.multiply_adds
    assert len([n for n in found.nodes if n.kind == "input"]) == len(
        [n for n in reference.nodes if n.kind == "input"]
    )
    check_graph(found)


def check_graph(found: pellucid.inside.Structure) -> None:
    """No loops, and every step lies between an input and an output."""
    assert all(a < b for a, b in found.edges)
    fed, feeding = {b for _, b in found.edges}, {a for a, _ in found.edges}
    for i, node in enumerate(found.nodes):
        assert (i in fed) == (node.kind != "input"), node
        assert (i in feeding) == (node.kind != "output"), node


def test_mobilenet_has_its_published_size():
    from pellucid.demo.model import demo_model

    network, names, preprocess = demo_model()
    found = inspect(pellucid.wrap(network, class_names=names, preprocess=preprocess))
    assert found.parameters == network.count_params()
    # Sandler et al. 2018, table 4: 300 million multiply-adds for 224 pixels.
    assert found.multiply_adds == pytest.approx(300e6, rel=0.01)
    assert sum("add" in n.kinds for n in found.nodes) == 10
    assert "pictures of 224 × 224 pixels with 3 channels" in found.sentences[0]
    assert "one of 1,000 classes (softmax)" in found.sentences[0]
    check_graph(found)


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)))


class Nested(torch.nn.Module):
    """A block called twice, a layer that is never called, a weight in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = torch.nn.Conv2d(3, 4, 3), Block()
        self.idle = torch.nn.Linear(2, 2)
        self.shift = torch.nn.Parameter(torch.zeros(4))
        self.head = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Softmax(1))

    def forward(self, x):
        x = self.block(self.block(torch.relu(self.stem(x))))
        return self.head(x.mean((2, 3)) + self.shift)


X = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


def test_nested_shared_and_idle_layers_are_told():
    network = Nested().train()
    found = inspect(network, X)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    entries = {e.path: e for e in found.layers}
    assert (entries["block"].calls, entries["block.conv"].calls, entries["idle"].calls) == (2, 2, 0)
    assert entries["block.conv"].name == "conv"
    assert entries["block.conv"].depth == 1
    assert found.layers[entries["block.conv"].parent or 0].path == "block"
    assert entries["block"].multiply_adds == 2 * 4 * 4 * 9 * 36
    assert [e.path for e in found.shared] == ["block"]
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert "Used more than once in a run: block (2 times)." in found.sentences
    assert "In 2 places two paths are added (residual connections)." in found.sentences
    adds = [i for i, n in enumerate(found.nodes) if n.name == "add" and n.kinds == {"add"}]
    assert [len([e for e in found.edges if e[1] == i]) for i in adds] == [2, 2]
    assert {n.call for n in found.nodes if n.name == "block.conv"} == {1, 2}
    check_graph(found)
    text = str(found)
    assert "  conv" in text
    assert "Conv2d" in text
    assert "(n, 4, 6, 6)" in text


def test_a_weight_that_two_layers_share_counts_once():
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.norm = torch.nn.Embedding(50, 8), torch.nn.BatchNorm1d(50)
            self.head = torch.nn.Linear(8, 50, bias=False)
            self.head.weight = self.words.weight

        def forward(self, x):
            return self.norm(self.head(self.words(x).mean(1)))

    network = Tied()
    found = inspect(network.eval(), np.zeros((2, 3), np.int64))
    wanted = sum(p.numel() for p in network.parameters())
    # The statistics of the norm are weights to pellucid and no parameters to torch.
    assert wanted <= (found.parameters or 0) <= wanted + 101
    assert found.parameter_bytes == pytest.approx(4 * (found.parameters or 0), rel=0.02)


@pytest.mark.parametrize("bias", [False, True])
def test_memory_is_what_is_counted_by_hand(bias: bool):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=bias), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(4 * 36, 5, bias=bias), torch.nn.Softmax(1),
    )  # fmt: skip
    parameters = 3 * 4 * 9 + 144 * 5 + bias * (4 + 5)
    # What each step puts out for one input: map, map, the map flat, scores, probabilities.
    # Adding a bias is a step of its own.
    outputs = 144 + 144 + 144 + 5 + 5 + bias * (144 + 5)
    for dtype, size in ((torch.float32, 4), (torch.float64, 8)):
        x = torch.zeros((2, 3, 8, 8), dtype=dtype)
        found = inspect(network.to(dtype).eval(), x)
        assert found.parameter_bytes == size * parameters
        assert found.activation_bytes == 4 * outputs


@pytest.mark.parametrize("framework", OTHERS)
def test_memory_is_the_same_in_every_framework(framework: str):
    wanted, found = (inspect(*build("cnn", own)) for own in ("torch", framework))
    assert found.parameter_bytes == wanted.parameter_bytes == 4 * (wanted.parameters or 0)
    assert found.activation_bytes


def test_layers_that_hold_others_open_and_close():
    inner = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    network = torch.nn.Sequential(inner, torch.nn.Sequential(torch.nn.Linear(4, 2)))
    page = inspect(network.eval(), np.zeros((1, 4), np.float32)).to_html()
    tree = page[page.index('class="tree"') : page.index("</h3>", page.index('class="tree"'))]
    parts = re.findall(r"<details[^>]*><summary>(.*?)</summary>", tree, re.S)
    assert sum("Sequential" in part for part in parts) == 2
    assert not any("Linear" in part for part in parts)
    assert tree.index("<details") < tree.index("Linear") < tree.index("</details>")


def test_an_lstm_is_one_step_of_a_recurrent_network():
    class Reads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(4, 5, batch_first=True), torch.nn.Linear(5, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    found = inspect(Reads(), np.zeros((2, 7, 4), np.float32))
    assert "recurrent network" in found.sentences[0]
    assert "gives one number" in found.sentences[0]
    # The first step multiplies its state of zeros too.
    assert found.multiply_adds == 7 * 4 * 20 + 7 * 5 * 20 + 5
    assert [n.name for n in found.nodes if n.layer] == ["lstm", "head"]
    check_graph(found)


def test_what_can_only_be_run_says_so():
    found = inspect(lambda x: x @ np.ones((4, 2)), np.zeros((3, 4)))
    assert found.outputs == ((2,),)
    assert found.layers == ()
    assert found.flops is None
    assert "It can only be run, so nothing inside of it can be seen." in found.sentences
    with pytest.raises(InputError, match="There is no graph to draw"):
        found.to_svg()
    assert "no graph" not in found.to_html()
    assert "pellucid.report(model, x" in found.reproduce()


def test_without_an_input_a_shape_is_asked_for():
    found = inspect(Nested())
    assert found.outputs is None
    assert found.nodes == ()
    assert len(found.layers) == 8
    assert any("inspect(model, x)" in s for s in found.sentences)


def test_wrong_inputs_are_refused():
    with pytest.raises(InputError):
        inspect(Nested(), np.full((1, 3, 8, 8), np.nan, np.float32))
    with pytest.raises(InputError):
        inspect(Nested(), X[:0])


def test_all_of_it_is_plain_data():
    document = json.loads(json.dumps(inspect(Nested(), X).to_dict(), allow_nan=False))
    assert document["flops"] == 2 * document["multiply_adds"]
    assert len(document["layers"]) == 8
    assert document["edges"]


HOSTILE = '<img src=x onerror="alert(1)">]]></script>'


def test_hostile_names_stay_text():
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)
            self.layer.__class__ = type(HOSTILE, (torch.nn.Linear,), {})

        def forward(self, x):
            return self.layer(x)

    found = inspect(Odd(), np.zeros((1, 4), np.float32))
    assert any(HOSTILE in e.kind for e in found.layers)
    for page in (found.to_html(), found.to_svg(), found._repr_html_()):
        assert "<img" not in page
        assert "</script>\n</body>" in page + "</script>\n</body>"
    titles = [t.text or "" for t in ElementTree.fromstring(found.to_svg()).iter() if t.text]
    assert any(HOSTILE in t for t in titles)


def test_the_graph_is_one_document_in_two_themes():
    found = inspect(Nested(), X)
    light, dark = (
        ElementTree.fromstring(graph_svg(found.nodes, found.edges, theme=t))  # type: ignore[arg-type]
        for t in ("light", "dark")
    )
    assert len(list(light.iter())) == len(list(dark.iter()))
    joined, lines = boxes_of(found.nodes, found.edges)
    assert len(joined) < len(found.nodes)
    assert sorted(i for b in joined for i in b.nodes) == list(range(len(found.nodes)))
    assert all(a < len(joined) and b < len(joined) for a, b in lines)
    assert len(boxes_of(found.nodes, found.edges, join=False)[0]) == len(found.nodes)


@pytest.mark.parametrize("seed", range(8))
def test_no_two_boxes_overlap_and_edges_run_down(seed: int):
    rng = np.random.default_rng(seed)
    count = 25
    edges = [(int(rng.integers(max(0, b - 6), b)), b) for b in range(1, count) for _ in range(2)]
    placed = place(count, edges)
    for a, b in edges:
        assert placed.row[a] < placed.row[b]
        assert len(placed.routes[a, b]) == placed.row[b] - placed.row[a] + 1
    for i in range(count):
        for j in range(i):
            if placed.row[i] == placed.row[j]:
                assert abs(placed.column[i] - placed.column[j]) > 1 - 1e-9


def test_a_chain_is_straight():
    placed = place(6, [(i, i + 1) for i in range(5)])
    assert set(placed.column) == {0.0}
    assert placed.row == (0, 1, 2, 3, 4, 5)


def test_the_script_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, x = build("cnn", "torch")
    script = inspect(network, x).reproduce()
    names = {"model": pellucid.wrap(network), "x": x[:2]}
    code = "\n".join(line for line in script.splitlines() if not line.startswith("x = "))
    exec(compile(code, "script", "exec"), names)
    assert (tmp_path / "report.html").exists()
    assert names["gradcam"].method == "gradcam"


def test_the_script_of_a_table_with_words_runs(tmp_path, monkeypatch):
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({"age": rng.normal(size=30), "city": rng.choice(["Bern", "Oslo"], 30)})
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    fitted = make_pipeline(columns, LogisticRegression()).fit(table, table["age"] > 0)
    names = {"model": fitted, "x": table}
    exec(compile(inspect(fitted, table).reproduce(), "script", "exec"), names)
    assert (tmp_path / "report.html").exists()


def test_a_picture_s_size_is_the_one_it_was_given_where_the_model_says_none():
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    found = inspect(torch.nn.Sequential(*layers), np.zeros((1, 1, 8, 8), np.float32))
    assert "pictures of 8 × 8 pixels (the size it was given) with 1 channel" in found.sentences[0]


def test_a_theme_that_is_none_is_refused():
    with pytest.raises(InputError, match="'light' or 'dark', got 'purple'"):
        pellucid.inspect(*build("cnn", "torch")).to_svg(theme="purple")
