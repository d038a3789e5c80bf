"""What an ONNX graph shows: the counts and values of the torch models it was exported from."""

import io
import warnings

import numpy as np
import pytest
import torch

import pellucid
from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, LayerError, LoadError
from pellucid.testing import build

onnx = pytest.importorskip("onnx", reason="the onnx extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra")
F = onnx.TensorProto.FLOAT
node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info


def exported(network: torch.nn.Module, *arrays: np.ndarray):
    file = io.BytesIO()
    with warnings.catch_warnings():
        # torch warns of the exporter that needs no package beside onnx.
        warnings.simplefilter("ignore")
        given = tuple(torch.tensor(a[:1]) for a in arrays)
        torch.onnx.export(network, given, file, dynamo=False)
    return onnx.load_model_from_string(file.getvalue())


def both(name: str):
    network, x = build(name, "torch")
    return network, exported(network, *(x if isinstance(x, tuple) else (x,))), x


def small(nodes, arrays=None, opset=17, inputs=(("x", ["n", 4]),), outputs=(("y", None),), **more):
    stored = [onnx.numpy_helper.from_array(a, name) for name, a in (arrays or {}).items()]
    graph = onnx.helper.make_graph(
        nodes, "small", [info(n, F, s) for n, s in inputs], [info(n, F, s) for n, s in outputs],
        stored,
    )  # fmt: skip
    imports = [onnx.helper.make_opsetid("", opset), *more.pop("imports", ())]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8, **more)


@pytest.mark.parametrize(
    "name", ["dense_softmax", "cnn", "depthwise", "shared", "two_inputs", "vit"]
)
def test_an_exported_network_has_the_counts_of_its_torch_original(name: str):
    network, model, x = both(name)
    found, wanted = pellucid.inspect(model, x), pellucid.inspect(network, x)
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert found.parameter_bytes == wanted.parameter_bytes
    assert found.multiply_adds == wanted.multiply_adds
    assert found.outputs == wanted.outputs
    ends = [[n.kind for n in s.nodes if n.kind in {"input", "output"}] for s in (found, wanted)]
    assert ends[0] == ends[1]
    fed, feeding = {b for _, b in found.edges}, {a for a, _ in found.edges}
    for i, n in enumerate(found.nodes):
        assert (i in fed) == (n.kind != "input"), n
        assert (i in feeding) == (n.kind != "output"), n
    assert found.to_svg()
    assert "nothing inside" not in str(found)


def test_nodes_have_their_names_operations_and_shapes():
    _, model, x = both("cnn")
    found = pellucid.inspect(model, x)
    first = found.layers[0]
    assert (first.path, first.kind, first.shape) == ("/conv1/Conv", "Conv", (1, 6, 12, 10))
    assert "An ONNX convolutional network" in found.sentences[0]
    assert pellucid.wrap(model).supports is Tier.CALLABLE


def test_without_a_run_shapes_are_those_of_the_standard():
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
    arrays = {"w": np.ones((4, 3), np.float32)}
    model = small(nodes, arrays, inputs=[("x", ["n", "steps", 4])])
    found = pellucid.inspect(model)
    assert [(e.path, e.shape) for e in found.layers] == [
        ("MatMul_0", (None, None, 3)),
        ("Relu_0", (None, None, 3)),
    ]
    assert (found.parameters, found.multiply_adds) == (12, None)
    assert pellucid.inspect(model, np.zeros((1, 5, 4), np.float32)).multiply_adds == 60


def test_weights_are_those_of_the_torch_original():
    network, model, _ = both("cnn")
    found, wanted = pellucid.inside.weights(model), pellucid.inside.weights(network)
    for name in ("conv1", "conv2"):
        np.testing.assert_array_equal(found[f"/{name}/Conv"].filters, wanted[name].filters)
    np.testing.assert_array_equal(found["/head/Gemm"].matrix, wanted["head"].matrix)
    np.testing.assert_array_equal(found["conv1.weight"].values, wanted["conv1"].values)
    assert [w.name for w in pellucid.inside.weights(model, "/conv1/Conv")] == [
        "conv1.weight",
        "conv1.bias",
    ]
    found.plot("/conv1/Conv")
    with pytest.raises(LayerError, match="conv1"):
        found["conv11.weight"]


