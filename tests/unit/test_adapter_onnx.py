"""ONNX models through ONNX Runtime: forward only, peeled by the graph, whatever batch they want."""

from pathlib import Path

import numpy as np
import pytest

from pellucid import explain, load, wrap
from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, InputError, LoadError, UnsafeModelError
from pellucid.testing import build, reference_forward
from pellucid.testing.tiny_weights import weights_and_inputs

onnx = pytest.importorskip("onnx", reason="the onnx extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra")
F, I64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
node = onnx.helper.make_node


def info(name, shape, kind=F):
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def model_of(nodes, inputs, outputs, arrays=None, opset=17):
    stored = [onnx.numpy_helper.from_array(a, name) for name, a in (arrays or {}).items()]
    graph = onnx.helper.make_graph(nodes, "tiny", inputs, outputs, stored)
    imports = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.checker.check_model(model)
    return model


def arrays_of(name):
    return {key.replace("/", "_"): a.copy() for key, a in weights_and_inputs(name, 0)[0].items()}


def dense(final=None, batch="n", opset=17, tail=()):
    nodes = [
        node("Gemm", ["x", "hidden1_kernel", "hidden1_bias"], ["a"]), node("Relu", ["a"], ["b"]),
        node("Gemm", ["b", "hidden2_kernel", "hidden2_bias"], ["c"]), node("Relu", ["c"], ["d"]),
        node("Gemm", ["d", "head_kernel", "head_bias"], ["z" if final else "y"]),
    ]  # fmt: skip
    if final:
        nodes.append(node(final, ["z"], ["y"]))
    nodes += tail
    output = tail[-1].output[0] if tail else "y"
    inputs, outputs = [info("x", [batch, 6])], [info(output, [batch, 3])]
    return model_of(nodes, inputs, outputs, arrays_of("dense"), opset)


def cnn():
    arrays = arrays_of("cnn")
    for name in ("conv1_kernel", "conv2_kernel"):
        arrays[name] = np.ascontiguousarray(arrays[name].transpose(3, 2, 0, 1))
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "conv1_kernel", "conv1_bias"], ["a"], **pads),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "conv2_kernel", "conv2_bias"], ["c"], **pads),
        node("Relu", ["c"], ["d"]), node("GlobalAveragePool", ["d"], ["m"]),
        node("Flatten", ["m"], ["f"]), node("Gemm", ["f", "head_kernel", "head_bias"], ["y"]),
    ]  # fmt: skip
    return model_of(nodes, [info("x", ["n", 3, 12, 10])], [info("y", ["n", 3])], arrays)


X = build("dense", "numpy")[1]


@pytest.mark.parametrize("final", [None, "Softmax", "LogSoftmax", "Sigmoid"])
@pytest.mark.parametrize("kind", ["proto", "session", "file"])
def test_logits_are_explained_whatever_the_graph_ends_in(final, kind, tmp_path):
    proto = dense(final)
    model = proto
    if kind == "session":
        model = onnxruntime.InferenceSession(proto.SerializeToString())
    elif kind == "file":
        onnx.save(proto, tmp_path / "m.onnx")
        model = load(tmp_path / "m.onnx")
    wrapped = wrap(model)
    assert (wrapped.framework, wrapped.supports) == ("onnx", Tier.CALLABLE)
    e = explain(wrapped, X, "occlusion", target=1)
    base, base_x = build("dense", "torch")
    expected = explain(base, base_x, "occlusion", target=1)
    assert np.abs(e.values - expected.values).max() < 1e-5 * np.abs(expected.values).max()
    assert e.explained == ("logit" if final else "output")
    assert e.evaluations == expected.evaluations


@pytest.mark.parametrize("opset", [11, 17])
def test_outputs_people_see_are_the_models_own(opset):
    session = onnxruntime.InferenceSession(dense("Softmax", opset=opset).SerializeToString())
    np.testing.assert_array_equal(wrap(session).predict(X), session.run(None, {"x": X})[0])
    kept = explain(wrap(session, output="probability"), X, "occlusion", target=1)
    np.testing.assert_allclose(kept.score, session.run(None, {"x": X})[0][:, 1], rtol=1e-6)


def test_what_only_looks_like_a_softmax_is_not_peeled():
    smoothed = dense("Softmax", tail=[node("Mul", ["y", "y"], ["out"])])
    assert wrap(smoothed).adapter.final_activation((X,)) == (None,)
    assert explain(smoothed, X, "occlusion").explained == "output"


def test_pictures_have_their_channels_where_the_graph_wants_them():
    x = build("cnn", "torch")[1]
    e = explain(cnn(), x, "occlusion")
    assert wrap(cnn()).adapter.channel_axis == 1
    expected = explain(*build("cnn", "torch"), "occlusion")
    assert np.abs(e.values - expected.values).max() < 1e-5 * np.abs(expected.values).max()
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("GlobalMaxPool", ["t"], ["y"]),
    ]
    last = model_of(nodes, [info("x", ["n", 8, 8, 3])], [info("y", ["n", 3, 1, 1])])
    assert wrap(last).adapter.channel_axis == -1


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_graph_for_one_batch_size_takes_any_number_of_rows(batch):
    """ONNX Runtime: Got invalid dimensions for input: x ... index: 0 Got: 5 Expected: 2."""
    proto = dense("Softmax", batch=batch)
    with pytest.raises(Exception, match="Got: 5 Expected"):
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": X})
    e = explain(proto, X, "occlusion", target=0)
    np.testing.assert_allclose(
        e.values, explain(dense(), X, "occlusion", target=0).values, rtol=1e-4, atol=1e-6
    )
    assert f"batches of {batch}" in str(e.provenance["notes"])


