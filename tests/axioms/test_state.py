"""After an exception, the model's or the user's own, every adapter leaves all as it was.

torch, and Keras on TensorFlow with every method, are in test_laws.py. Here are all the others, and
the methods that stand for a way of reading a model: a gradient, many, a cut, a suffix, forwards.
"""

import contextlib
import os
import pickle
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.adapters.protocol import Tier
from pellucid.errors import ModelError, TargetError
from pellucid.methods.registry import method_class

METHODS: dict[str, dict[str, Any]] = {
    "saliency": {},
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 3},
    "gradcam": {},
    "scorecam": {},
    "ablationcam": {},
    "occlusion": {"window": 4, "stride": 4},
}
LIMIT = 1e9
"""Models that can raise do so where an input is larger."""
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)
HEAD = RNG.normal(size=(4, 3)).astype(np.float32)
PICTURES = RNG.normal(size=(3, 8, 7, 3)).astype(np.float32)


def checked(x):
    """An input that cannot be brought into its shape where it is beyond the limit.

    Not an assertion beside the path from input to output: of a graph only that path is run.
    """
    import tensorflow as tf

    fits = tf.reduce_max(tf.abs(x)) < LIMIT
    return tf.ensure_shape(tf.reshape(x, (-1, tf.where(fits, 8, 5), 7, 3)), x.shape)


def tensorflow_module():
    import tensorflow as tf

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.head = tf.Variable(KERNEL), tf.Variable(HEAD)

        @tf.function(input_signature=[tf.TensorSpec((None, 8, 7, 3))])
        def __call__(self, x):
            h = tf.nn.relu(tf.nn.conv2d(checked(x), self.kernel, 1, "VALID"))
            return tf.linalg.matmul(tf.reduce_mean(h, axis=[1, 2]), self.head)

    return Net()


def tensorflow_state(model: Any) -> list[Any]:
    import tensorflow as tf

    state = tf.random.get_global_generator().state.numpy().tolist()
    return [model.kernel.numpy().tolist(), model.head.numpy().tolist(), sorted(vars(model)), state]


def in_tensorflow(folder):
    net = tensorflow_module()
    return net, PICTURES, lambda: tensorflow_state(net)


def in_a_saved_model(folder):
    import tensorflow as tf

    net = tensorflow_module()
    tf.saved_model.save(net, str(folder))
    loaded = tf.saved_model.load(str(folder))
    return loaded, PICTURES, lambda: tensorflow_state(loaded)


def in_tensorlayer(folder):
    import tensorflow as tf
    import tensorlayer as tl

    given = tl.layers.Input([None, 8, 7, 3])
    h = tl.layers.Lambda(checked)(given)
    h = tl.layers.Conv2d(4, (3, 3), act=tf.nn.relu, padding="VALID", name="conv")(h)
    h = tl.layers.BatchNorm2d(name="norm")(h)
    out = tl.layers.Dense(3, name="head")(tl.layers.GlobalMeanPool2d()(h))
    net = tl.models.Model(inputs=given, outputs=out)
    net.train()

    def read() -> list[Any]:
        layers = [(sorted(vars(part)), part.is_train) for part in net.all_layers]
        return [[w.numpy().tolist() for w in net.all_weights], net.is_train, layers]

    return net, PICTURES, read


def in_jax(folder):
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs) -> None:
            self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            h = nnx.relu(self.norm(self.conv(x)))
            return self.head(self.drop(h.mean(axis=(1, 2))))

    net = Net(nnx.Rngs(0))
    net.train()
    calls = {kind: kind.__call__ for kind in (Net, nnx.Conv, nnx.BatchNorm, nnx.Linear)}

    def read() -> list[Any]:
        def told(leaf: Any) -> Any:
            kind = str(getattr(leaf, "dtype", ""))
            return str(leaf) if kind.startswith("key") else np.asarray(leaf).tolist()

        import jax

        held = [told(leaf) for leaf in jax.tree.leaves(nnx.state(net))]
        modes = [net.norm.use_running_average, net.drop.deterministic]
        kept = [kind.__call__ is call for kind, call in calls.items()]
        return [held, modes, kept, jax.config.jax_enable_x64]

    return net, PICTURES, read


def in_sklearn(folder):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    rows = RNG.normal(size=(40, 4))
    estimator = make_pipeline(FunctionTransformer(refuse_large), LogisticRegression())
    estimator.fit(rows, rows.argmax(axis=1))
    return estimator, rows[:3].copy(), lambda: [pickle.dumps(estimator)]


def refuse_large(x: np.ndarray) -> np.ndarray:
    if np.abs(x).max() >= LIMIT:
        raise ValueError("no such row")
    return x


