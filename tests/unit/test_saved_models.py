"""Loaded SavedModels: programs without layers, run, differentiated and peeled all the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pellucid import explain, load, wrap
from pellucid.errors import CapabilityError, InputError
from pellucid.testing import build, reference_gradient

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 exports a TensorFlow variable by `np.array(variable)`.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


class Pair(tf.Module):
    """Two inputs and two outputs by name."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]], name="w")

    def run(self, right, left):
        """In another order than that of the names."""
        return {"p": tf.nn.softmax((left * 2 - right) @ self.w), "same": right}

    def saved(self, path, rows):
        specs = [tf.TensorSpec((rows, 3), name=name) for name in ("right", "left")]
        tf.saved_model.save(
            self, str(path), signatures=tf.function(self.run).get_concrete_function(*specs)
        )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "cnn"
    model, x = build("cnn", "keras")
    model.export(folder, verbose=False)
    return folder, model, x


@pytest.mark.parametrize("kind", ["object", "signature", "file", "TFSMLayer", "inside"])
def test_a_keras_export_gives_the_gradients_of_its_model(exported, kind):
    folder, _, x = exported
    held = tf.saved_model.load(str(folder))  # its signatures do not keep its weights alive
    loaded = {
        "object": lambda: held,
        "signature": lambda: held.signatures["serving_default"],
        "file": lambda: load(folder, trust=True),
        "TFSMLayer": lambda: keras.layers.TFSMLayer(str(folder), call_endpoint="serve"),
        "inside": lambda: keras.Sequential(
            [keras.Input(x.shape[1:]), keras.layers.TFSMLayer(str(folder), call_endpoint="serve")]
        ),
    }[kind]()
    expected = reference_gradient("cnn", x, 1)
    found = explain(loaded, x, "saliency", target=1).values
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_called_functions_are_opened_and_layers_refused(exported):
    """All of a SavedModel is inside calls: at first sight it holds StatefulPartitionedCall only."""
    folder, _, x = exported
    loaded = tf.saved_model.load(str(folder))
    outer = loaded.signatures["serving_default"].graph.get_operations()
    assert {op.type for op in outer} >= {"StatefulPartitionedCall"} or not any(
        op.type == "Conv2D" for op in outer
    )
    wrapped = wrap(loaded)
    kinds = [op.name for op in wrapped.operations(x)]
    assert kinds.count("Conv2D") == 2
    assert kinds.count("Relu") == 2
    assert len(wrapped.adapter.weights()) == 6
    assert wrapped.layers(x) == ()
    with pytest.raises(CapabilityError, match="no layers"):
        explain(wrapped, x, "gradcam", layer="conv2")
    with pytest.raises(CapabilityError, match="shows no layers"):
        explain(wrapped, x, "gradcam")


def test_a_softmax_inside_a_called_function_is_peeled(tmp_path):
    model, x = build("dense_softmax", "keras")
    model.export(tmp_path / "m", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    adapter = wrap(loaded).adapter
    assert adapter.final_activation(adapter.accept(x)) == ("softmax",)
    expected = reference_gradient("dense_softmax", x, 0)
    found = explain(loaded, x, "saliency", target=0).values
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("rows", [None, 1, 2, 4])
@pytest.mark.parametrize("kind", ["object", "file"])
def test_names_of_inputs_and_outputs_and_a_fixed_batch(tmp_path, rows, kind):
    Pair().saved(tmp_path / "m", rows)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    model = wrap(loaded) if kind == "object" else load(tmp_path / "m", trust=True)
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(5, 3)).astype("float32") for name in ("left", "right")}
    assert [s.name for s in model.inputs] == ["left", "right"]
    outputs = model.predict(x)
    expected = Pair().run(x["right"], x["left"])
    np.testing.assert_allclose(outputs["p"], expected["p"], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(outputs["same"], x["right"])
    e = explain(model, x, "saliency", target=lambda outputs: outputs["p"][:, 1])
    w = Pair().w.numpy()[:, 1]
    np.testing.assert_allclose(e.values["left"], np.tile(2 * w, (5, 1)), rtol=1e-5)  # the logit's
    np.testing.assert_allclose(e.values["right"], np.tile(-w, (5, 1)), rtol=1e-5)
    with pytest.raises(InputError, match="'right' is missing"):
        explain(model, {"left": x["left"], "rigth": x["right"]}, "saliency")


def test_several_arguments_in_order(tmp_path):
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 3)), tf.TensorSpec((None, 2))])
        def __call__(self, a, b):
            return tf.concat([3.0 * a, tf.square(b)], axis=1)

    tf.saved_model.save(Two(), str(tmp_path / "m"))
    a, b = np.ones((2, 3), "float32"), np.full((2, 2), 2.0, "float32")
    e = explain(tf.saved_model.load(str(tmp_path / "m")), (a, b), "saliency", target=4)
    np.testing.assert_allclose(e.values[0], 0)
    np.testing.assert_allclose(e.values[1], [[0, 4], [0, 4]])


def test_a_keras_export_of_several_inputs(tmp_path):
    model, x = build("two_inputs", "keras")
    model.export(tmp_path / "m", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    found = explain(loaded, x, "saliency", target=2).values
    for one, other in zip(found, reference_gradient("two_inputs", x, 2), strict=True):
        assert np.abs(one - other).max() < 1e-5 * np.abs(other).max()