def two_inputs():
    nodes = [
        node("Gather", ["table", "word"], ["g"], axis=0), node("Squeeze", ["g", "one"], ["s"]),
        node("Mul", ["s", "weight"], ["m"]), node("ReduceSum", ["m", "one"], ["y"], keepdims=1),
    ]  # fmt: skip
    arrays = {
        "table": np.arange(10, dtype="float64").reshape(5, 2),
        "one": np.array([1], dtype="int64"),
    }
    double = onnx.TensorProto.DOUBLE
    inputs = [info("word", ["n", 1], I64), info("weight", ["n", 2], double)]
    return model_of(nodes, inputs, [info("y", ["n", 1], double)], arrays)


def test_several_inputs_of_their_own_types():
    words, weights = np.array([[1], [4], [0]]), np.ones((3, 2), "float32")
    e = explain(two_inputs(), {"weight": weights, "word": words.astype("int32")}, "occlusion")
    np.testing.assert_allclose(e.values["weight"], [[2, 3], [8, 9], [0, 1]])
    np.testing.assert_allclose(e.score, [5, 17, 1])
    same = explain(two_inputs(), (words, weights), "occlusion")
    np.testing.assert_array_equal(same.values[1], e.values["weight"])
    assert [s.dtype for s in wrap(two_inputs()).inputs] == ["int64", "float64"]
    with pytest.raises(InputError, match="of type int64"):
        explain(two_inputs(), (words + 0.5, weights), "occlusion")
    with pytest.raises(InputError, match="'weight'"):
        explain(two_inputs(), {"word": words, "weights": weights}, "occlusion")


def test_labels_of_a_converted_classifier_are_left_out_and_its_table_of_classes_read():
    linear = node(
        "LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml",
        classlabels_ints=[0, 1, 2], coefficients=list(np.arange(18.0) / 9), intercepts=[0.0] * 3,
        post_transform="NONE", multi_class=1,
    )  # fmt: skip
    zipped = node("ZipMap", ["p"], ["scores"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    kind = onnx.helper.make_sequence_type_proto(
        onnx.helper.make_map_type_proto(I64, onnx.helper.make_tensor_type_proto(F, []))
    )
    table = onnx.helper.make_value_info("scores", kind)
    model = model_of([linear, zipped], [info("x", ["n", 6])], [info("label", ["n"], I64), table])
    e = explain(model, X, "occlusion", target=2)
    np.testing.assert_allclose(e.values, X * np.arange(18.0).reshape(3, 6)[2] / 9, rtol=1e-5)


def test_half_precision_inputs_are_cast():
    half = onnx.TensorProto.FLOAT16
    ends = [info("x", ["n", 3], half)], [info("y", ["n", 3], half)]
    model = model_of([node("Relu", ["x"], ["y"])], *ends)
    e = explain(model, np.array([[1.0, 2.0, -1.0]]), "occlusion", target=1)
    np.testing.assert_allclose(e.values, [[0, 2, 0]])
    assert e.values.dtype == np.float32


def test_refusals_say_what_to_do():
    with pytest.raises(CapabilityError, match="needs gradients"):
        explain(dense(), X, "saliency")
    with pytest.raises(LoadError, match="cannot run this model"):
        wrap(
            model_of(
                [node("Relu", ["x"], ["y"])], [info("x", ["n"])], [info("y", ["n"])]
            ).__class__()
        )
    kind = onnx.TensorProto.STRING
    ends = [info("x", ["n"], kind)], [info("y", ["n"], kind)]
    words = model_of([node("Identity", ["x"], ["y"])], *ends)
    with pytest.raises(CapabilityError, match="tensors of numbers"):
        wrap(words)


def test_fingerprints_follow_the_weights():
    one, other, changed = dense(), dense(), dense()
    changed.graph.initializer[0].raw_data = changed.graph.initializer[0].raw_data[::-1]
    assert wrap(one).fingerprint() == wrap(other).fingerprint() != wrap(changed).fingerprint()


# Files


def external(folder: Path, location: str) -> Path:
    proto = dense()
    onnx.external_data_helper.convert_model_to_external_data(
        proto, location="weights.bin", size_threshold=0
    )
    onnx.save(proto, folder / "m.onnx")
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
        tensor.ClearField("raw_data")
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def test_weights_beside_the_model_are_read(tmp_path):
    model = load(external(tmp_path, "weights.bin"))
    np.testing.assert_allclose(model.predict(X), reference_forward("dense", X), atol=2e-6)


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "a/../../w", "C:\\w", "link"]
)
def test_weights_elsewhere_are_refused_even_if_trusted(tmp_path, location):
    folder = tmp_path / "models"
    folder.mkdir()
    path = external(folder, location)
    if location == "link":
        (tmp_path / "secret").write_bytes((folder / "weights.bin").read_bytes())
        (folder / "link").symlink_to(tmp_path / "secret")
    for trust in (None, True):
        with pytest.raises(UnsafeModelError, match="outside the folder"):
            load(path, trust=trust)


def test_a_cut_off_file_is_a_load_error(tmp_path):
    content = dense().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(LoadError):
        load(tmp_path / "m.onnx")