def in_onnx(folder):
    import onnx

    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    stored = {
        "kernel": np.ascontiguousarray(KERNEL.transpose(3, 2, 0, 1)),
        "head": HEAD,
        "limit": np.float32(LIMIT),
        "zero": np.zeros(1, dtype=np.float32),
    }
    nodes = [
        node("Conv", ["x", "kernel"], ["a"]), node("Relu", ["a"], ["b"]),
        node("GlobalAveragePool", ["b"], ["m"]), node("Flatten", ["m"], ["f"]),
        node("MatMul", ["f", "head"], ["z"]),
        # An index beyond the one row there is, where an input is beyond the limit.
        node("Abs", ["x"], ["s"]), node("ReduceMax", ["s"], ["most"], keepdims=0),
        node("Div", ["most", "limit"], ["times"]),
        node("Cast", ["times"], ["index"], to=onnx.TensorProto.INT64),
        node("Gather", ["zero", "index"], ["nothing"]), node("Add", ["z", "nothing"], ["y"]),
    ]  # fmt: skip
    kind = onnx.TensorProto.FLOAT
    arrays = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in stored.items()]
    ends = [info("x", kind, ["n", 3, 8, 7])], [info("y", kind, ["n", 3])]
    graph = onnx.helper.make_graph(nodes, "raising", *ends, arrays)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    x = np.ascontiguousarray(PICTURES.transpose(0, 3, 1, 2))
    return model, x, lambda: [model.SerializeToString()]


class Checked(keras.layers.Layer):
    """Raises at large inputs, where the backend runs eagerly."""

    def call(self, x):
        if keras.config.backend() == "torch" and x.device.type != "meta":
            largest = float(keras.ops.max(keras.ops.abs(x)))
            if largest >= LIMIT:
                raise RuntimeError("no such picture")
        return x


def in_keras(folder):
    keras.utils.set_random_seed(0)
    parts = keras.layers
    net = keras.Sequential(
        [
            keras.Input((8, 7, 3)), Checked(), parts.GaussianNoise(0.1),
            parts.Conv2D(4, 3, activation="relu"), parts.BatchNormalization(),
            parts.GlobalAveragePooling2D(), parts.Dropout(0.5), parts.Dense(3),
        ]
    )  # fmt: skip
    net.layers[2].trainable = False

    def read() -> list[Any]:
        found = [keras.ops.convert_to_numpy(v).tolist() for v in net.variables]
        found += [(sorted(vars(part)), part.trainable) for part in net.layers]
        if keras.config.backend() == "torch":
            import torch

            found += [(p.requires_grad, p.grad is None) for p in net.parameters()]
            found += [
                (m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
                for m in net.modules()
            ]
            found += [torch.get_rng_state().tolist(), torch.is_grad_enabled()]
        return found

    return net, PICTURES, read


CASES = {
    "tensorflow": in_tensorflow,
    "saved_model": in_a_saved_model,
    "tensorlayer": in_tensorlayer,
    "jax": in_jax,
    "sklearn": in_sklearn,
    "onnx": in_onnx,
    "keras": in_keras,
}
RAISING = [name for name in CASES if name not in {"jax", "keras"}]
"""A compiled function of JAX's cannot raise, nor can a Keras graph of these layers."""
if keras.config.backend() == "torch":
    RAISING.append("keras")


@pytest.fixture(scope="module", params=list(CASES))
def case(request, tmp_path_factory):
    model, x, read = CASES[request.param](tmp_path_factory.mktemp("model") / request.param)
    wrapped = wrap(model)
    wrapped.predict(x)  # Keras notes on its first call that a layer was called

    def everything() -> list[Any]:
        return [*read(), np.random.get_state()[1].tolist()]

    return request.param, wrapped, x, everything


def fitting(case, method: str) -> None:
    name, wrapped, x, _ = case
    kind = method_class(method)
    if kind.needs > wrapped.supports:
        pytest.skip(f"{name} models give no {method}")
    if kind.needs >= Tier.TRANSPARENT and not wrapped.layers(x[:1]):
        pytest.skip("this model shows no layers")


@pytest.mark.parametrize("method", list(METHODS))
def test_an_exception_of_the_target_leaves_all_as_it_was(case, method):
    """At its first call, when the model has run, and at its second, inside of a gradient."""
    fitting(case, method)
    _, wrapped, x, read = case
    before, expected = read(), explain(wrapped, x, method, target=0, **METHODS[method]).values
    assert read() == before
    for when in (1, 2):
        calls = []

        def target(outputs, calls=calls, when=when):
            calls.append(None)
            if len(calls) == when:
                raise RuntimeError("mine")
            return outputs[:, 0]

        # A method may need the target once only, and end well.
        raises = pytest.raises(TargetError, match="mine")
        with raises if when == 1 else contextlib.suppress(TargetError):
            explain(wrapped, x, method, target=target, **METHODS[method])
        assert len(calls) >= 1
        assert read() == before
    found = explain(wrapped, x, method, target=0, **METHODS[method]).values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("method", list(METHODS))
def test_an_exception_of_the_model_leaves_all_as_it_was(case, method):
    fitting(case, method)
    name, wrapped, x, read = case
    if name not in RAISING:
        pytest.skip("this model cannot raise because of a number")
    before, expected = read(), explain(wrapped, x, method, target=0, **METHODS[method]).values
    bad = x.copy()
    bad[(1, *[0] * (x.ndim - 1))] = 2 * LIMIT
    with pytest.raises(ModelError, match="raised"):
        explain(wrapped, bad, method, target=0, **METHODS[method])
    assert read() == before
    found = explain(wrapped, x, method, target=0, **METHODS[method]).values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="this is the inner run")
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_keras_on_its_other_backends(backend):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", "keras and leaves"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