def test_a_shared_weight_belongs_to_both_its_nodes():
    _, model, _ = both("shared")
    found = pellucid.inside.weights(model)
    assert found["encoder.encoder1.weight"].used_by == (
        "/encoder/encoder1/Gemm",
        "/encoder/encoder1_1/Gemm",
    )
    assert found["/encoder/encoder1_1/Gemm"].name == "encoder.encoder1.weight"


def test_what_nodes_return_is_what_the_torch_layers_do():
    network, model, x = both("cnn")
    before = model.SerializeToString(deterministic=True)
    found = pellucid.inside.activations(model, x, ["/conv1/Conv", "/head/Gemm"], top=3)
    wanted = pellucid.inside.activations(network, x, ["conv1", "head"], top=3)
    for theirs, own in zip(wanted, found, strict=True):
        assert own.dims == theirs.dims
        np.testing.assert_array_equal(own.units, theirs.units)
        np.testing.assert_allclose(own.values, theirs.values, atol=1e-5)
    assert model.SerializeToString(deterministic=True) == before
    own = pellucid.inside.statistics(model, x)
    name = "/relu/Relu"
    assert own[name].form == "relu"
    assert pellucid.inside.receptive_field(model, x, "/conv2/Conv").size == (8.0, 8.0)
    assert pellucid.inside.embedding(model, x).layer == "/ReduceMean"


def test_one_graph_for_one_batch_size_shows_all_rows():
    network, x = build("dense_softmax", "torch")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.tensor(x[:2]),), file, dynamo=False)
    model = onnx.load_model_from_string(file.getvalue())
    found = pellucid.inside.activations(model, x, "/hidden1/Gemm")
    wanted = pellucid.inside.activations(network, x, "hidden1")
    np.testing.assert_allclose(found["/hidden1/Gemm"].values, wanted["hidden1"].values, atol=1e-6)


