"""The laws that every method keeps in every framework: batches, padding, the user's state."""

import functools
import os
import random
import re
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import explain, wrap
from pellucid.adapters.protocol import Tier
from pellucid.errors import ModelError
from pellucid.methods.registry import method_class, takes_parameter
from pellucid.testing import build
from pellucid.testing.tiny_weights import weights_and_inputs

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "tensorlayer")
LIKE_FRAMEWORKS = (*FRAMEWORKS, "numpy", "saved_model", "onnx", "sklearn")
CHEAP = {
    "steps": 4, "samples": 4, "masks": 8, "window": 5, "stride": 3, "features": "grid:3",
    "budget": 40,
}  # fmt: skip
# The models here do not attend: tests/unit/test_conformance.py has one that does.
METHODS = [
    row["name"] for row in pellucid.methods("image") if row["family"] not in {"custom", "attention"}
]
OF_MAXIMUM = 1e-5


def options(method: str, table: bool = False) -> dict[str, Any]:
    """Cheap parameters; a table has no grid for its features to lie in."""
    found = {name: value for name, value in CHEAP.items() if takes_parameter(method, name)}
    if table:
        found.pop("features", None)
    if method == "shapley_interactions":
        found["budget"] = 512
    return {**found, "seed": 5}


@functools.cache
def model_of(framework: str) -> tuple[Any, np.ndarray]:
    """A small CNN (a perceptron of scikit-learn's), wrapped once for all, and 8 samples."""
    if framework == "sklearn":
        return perceptron()
    model, x = {"saved_model": saved, "onnx": exported}.get(framework, built)(framework)
    says = framework not in {"tensorflow", "jax"}  # plain functions do not say what they expect
    wrapped = wrap(model) if says else wrap(model, inputs=x.shape[1:])
    return wrapped, np.concatenate([x, x[::-1] * 0.5])[:8]


def built(framework: str) -> tuple[Any, np.ndarray]:
    return build("cnn", framework)


def saved(framework: str) -> tuple[Any, np.ndarray]:
    """The weights of the Keras model as a program on disk, loaded."""
    import tensorflow as tf

    module, x = build("cnn", "tensorflow")
    given = tf.TensorSpec((None, *x.shape[1:]), tf.float32)
    module.serve = tf.function(module.__call__, input_signature=[given])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=module.serve)
        return tf.saved_model.load(folder), x


def exported(framework: str) -> tuple[Any, np.ndarray]:
    """The same network as an ONNX graph, channels first."""
    import onnx

    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    arrays = {
        key.replace("/", "_"): np.array(a) for key, a in weights_and_inputs("cnn", 0)[0].items()
    }
    for name in ("conv1_kernel", "conv2_kernel"):
        arrays[name] = np.ascontiguousarray(arrays[name].transpose(3, 2, 0, 1))
    padded = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "conv1_kernel", "conv1_bias"], ["a"], **padded),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "conv2_kernel", "conv2_bias"], ["c"], **padded),
        node("Relu", ["c"], ["d"]), node("GlobalAveragePool", ["d"], ["m"]),
        node("Flatten", ["m"], ["f"]), node("Gemm", ["f", "head_kernel", "head_bias"], ["y"]),
    ]  # fmt: skip
    stored = [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()]
    kind = onnx.TensorProto.FLOAT
    ends = [info("x", kind, ["n", 3, 12, 10])], [info("y", kind, ["n", 3])]
    opset = [onnx.helper.make_opsetid("", 17)]
    graph = onnx.helper.make_graph(nodes, "cnn", *ends, stored)
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model, build("cnn", "torch")[1]


def perceptron() -> tuple[Any, np.ndarray]:
    from sklearn.neural_network import MLPClassifier

    x = np.random.default_rng(0).normal(size=(60, 6))
    estimator = MLPClassifier((8,), max_iter=20, tol=1.0, random_state=0)
    return wrap(estimator.fit(x, x[:, :3].argmax(axis=1))), x[:8]