def test_an_lstm_is_counted_step_by_step_and_has_its_samples_first():
    network = torch.nn.LSTM(4, 5, batch_first=True).eval()

    class Reads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = network, torch.nn.Linear(5, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    reads, x = Reads(), np.random.default_rng(0).normal(size=(3, 7, 4)).astype(np.float32)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            reads, (torch.tensor(x),), file, dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    model = onnx.load_model_from_string(file.getvalue())
    found = pellucid.inspect(model, x)
    assert found.multiply_adds == pellucid.inspect(reads, x).multiply_adds
    assert "recurrent network" in found.sentences[0]
    own = pellucid.inside.activations(model, x, "/lstm/LSTM")["/lstm/LSTM"].values
    with torch.no_grad():
        wanted = network(torch.tensor(x))[0].numpy()
    assert len(own) == 3
    np.testing.assert_allclose(own.reshape(3, 7, 5), wanted, atol=1e-6)


def test_constants_are_told_from_parameters():
    nodes = [
        node("Constant", [], ["half"], value=onnx.numpy_helper.from_array(np.float32(0.5))),
        node("Mul", ["x", "half"], ["a"], name="scaled"),
        node("Clip", ["a", "low", "high"], ["b"], name="clipped"),
        node("DequantizeLinear", ["codes", "step"], ["w"], name="codes"),
        node("MatMul", ["b", "w"], ["c"], name="product"),
        node("BatchNormalization", ["c", "g", "s", "m", "v"], ["y"], name="norm"),
    ]
    three = np.ones(3, np.float32)
    arrays = {
        "low": np.float32(0), "high": np.float32(6), "step": np.float32(0.1),
        "codes": np.ones((4, 3), np.int8), "g": three, "s": three, "m": three, "v": three,
    }  # fmt: skip
    found = pellucid.inspect(small(nodes, arrays), np.zeros((1, 4), np.float32))
    counted = {e.path: (e.parameters, e.multiply_adds) for e in found.layers}
    # The step between codes is a number that was learned with them.
    assert counted == {
        "scaled": (0, 0), "clipped": (0, 0), "product": (13, 12), "norm": (6, 0)
    }  # fmt: skip
    assert (found.parameters, found.multiply_adds) == (19, 12)


def test_branches_are_said_not_to_be_counted():
    def branch(name: str, factor: float):
        nodes = [
            node("Constant", [], ["f"], value=onnx.numpy_helper.from_array(np.float32(factor))),
            node("Mul", ["x", "f"], [name]),
        ]
        return onnx.helper.make_graph(nodes, name, [], [info(name, F, ["n", 4])])

    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Constant", [], ["zero"], value=onnx.numpy_helper.from_array(np.float32(0))),
        node("Greater", ["total", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=branch("a", 2), else_branch=branch("b", 3)),
    ]
    found = pellucid.inspect(small(nodes, outputs=[("y", ["n", 4])]), np.ones((1, 4), np.float32))
    assert "What happens inside of If is not counted." in found.sentences


def test_functions_of_the_model_s_own_are_opened():
    body = [node("MatMul", ["a", "b"], ["c"]), node("Relu", ["c"], ["d"])]
    own = onnx.helper.make_function(
        "own", "layer", ["a", "b"], ["d"], body, [onnx.helper.make_opsetid("", 17)]
    )
    model = small(
        [node("layer", ["x", "w"], ["y"], domain="own")], {"w": np.ones((4, 3), np.float32)},
        imports=[onnx.helper.make_opsetid("own", 1)], functions=[own], outputs=[("y", ["n", 3])],
    )  # fmt: skip
    found = pellucid.inspect(model, np.zeros((1, 4), np.float32))
    assert [e.kind for e in found.layers] == ["MatMul", "Relu"]
    assert (found.parameters, found.multiply_adds) == (12, 12)


def test_what_cannot_be_opened_says_so(tmp_path):
    custom = small(
        [node("Mystery", ["x"], ["y"], domain="somewhere")],
        imports=[onnx.helper.make_opsetid("somewhere", 1)], outputs=[("y", ["n", 4])],
    )  # fmt: skip
    with pytest.raises(LoadError, match="custom operations are not loaded"):
        pellucid.inspect(custom)
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x08\x3a\xff")
    with pytest.raises(LoadError):
        pellucid.inspect(pellucid.load(tmp_path / "broken.onnx"))
    _, model, _ = both("cnn")
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert pellucid.inspect(pellucid.load(tmp_path / "m.onnx")).parameters == 635
    (tmp_path / "w.bin").unlink()
    with pytest.raises(LoadError, match=r"w\.bin"):
        pellucid.load(tmp_path / "m.onnx")
    # Saving has left only the names of its weights' places in it.
    with pytest.raises(LoadError, match=r"another file \(w\.bin\)"):
        pellucid.inspect(model)


def test_what_can_only_be_looked_at_is_not_changed():
    _, model, x = both("cnn")
    with pytest.raises(CapabilityError, match="needs access to layers"):
        pellucid.explain(model, x, "gradcam")
    with pytest.raises(LayerError, match=r"/conv1/Conv"):
        pellucid.inside.activations(model, x, "/conv1/Conw")
    adapter = pellucid.wrap(model).adapter
    with pytest.raises(CapabilityError, match="another value than it returned"):
        adapter.run(adapter.accept(x), intercept=lambda op: op() * 2)
    with pytest.raises(CapabilityError, match="other inputs or weights"):
        adapter.run(adapter.accept(x), intercept=lambda op: op(bias=False))
    with pytest.raises(CapabilityError, match="gradients"):
        pellucid.inside.activations(model, x, "/conv1/Conv", top=2, by="attribution")


def test_a_session_without_its_graph_shows_only_its_ends(tmp_path):
    _, model, x = both("cnn")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.ort"))
    found = pellucid.inspect(session, x)
    assert found.layers == ()
    assert "nothing inside of it can be seen" in str(found)
    with pytest.raises(CapabilityError, match="shows no weights"):
        pellucid.inside.weights(session)