def model_for(method: str, framework: str) -> tuple[Any, np.ndarray]:
    wrapped, x = model_of(framework)
    if method_class(method).needs > wrapped.supports:
        pytest.skip(f"{framework} models of this kind give no {method}")
    if method_class(method).needs >= Tier.TRANSPARENT and not wrapped.layers(x[:1]):
        pytest.skip("a plain function of tensors has no layers")
    if x.ndim == 2 and method_class(method).modalities:
        pytest.skip("scikit-learn's models are of tables")
    return wrapped, x


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= OF_MAXIMUM * np.abs(expected).max()


@pytest.mark.parametrize("framework", LIKE_FRAMEWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_sample_does_not_depend_on_its_batch(method, framework):
    model, x = model_for(method, framework)
    given = options(method, x.ndim == 2)
    whole = explain(model, x, method, batch_size=8, **given).values
    for size in (1, 7):
        same(explain(model, x, method, batch_size=size, **given).values, whole)
    same(explain(model, x[3:4], method, **given).values, whole[3:4])
    # A missing batch axis is added and removed again, where the model says what it expects.
    if framework != "numpy":
        same(explain(model, x[3], method, **given).values, whole[3])


@pytest.mark.parametrize("framework", LIKE_FRAMEWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_sample_does_not_depend_on_its_company(method, framework):
    """Rows of zeros that fill a batch up, and rows a hundred times as large, change nothing."""
    model, x = model_for(method, framework)
    given = options(method, x.ndim == 2)
    alone = explain(model, x[:3], method, target=1, **given).values
    padded = np.concatenate([x[:3], np.zeros_like(x[:5])])
    in_company = np.concatenate([x[:3], 100 * x[3:5]])
    for batch in (padded, in_company):
        same(explain(model, batch, method, target=1, batch_size=4, **given).values[:3], alone)


ONLY_KERAS = "keras and (batch or company) and not others"


@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="this is the inner run"
)
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_batches_of_keras_on_its_others(backend):
    """Both laws again, for every method, in a process with that backend."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", ONLY_KERAS],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-2000:]
    assert int(passed[1]) > 2 * len(METHODS) // 3, "hardly a method ran"


def shaken(framework: str) -> tuple[Any, Any]:
    """A model with all that moves by merely running it, and what may not move of it."""
    if framework == "torch":
        import torch

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.conv = torch.nn.Conv2d(3, 4, 3)
                self.norm = torch.nn.BatchNorm2d(4)
                self.drop = torch.nn.Dropout(0.5)
                self.head = torch.nn.Linear(4, 2)
                self.fails_from = None
                self.conv.weight.requires_grad_(False)

            def forward(self, x):
                noise = torch.rand(1) * 0 + random.random() * 0 + float(np.random.rand()) * 0
                h = torch.relu(self.norm(self.conv(x))) + noise
                out = self.head(self.drop(h.mean(dim=(2, 3))))
                if self.fails_from is not None and bool((x.abs() > self.fails_from).any()):
                    raise RuntimeError("no such input")
                return out

        net = Net().train()
        net.norm.eval()

        def read() -> dict[str, Any]:
            found = {n: t.numpy().copy() for n, t in net.state_dict().items()}
            found["torch's random state"] = torch.get_rng_state().numpy()
            found["modes"] = [m.training for m in net.modules()]
            found["gradients"] = [(p.requires_grad, p.grad) for p in net.parameters()]
            found["hooks"] = [
                (len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()
            ]
            return found

        return net, read
    import keras
    import tensorflow as tf

    class Raising(keras.layers.Layer):
        fails_from = 1e9

        def call(self, x):
            fits = tf.reduce_max(tf.abs(x)) < self.fails_from
            return tf.ensure_shape(tf.reshape(x, (-1, tf.where(fits, 10, 7), 10, 3)), x.shape)

    keras.utils.set_random_seed(0)
    raising = Raising(name="raising")
    net = keras.Sequential(
        [
            keras.Input((10, 10, 3)),
            raising,
            keras.layers.GaussianNoise(0.1),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, name="head"),
        ]
    )
    net.layers[2].trainable = False

    def read() -> dict[str, Any]:
        found = {f"{i}": keras.ops.convert_to_numpy(v).copy() for i, v in enumerate(net.variables)}
        found["TensorFlow's random state"] = tf.random.get_global_generator().state.numpy()
        found["trainable"] = [part.trainable for part in net.layers]
        found["attributes"] = [sorted(vars(part)) for part in net.layers]
        return found

    return net, read


def snapshot(read: Any) -> dict[str, Any]:
    found = read()
    found["NumPy's random state"] = np.random.get_state()[1].copy()
    found["Python's random state"] = random.getstate()
    return found


def assert_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert list(before) == list(after)
    for name, value in before.items():
        equal = (
            np.array_equal(value, after[name])
            if isinstance(value, np.ndarray)
            else value == after[name]
        )
        assert equal, f"explaining changed {name}"


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_user_s_changes(method, framework):
    net, read = shaken(framework)
    shape = (2, 3, 10, 10) if framework == "torch" else (2, 10, 10, 3)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    explain(net, x, "saliency")  # Keras notes on its first call that a layer was called
    before = snapshot(read)
    explain(net, x, method, **options(method))
    assert_unchanged(before, snapshot(read))


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_changes_when_the_model_raises(method, framework):
    net, read = shaken(framework)
    shape = (2, 3, 10, 10) if framework == "torch" else (2, 10, 10, 3)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    explain(net, x, "saliency")
    if framework == "torch":
        net.fails_from = 1e9
    before = snapshot(read)
    x[1, 0, 0, 0] = 2e9
    with pytest.raises(ModelError, match="raised"):
        explain(net, x, method, **options(method))
    assert_unchanged(before, snapshot(read))


@pytest.mark.parametrize("framework", ["jax", "tensorlayer"])
def test_weights_and_random_states_stay(framework):
    """No method moves what these models hold: arrays, and TensorLayer's training flags."""
    wrapped, x = model_of(framework)
    inner = build("cnn", framework)[0]
    wrapped = wrap(inner)
    if framework == "tensorlayer":
        inner.train()

    def read() -> dict[str, Any]:
        adapter = wrapped.adapter
        found = {n: np.asarray(adapter.to_numpy(w)).copy() for n, w in adapter.weights().items()}
        if framework == "tensorlayer":
            found["is_train"] = [inner.is_train, *(part.is_train for part in inner.all_layers)]
        return found

    before = snapshot(read)
    for method in METHODS:
        explain(wrapped, x[:2], method, **options(method))
    assert_unchanged(before, snapshot(read))


CALLS = 200
LATER = [
    pytest.param(f, marks=pytest.mark.slow)
    for f in (
        "tensorflow", "jax", "tensorlayer", "saved_model", "onnx", "sklearn", "keras on torch",
        "keras on jax",
    )
]  # fmt: skip


@pytest.mark.parametrize("framework", ["torch", "keras", "numpy", *LATER])
def test_two_hundred_calls_leave_memory_flat(framework):
    """All methods in turn, in a process of its own: what other tests left moves memory too."""
    framework, _, backend = framework.partition(" on ")
    code = f"""
import gc, psutil
from test_laws import METHODS, model_of, method_class, options, Tier
from pellucid import explain
wrapped, x = model_of({framework!r})
fits = [m for m in METHODS if method_class(m).needs <= wrapped.supports]
if x.ndim == 2:
    fits = [m for m in fits if not method_class(m).modalities]
if not wrapped.layers(x[:1]):
    fits = [m for m in fits if method_class(m).needs < Tier.TRANSPARENT]
def some(count):
    for i in range(count):
        name = fits[i % len(fits)]
        explain(wrapped, x[:4], name, batch_size=4, **options(name, x.ndim == 2))
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20, len(gc.get_objects())
some({CALLS})
before, after = some({CALLS}), some({CALLS})
print(after[0] - before[0], after[1] - before[1])
"""
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": path}
    if backend:
        environment["KERAS_BACKEND"] = backend
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    mebibytes, objects = map(float, done.stdout.split()[-2:])
    sys.stderr.write(
        f"{framework} {backend}: {mebibytes:+.1f} MiB, {objects:+.0f} objects, 200 calls\n"
    )
    assert mebibytes < 8
    assert objects < 400
