"""The TensorFlow adapter against the models themselves, a plain tape, and Keras sub-models."""

import gc
import threading

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402

import pellucid  # noqa: E402
from pellucid.adapters.protocol import LAYERS_ONLY, Tier  # noqa: E402
from pellucid.adapters.tensorflow import TensorFlowAdapter  # noqa: E402
from pellucid.errors import CapabilityError, InputError, LayerError  # noqa: E402


def pictures(n=4, size=8, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size, size, channels)).astype("float32")


def rows(n=4, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype("float32")


# Models


def functional():
    x = L.Input((8, 8, 3))
    h = L.Conv2D(4, 3, padding="same", activation="silu", name="c1")(x)
    r = L.BatchNormalization(name="bn")(h)
    r = L.Conv2D(4, 3, padding="same", activation="relu", name="c2")(r)
    h = L.Add(name="add")([h, r])
    h = L.Dropout(0.5, name="drop")(h)
    h = L.Flatten(name="flat")(h)
    return keras.Model(x, L.Dense(5, activation="softmax", name="d")(h))


def sequential():
    return keras.Sequential(
        [
            L.Input((8, 8, 3)),
            L.Conv2D(4, 3, activation="gelu", name="c"),
            L.MaxPooling2D(name="p"),
            L.Flatten(name="f"),
            L.Dense(3, name="d"),
            L.Activation("softmax", name="s"),
        ]
    )


def sequential_by_call():
    model = keras.Sequential(
        [L.Conv2D(4, 3, activation="relu", name="c"), L.Flatten(name="f"), L.Dense(3, name="d")]
    )
    model(pictures(1))
    return model


def nested():
    base_in = L.Input((8, 8, 3))
    base_out = L.Conv2D(4, 3, activation="elu", name="conv5")(base_in)
    base = keras.Model(base_in, base_out, name="base")
    x = L.Input((8, 8, 3))
    h = L.GlobalAveragePooling2D(name="gap")(base(x))
    return keras.Model(x, L.Dense(3, activation="softmax", name="d")(h))


def shared_layer():
    c = L.Conv2D(3, 3, padding="same", activation="tanh", name="c")
    x = L.Input((8, 8, 3))
    h = c(c(x))
    return keras.Model(x, L.Dense(2, name="d")(L.Flatten(name="f")(h)))


def shared_model():
    inner = L.Input((6,))
    enc = keras.Model(inner, L.Dense(6, activation="relu", name="e1")(inner), name="enc")
    x = L.Input((6,))
    h = L.Add(name="sum")([enc(x), enc(enc(x))])
    return keras.Model(x, L.Dense(2, name="d")(h))


def sigmoid():
    x = L.Input((6,))
    h = L.Dense(8, activation="relu", name="h")(x)
    return keras.Model(x, L.Dense(1, activation="sigmoid", name="d")(h))


def log_softmax():
    x = L.Input((6,))
    h = L.Dense(8, activation="relu", name="h")(x)
    return keras.Model(x, L.Dense(3, activation="log_softmax", name="d")(h))


def gated():
    x = L.Input((6,))
    h = L.Dense(4, name="h")(x)
    g = L.Dense(4, activation="sigmoid", name="g")(x)
    return keras.Model(x, L.Multiply(name="m")([h, g]))


def sigmoid_gate_on_output():
    x = L.Input((6,))
    p = L.Dense(3, activation="softmax", name="h")(x)
    return keras.Model(x, 0.9 * p + 0.1 / 3)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.c = L.Conv2D(4, 3, activation="swish", name="c")
        self.bn = L.BatchNormalization(name="bn")
        self.blocks = [L.Dense(5, activation="relu", name=f"b{i}") for i in range(2)]
        self.drop = L.Dropout(0.5, name="drop")
        self.d = L.Dense(3, name="d")

    def call(self, x, training=None):
        h = self.bn(self.c(x), training=training)
        h = tf.reduce_mean(h, [1, 2])
        for block in self.blocks:
            h = block(h)
        return tf.nn.softmax(self.d(self.drop(h, training=training)))


class WithoutTraining(keras.Model):
    def __init__(self):
        super().__init__()
        self.c = L.Conv2D(4, 3, activation="relu", name="c")
        self.d = L.Dense(3, name="d")

    def call(self, x):
        h = self.c(x)
        return self.d(tf.reshape(h, (tf.shape(h)[0], -1)))


def subclassed():
    model = Subclassed()
    model(pictures(1))
    return model


def without_training():
    model = WithoutTraining()
    model(pictures(1))
    return model


def two_inputs():
    a, b = L.Input((6,), name="a"), L.Input((4,), name="b")
    h = L.Concatenate(name="cat")([L.Dense(4, name="da")(a), L.Dense(3, name="db")(b)])
    return keras.Model([a, b], L.Dense(2, activation="softmax", name="d")(h))


def dict_inputs():
    inputs = {"right": L.Input((4,), name="right"), "left": L.Input((6,), name="left")}
    left = L.Dense(4, activation="tanh", name="dl")(inputs["left"])
    h = L.Concatenate(name="cat")([left, inputs["right"]])
    return keras.Model(inputs, L.Dense(2, name="d")(h))


def recurrent():
    x = L.Input((7, 5))
    h = L.LSTM(4, return_sequences=True, name="l1")(x)
    h = L.Bidirectional(L.GRU(3, name="g"), name="bi")(h)
    return keras.Model(x, L.Dense(2, activation="softmax", name="d")(h))


def attention():
    x = L.Input((6, 8))
    h = L.MultiHeadAttention(2, 4, name="att")(x, x)
    h = L.LayerNormalization(name="ln")(L.Add(name="add")([x, h]))
    h = L.GlobalAveragePooling1D(name="gap")(h)
    return keras.Model(x, L.Dense(3, activation="softmax", name="d")(h))


def normed():
    x = L.Input((8, 8, 4))
    h = L.DepthwiseConv2D(3, activation="hard_silu", name="dw")(x)
    h = L.GroupNormalization(2, name="gn")(h)
    h = L.SeparableConv2D(6, 3, activation="mish", name="sep")(h)
    h = L.UpSampling2D(2, name="up")(h)
    h = L.Conv2DTranspose(2, 3, strides=2, activation="leaky_relu", name="tr")(h)
    return keras.Model(x, L.Dense(3, name="d")(L.GlobalMaxPooling2D(name="gmp")(h)))


def grouped():
    x = L.Input((8, 8, 4))
    h = L.Conv2D(4, 3, groups=2, activation="relu", name="gc")(x)
    return keras.Model(x, L.Dense(3, name="d")(L.GlobalAveragePooling2D(name="gap")(h)))


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(rows(6, 3, seed=1), name="w")
        self.b = tf.Variable(tf.zeros(3), name="b")

    @tf.function
    def __call__(self, x, training=False):
        return tf.nn.softmax(tf.nn.relu(x) @ self.w + self.b)


_W = tf.constant(rows(6, 3, seed=1))


def plain_function(x):
    return tf.nn.softmax(tf.tanh(x) @ _W)


def sequence(n=4):
    return rows(n, 35).reshape(n, 7, 5)


MODELS = {
    "functional": (functional, pictures, "softmax"),
    "sequential": (sequential, pictures, "softmax"),
    "sequential_by_call": (sequential_by_call, pictures, None),
    "nested": (nested, pictures, "softmax"),
    "shared_layer": (shared_layer, pictures, None),
    "shared_model": (shared_model, rows, None),
    "subclassed": (subclassed, pictures, "softmax"),
    "without_training": (without_training, pictures, None),
    "two_inputs": (two_inputs, lambda n=4: (rows(n), rows(n, 4)), "softmax"),
    "dict_inputs": (dict_inputs, lambda n=4: {"left": rows(n), "right": rows(n, 4)}, None),
    "sigmoid": (sigmoid, rows, "sigmoid"),
    "log_softmax": (log_softmax, rows, "log_softmax"),
    "gated": (gated, rows, None),
    "recurrent": (recurrent, sequence, "softmax"),
    "attention": (attention, lambda n=4: rows(n, 48).reshape(n, 6, 8), "softmax"),
    "normed": (normed, lambda n=4: pictures(n, channels=4), None),
    "grouped": (grouped, lambda n=4: pictures(n, channels=4), None),
}
FREE = {
    "module": (Module, rows, "softmax"),
    "function": (lambda: plain_function, rows, "softmax"),
}
every = pytest.mark.parametrize("name", [*MODELS, *FREE])
layered = pytest.mark.parametrize("name", list(MODELS))


@pytest.fixture(scope="module")
def made():
    """Each model once, with weights re-drawn where they start at zero."""
    cache = {}

    def make(name):
        if name not in cache:
            keras.utils.set_random_seed(3)
            build, data, final = {**MODELS, **FREE}[name]
            model = build()
            if isinstance(model, keras.Model):
                generator = np.random.default_rng(5)
                for v in model.weights:
                    if v.path.endswith(("bias", "beta", "moving_mean")):
                        v.assign(generator.normal(size=v.shape) * 0.1)
            cache[name] = (model, TensorFlowAdapter(model), data, final)
        return cache[name]

    return make


def call(model, x):
    if isinstance(model, keras.Model):
        return model(x, training=False)
    return model(x)


def log_odds(final, outputs):
    """Logits from what the user's own model returns, up to what softmax does not see."""
    y = np.asarray(outputs, np.float64)
    if final == "softmax":
        return np.log(y) - np.log(y).mean(-1, keepdims=True)
    if final == "sigmoid":
        return np.log(y) - np.log1p(-y)
    if final == "log_softmax":
        return y - y.mean(-1, keepdims=True)
    return y


def centred(final, z):
    z = np.asarray(z, np.float64)
    return z - z.mean(-1, keepdims=True) if final in ("softmax", "log_softmax") else z


def gradient(adapter, x, column=0, **options):
    value, _, back = adapter.vjp(lambda a: (adapter.run(a, **options)[:, column], None), x)
    return back(tf.ones_like(value))


def tape_gradient(model, adapter, leaves, column=0):
    tensors = tuple(tf.identity(a) for a in leaves)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = call(model, adapter.restore(tensors))[:, column]
    return tape.gradient(value, tensors)


def close(a, b, tolerance=2e-6):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=tolerance * max(1.0, np.abs(b).max()))


@every
def test_run_is_the_model_and_peels_its_end(made, name):
    model, adapter, data, final = made(name)
    leaves = adapter.accept(data())
    expected = call(model, adapter.restore(leaves))
    close(adapter.run(leaves, peel=False), expected)
    assert adapter.final_activation(leaves) == (final,)
    np.testing.assert_allclose(
        centred(final, adapter.run(leaves)), log_odds(final, expected), rtol=1e-3, atol=1e-4
    )
    assert adapter.notes == ("compiled trace",)


@every
def test_gradient_is_the_tapes(made, name):
    model, adapter, data, _ = made(name)
    leaves = adapter.accept(data())
    for found, expected in zip(
        gradient(adapter, leaves, peel=False), tape_gradient(model, adapter, leaves), strict=True
    ):
        close(found, expected)


@every
def test_operations_passed_through_change_nothing(made, name):
    _, adapter, data, _ = made(name)
    leaves = adapter.accept(data())
    seen = []

    def through(op):
        seen.append(op)
        return op()

    close(adapter.run(leaves, intercept=through), adapter.run(leaves))
    assert seen
    assert all(any(op.live) for op in seen)
    assert all(op.kind != "other" for op in seen), {op.name for op in seen if op.kind == "other"}
    for found, expected in zip(
        gradient(adapter, leaves, intercept=lambda op: op()), gradient(adapter, leaves), strict=True
    ):
        close(found, expected)


@layered
def test_every_cut_goes_on_as_the_whole(made, name):
    _, adapter, data, _ = made(name)
    leaves = adapter.accept(data(3))
    whole = adapter.run(leaves)
    infos = adapter.layers(leaves)
    assert infos
    assert len({info.path for info in infos}) == len(infos)
    assert [info.order for info in infos] == list(range(len(infos)))
    for info in infos:
        cut = adapter.cut(leaves, info.path)
        assert tuple(cut.value.shape[1:]) == info.shape[1:]
        close(cut.run(cut.value), whole)
        close(cut.outputs, whole)
        if cut.value.shape[0] == 3:
            variants = cut.run(tf.repeat(cut.value, 2, axis=0))
            close(variants, np.repeat(whole, 2, axis=0))


@layered
def test_variants_of_a_sample_see_that_sample_only(made, name):
    """Two different variants of each sample are two runs of the cut, side by side."""
    _, adapter, data, _ = made(name)
    leaves = adapter.accept(data(3))
    for info in adapter.layers(leaves):
        cut = adapter.cut(leaves, info.path)
        if cut.value.dtype.is_floating and cut.value.shape[0] == 3:
            first, second = cut.value * 0.5, cut.value + 0.1
            both = tf.reshape(tf.stack([first, second], 1), (6, *cut.value.shape[1:]))
            together = np.asarray(cut.run(both)).reshape(3, 2, -1)
            close(together[:, 0], np.asarray(cut.run(first)).reshape(3, -1))
            close(together[:, 1], np.asarray(cut.run(second)).reshape(3, -1))


@layered
def test_layers_passed_through_change_nothing(made, name):
    _, adapter, data, _ = made(name)
    leaves = adapter.accept(data())
    paths = [info.path for info in adapter.layers(leaves)]
    seen = []

    def through(op):
        seen.append(op.path)
        return op()

    options = {"layers": paths, "kinds": LAYERS_ONLY}
    close(adapter.run(leaves, intercept=through, **options), adapter.run(leaves))
    assert seen == [path.partition("#")[0] for path in paths]
    for found, expected in zip(
        gradient(adapter, leaves, intercept=lambda op: op(), **options),
        gradient(adapter, leaves),
        strict=True,
    ):
        close(found, expected)


@pytest.mark.parametrize("name", ["functional", "recurrent", "attention", "normed"])
def test_probes_and_cuts_agree_at_every_layer(made, name):
    """Two ways to a layer's value and gradient: adding zeros at its exit, and running from it."""
    model, adapter, data, _ = made(name)
    leaves = adapter.accept(data())
    for info in adapter.layers(leaves):
        cut = adapter.cut(leaves, info.path)
        options = {"layers": [info.path], "kinds": LAYERS_ONLY}

        def probed(a, options=options):
            recorded = []

            def probe(op):
                recorded.append(op())
                return op() + a[0]

            return adapter.run(leaves, intercept=probe, **options)[:, 0], recorded[0]

        total, recorded, back = adapter.vjp(probed, (tf.zeros_like(cut.value),))
        close(recorded, cut.value)
        if "/" not in info.path:
            sub = keras.Model(model.inputs, model.get_layer(info.path).output)
            if info.path != model.layers[-1].name:
                close(recorded, sub(leaves[0], training=False))
        value, _, ahead = adapter.vjp(lambda a, c=cut: (c.run(a[0])[:, 0], None), (cut.value,))
        close(back(tf.ones_like(total))[0], ahead(tf.ones_like(value))[0])


def test_gradient_at_a_layer_is_grad_cams_by_submodel_and_tape(made):
    model, adapter, data, _ = made("functional")
    leaves = adapter.accept(data())
    for path in ("c1", "bn", "c2", "add"):
        sub = keras.Model(model.inputs, [model.get_layer(path).output, model.output])
        with tf.GradientTape() as tape:
            activation, outputs = sub(leaves[0], training=False)
            score = outputs[:, 2]
        expected = tape.gradient(score, activation)
        cut = adapter.cut(leaves, path, peel=False)
        value, _, back = adapter.vjp(lambda a, c=cut: (c.run(a[0])[:, 2], None), (cut.value,))
        close(cut.value, activation)
        close(back(tf.ones_like(value))[0], expected)


def test_patching_a_layer_replaces_its_value(made):
    model, adapter, data, _ = made("functional")
    leaves = adapter.accept(data())
    patched = adapter.run(
        leaves,
        intercept=lambda op: tf.zeros_like(op()),
        layers=["flat"],
        kinds=LAYERS_ONLY,
        peel=False,
    )
    bias = model.get_layer("d").bias.numpy()
    close(patched, np.tile(tf.nn.softmax(bias[None]), (4, 1)))


def test_shared_layers_are_numbered_by_call(made):
    _, adapter, data, _ = made("shared_layer")
    leaves = adapter.accept(data())
    assert [i.path for i in adapter.layers(leaves)] == ["c", "c#2", "f", "d"]
    assert [i.path for i in adapter.layers()] == ["c", "f", "d"]
    _, adapter, data, _ = made("shared_model")
    paths = [i.path for i in adapter.layers(adapter.accept(data()))]
    assert set(paths) == {
        "enc", "enc#2", "enc#3", "enc/e1", "enc/e1#2", "enc/e1#3", "sum", "d",
    }  # fmt: skip
    first = adapter.cut(adapter.accept(data()), "enc.e1")
    assert first.value.shape == (4, 6)


def test_paths_of_operations_are_layers(made):
    _, adapter, data, _ = made("attention")
    found = {op.path for op in adapter.operations(adapter.accept(data()))}
    assert {"att/query", "att/key", "att/value", "att/attention_output", "ln", "d"} <= found
    _, adapter, data, _ = made("functional")
    kinds = {(op.path, op.name): op.kind for op in adapter.operations(adapter.accept(data()))}
    assert kinds["c2", "Conv2D"] == "linear"
    assert kinds["c2", "BiasAdd"] == "bias"
    assert kinds["c2", "Relu"] == "activation"
    assert kinds["add", "AddV2"] == "add"
    assert kinds["bn", "AddV2"] == "bias"


def test_an_operation_can_be_done_again(made):
    model, adapter, data, _ = made("functional")
    leaves = adapter.accept(data())
    seen = {}

    def look(op):
        out = op()
        if op.path == "c2" and op.name == "Conv2D":
            (name,) = op.weights
            seen["name"], seen["arguments"] = name, op.arguments
            seen["zero"] = op(weights={name: tf.zeros_like(op.weights[name])})
            seen["double"] = op(inputs=(op.inputs[0] * 2, op.inputs[1])) - 2 * out
        if op.path == "c2" and op.kind == "bias":
            seen["bias"] = op(bias=False) - op.inputs[0]
        return out

    adapter.run(leaves, intercept=look)
    assert seen["name"] == model.get_layer("c2").kernel.path
    assert seen["arguments"]["padding"] == "SAME"
    assert seen["arguments"]["strides"] == (1, 1, 1, 1)
    for key in ("zero", "double", "bias"):
        assert np.abs(seen[key]).max() < 1e-5


def test_unknown_layers_name_the_nearest(made):
    _, adapter, data, _ = made("nested")
    leaves = adapter.accept(data())
    with pytest.raises(LayerError, match="base/conv5"):
        adapter.cut(leaves, "base/conv6")
    close(adapter.cut(leaves, "base.conv5").value, adapter.cut(leaves, "base/conv5").value)
    function = TensorFlowAdapter(plain_function)
    with pytest.raises(LayerError):
        function.cut(function.accept(rows()), "c")


def test_layers_with_one_name_get_different_paths():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = L.Dense(3, name="d"), L.Dense(3, name="d")

        def call(self, x):
            return self.second(self.first(x))

    model = Twins()
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(rows())  # built by the first call
    assert [i.path for i in adapter.layers(leaves)] == ["first", "second"]
    close(adapter.cut(leaves, "first").value, model.first(leaves[0]))


# Outputs and inputs


def test_several_outputs_are_peeled_one_by_one():
    x = L.Input((6,))
    outputs = {
        "kind": L.Dense(3, activation="softmax", name="k")(x),
        "size": L.Dense(1, name="s")(x),
        "on": L.Dense(1, activation="sigmoid", name="o")(x),
    }
    model = keras.Model(x, outputs)
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(rows())
    assert adapter.final_activation(leaves) == ("softmax", "sigmoid", None)
    found, expected = adapter.run(leaves), model(leaves[0])
    assert set(found) == set(outputs)
    close(tf.nn.softmax(found["kind"]), expected["kind"])
    close(found["size"], expected["size"])
    close(tf.sigmoid(found["on"]), expected["on"])
    tuple_model = keras.Model(x, (outputs["kind"], outputs["size"]))
    pair = TensorFlowAdapter(tuple_model).run(leaves, peel=False)
    assert len(pair) == 2
    close(pair[0], expected["kind"])


def test_segmentation_heads_are_peeled_along_their_channels():
    x = L.Input((4, 4, 2))
    model = keras.Model(x, L.Conv2D(3, 1, activation="softmax", name="c")(x))
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(pictures(2, 4, 2))
    assert adapter.final_activation(leaves) == ("softmax",)
    first = TensorFlowAdapter(lambda a: tf.nn.softmax(a * 2.0, axis=1))
    leaves = first.accept(pictures(2, 4, 3).transpose(0, 3, 1, 2))
    assert first.final_activation(leaves) == ("softmax",)
    close(first.run(leaves), leaves[0] * 2)


def test_a_smoothed_softmax_is_not_peeled():
    adapter = TensorFlowAdapter(sigmoid_gate_on_output())
    leaves = adapter.accept(rows())
    assert adapter.final_activation(leaves) == (None,)
    close(adapter.run(leaves), adapter.run(leaves, peel=False))


def test_a_cut_at_a_peeled_last_layer_holds_the_logits(made):
    _, adapter, data, _ = made("sequential")
    leaves = adapter.accept(data())
    cut = adapter.cut(leaves, "s")
    close(cut.value, adapter.run(leaves))
    close(cut.run(cut.value + 1), adapter.run(leaves) + 1)
    close(adapter.cut(leaves, "s", peel=False).value, adapter.run(leaves, peel=False))


def test_inputs_are_taken_and_given_back_in_their_own_structure():
    model = dict_inputs()
    adapter = TensorFlowAdapter(model)
    x = {"right": rows(2, 4).tolist(), "left": rows(2)}
    leaves = adapter.accept(x)
    assert [spec.name for spec in adapter.inputs] == ["left", "right"]
    assert [a.shape[1] for a in leaves] == [6, 4]
    assert adapter.restore(["l", "r"]) == {"right": "r", "left": "l"}
    with pytest.raises(InputError, match="right"):
        adapter.accept({"left": rows(2)})
    pair = TensorFlowAdapter(two_inputs())
    leaves = pair.accept([rows(2), rows(2, 4)])
    assert pair.restore(["a", "b"]) == ["a", "b"]
    named = pair.accept({"b": rows(2, 4), "a": rows(2)})
    close(pair.run(leaves), pair.run(named))
    assert pair.restore(["a", "b"]) == {"b": "b", "a": "a"}
    with pytest.raises(InputError, match="2 inputs"):
        pair.accept(rows(2))


def test_rows_of_numbers_and_lists_of_rows_are_one_input(made):
    _, adapter, _, _ = made("sigmoid")
    x = rows(3)
    for given in (x, x.tolist(), list(x), tf.constant(x), [x], x.astype("float64")):
        (leaf,) = adapter.accept(given)
        assert leaf.dtype == tf.float32
        close(leaf, x)
    (whole,) = adapter.accept(np.ones((2, 6), "int64"))
    assert whole.dtype == tf.float32


def test_functions_take_their_inputs_as_arguments():
    adapter = TensorFlowAdapter(lambda a, b: tf.reduce_sum(a, 1) * b)
    leaves = adapter.accept((rows(2), np.ones(2, "float32")))
    close(adapter.run(leaves), rows(2).sum(1))
    packed = TensorFlowAdapter(lambda d: d["a"] + d["b"])
    leaves = packed.accept({"b": rows(2), "a": rows(2)})
    close(packed.run(leaves), rows(2) * 2)


def test_token_models_have_live_embeddings_and_zero_gradients():
    x = L.Input((5,), dtype="int32")
    h = L.Embedding(11, 4, mask_zero=True, name="e")(x)
    h = L.LSTM(3, name="l")(h)
    model = keras.Model(x, L.Dense(2, name="d")(h))
    adapter = TensorFlowAdapter(model)
    tokens = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    leaves = adapter.accept(tokens)
    assert leaves[0].dtype == tf.int32
    close(adapter.run(leaves), model(tokens))
    close(adapter.run(leaves, intercept=lambda op: op()), model(tokens))
    assert "lookup" in {op.kind for op in adapter.operations(leaves)}
    assert "opaque" in {op.kind for op in adapter.operations(leaves)}
    assert not np.any(gradient(adapter, leaves)[0])
    cut = adapter.cut(leaves, "e")
    close(cut.run(tf.repeat(cut.value, 3, axis=0)), np.repeat(model(tokens), 3, axis=0))
    with pytest.raises(InputError, match="fraction"):
        adapter.accept(tokens + 0.5)


def test_tokens_in_a_float_input_are_live_too():
    x = L.Input((5,))  # float32 by default
    h = L.GlobalAveragePooling1D(name="gap")(L.Embedding(11, 4, name="e")(x))
    model = keras.Model(x, L.Dense(2, name="d")(h))
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(np.array([[1, 2, 3, 0, 0]]))
    kinds = [op.kind for op in adapter.operations(leaves)]
    assert "lookup" in kinds
    assert "linear" in kinds


def test_masks_are_kept():
    x = L.Input((4, 3))
    h = L.Masking(name="mask")(x)
    model = keras.Model(x, L.Dense(2, name="d")(L.LSTM(3, name="l")(h)))
    data = rows(2, 12).reshape(2, 4, 3)
    data[:, 2:] = 0
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(data)
    close(adapter.run(leaves), model(data))
    cut = adapter.cut(leaves, "mask")
    close(cut.run(cut.value), model(data))


def test_loaded_programs_are_opened(tmp_path):
    model = sequential()
    model.export(tmp_path / "saved", verbose=False)
    program = tf.saved_model.load(tmp_path / "saved")
    adapter = TensorFlowAdapter(program.serve)
    leaves = adapter.accept(pictures())
    assert adapter.final_activation(leaves) == ("softmax",)
    close(adapter.run(leaves, peel=False), model(leaves[0]))
    assert "Conv2D" in {op.name for op in adapter.operations(leaves)}
    expected = tape_gradient(model, adapter, leaves)
    for options in ({}, {"intercept": lambda op: op()}):
        close(gradient(adapter, leaves, peel=False, **options)[0], expected[0])


def test_branches_are_opaque_but_right():
    class Branching(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (L.Dense(6, name=n) for n in "abc")

        def call(self, x):
            h = tf.cond(tf.reduce_sum(x) > 0, lambda: self.a(x), lambda: self.b(x))
            return self.c(h)

    model = Branching()
    adapter = TensorFlowAdapter(model)
    for sign in (1, -1):
        leaves = adapter.accept(np.abs(rows()) * sign)
        close(adapter.run(leaves, intercept=lambda op: op()), model(leaves[0]))
        found = gradient(adapter, leaves, intercept=lambda op: op())
        close(found[0], tape_gradient(model, adapter, leaves)[0])
    assert "opaque" in {op.kind for op in adapter.operations(leaves)}
    with pytest.raises(LayerError, match="branch"):
        adapter.cut(leaves, "a")


def test_an_unbuilt_model_is_built_by_one_call():
    model = Subclassed()
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(pictures())
    close(adapter.run(leaves, peel=False), model(leaves[0], training=False))
    assert [i.path for i in adapter.layers(leaves)] == ["c", "bn", "b0", "b1", "drop", "d"]
    assert not adapter.inputs[0].certain
    assert adapter.inputs[0].shape == (8, 8, 3)


# Custom gradients


@tf.custom_gradient
def rounded(x):
    return tf.round(x), lambda dy: dy


@tf.custom_gradient
def tripled(x, y):
    """Remembers a value that nothing else needs."""
    kept = tf.sin(x) * 3.0
    return x + y, lambda dx: (dx * kept, dx * y)


def straight_through():
    x = L.Input((6,))
    h = L.Dense(5, activation="silu", name="h")(x)
    h = L.Lambda(rounded, name="ste")(h * 3)
    h = L.Lambda(lambda t: tripled(t, t * 2), name="odd")(h)
    return keras.Model(x, L.Dense(3, activation="softmax", name="d")(h))


def test_custom_gradients_are_kept_everywhere():
    model = straight_through()
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(rows())
    (expected,) = tape_gradient(model, adapter, leaves)
    assert np.abs(expected).max() > 1e-3
    ways = [
        {},
        {"intercept": lambda op: op()},
        {"intercept": lambda op: op(), "layers": ["h", "ste"], "kinds": LAYERS_ONLY},
        {"intercept": lambda op: op(), "kinds": frozenset({"activation"})},
    ]
    for options in ways:
        close(gradient(adapter, leaves, peel=False, **options)[0], expected)
    cut = adapter.cut(leaves, "h", peel=False)
    layer = model.get_layer("h")
    rest, below = keras.Model(layer.output, model.output), layer(leaves[0])
    with tf.GradientTape() as tape:
        tape.watch(below)
        score = rest(below)[:, 0]
    value, _, back = adapter.vjp(lambda a: (cut.run(a[0])[:, 0], None), (cut.value,))
    close(back(tf.ones_like(value))[0], tape.gradient(score, below))
    assert "custom_gradient" in {op.kind for op in adapter.operations(leaves)}


def test_silu_is_seen_as_its_parts(made):
    _, adapter, data, _ = made("functional")
    kinds = [op.kind for op in adapter.operations(adapter.accept(data())) if op.path == "c1"]
    assert "custom_gradient" not in kinds
    assert "mul" in kinds


# Weights and fingerprints


def test_weights_are_replaced_for_one_run_only(made):
    model, adapter, data, _ = made("subclassed")
    leaves = adapter.accept(data())
    before = model.get_weights()
    doubled = {name: 2 * w for name, w in adapter.weights().items()}
    twin = subclassed()
    twin.set_weights([2 * w for w in before])
    expected = TensorFlowAdapter(twin).run(leaves)
    close(adapter.run(leaves, weights=doubled), expected)
    close(adapter.run(leaves, weights=doubled, intercept=lambda op: op()), expected)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    name = next(n for n in doubled if n.endswith("kernel"))
    value, _, back = adapter.vjp(
        lambda w: (tf.reduce_sum(adapter.run(leaves, weights={name: w[0]})[:, 0]), None),
        (adapter.weights()[name],),
    )
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(adapter.run(leaves)[:, 0])
    variable = next(v for v in model.weights if v.path == name)
    close(back(tf.ones_like(value))[0], tape.gradient(score, variable._value))
    with pytest.raises(InputError, match="no weight"):
        adapter.run(leaves, weights={"nothing": 1.0})


def test_fingerprints_see_every_weight_and_the_structure():
    model = functional()
    adapter = TensorFlowAdapter(model)
    first = adapter.fingerprint()
    assert adapter.fingerprint() == first
    adapter.run(adapter.accept(pictures()))
    assert adapter.fingerprint() == first
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    assert TensorFlowAdapter(copy).fingerprint() == first
    for variable in model.weights:
        kept = variable.numpy()
        changed = kept.copy()
        changed.flat[-1] += 1e-3
        variable.assign(changed)
        assert adapter.fingerprint() != first, variable.path
        variable.assign(kept)
    assert adapter.fingerprint() == first
    model.get_layer("c2").activation = keras.activations.tanh
    assert adapter.fingerprint() != first


def test_a_changed_activation_is_traced_again():
    model = functional()
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(pictures())
    adapter.run(leaves)
    model.get_layer("c2").activation = keras.activations.tanh
    close(adapter.run(leaves, peel=False), model(leaves[0], training=False))


class Scaled(L.Layer):
    def __init__(self):
        super().__init__()
        self.k, self._private, self.shift = 2.0, 1.0, np.zeros(6, "float32")
        self.sizes, self.function = [1.0, 2.0], tf.nn.relu

    def call(self, x):
        return self.function(x) * self.k * self._private * self.sizes[1] + self.shift


def test_changed_attributes_of_layers_are_traced_again():
    x = L.Input((6,))
    layer = Scaled()
    model = keras.Model(x, L.Dense(3, name="d")(layer(x)))
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(rows())
    prints = {adapter.fingerprint()}

    def change_array():
        layer.shift[2] = 7.0

    def change_list():
        layer.sizes[1] = 3.0

    for change in (
        lambda: None,
        lambda: setattr(layer, "k", 5.0),
        lambda: setattr(layer, "_private", 0.5),
        lambda: setattr(layer, "function", tf.nn.elu),
        change_array,
        change_list,
    ):
        change()
        close(adapter.run(leaves), model(leaves[0]))
        prints.add(adapter.fingerprint())
    assert len(prints) == 6


def test_one_explanation_looks_at_attributes_once_and_the_next_one_again(monkeypatch):
    from pellucid.adapters.tensorflow import reading

    looks, look = [], reading._state_of
    monkeypatch.setattr(reading, "_state_of", lambda *given: looks.append(1) or look(*given))
    x = L.Input((6,))
    layer = Scaled()
    net = keras.Model(x, L.Dense(3, name="d")(layer(x)))
    model = pellucid.wrap(net)
    for factor in (2.0, 5.0, 5.0):
        layer.k = factor
        looks.clear()
        found = pellucid.explain(model, rows(), "saliency", target=1)
        close(found.outputs, net(rows()))
    assert len(looks) == 1


_GLOBAL = np.ones(6, "float32")


def test_changed_values_of_functions_and_modules_are_traced_again():
    weights, settings = np.ones((6, 2), "float32"), {"scale": 1.0}

    def inner(x):
        return x @ weights

    def function(x, bias=np.zeros(2, "float32")):  # noqa: B008
        return inner(x * _GLOBAL) * settings["scale"] + bias

    class Held(tf.Module):
        def __init__(self):
            super().__init__()
            self.array, self.number = np.ones(2, "float32"), 1.0

        def __call__(self, x):
            return x[:, :2] * self.array * self.number

        def other(self, x):
            return x[:, :2] + self.array

    module = Held()
    for model, arrays in (
        (function, (weights, _GLOBAL, function.__defaults__[0])),
        (module, (module.array,)),
        (module.other, (module.array,)),
    ):
        adapter = TensorFlowAdapter(model)
        leaves = adapter.accept(rows())
        for array in arrays:
            before = adapter.fingerprint()
            close(adapter.run(leaves), model(leaves[0]))
            array[..., 0] += 2.0
            close(adapter.run(leaves), model(leaves[0]))
            assert adapter.fingerprint() != before
        settings["scale"] += 1.0
        module.number += 1.0
        close(adapter.run(leaves), model(leaves[0]))


def test_a_models_own_counters_do_not_trace_it_again():
    traces, counts = [], [0]

    def note(a):
        counts[0] += len(a)
        return a

    def function(x):
        traces.append(1)
        y = tf.numpy_function(note, [x], x.dtype)
        y.set_shape(x.shape)
        return y * 2.0

    adapter = TensorFlowAdapter(function)
    for n in (2, 3, 2):
        adapter.run(adapter.accept(rows(n)))
    assert counts == [7]
    assert len(traces) == 1


# Evaluations are what the model sees


_SEEN = [0]


@tf.custom_gradient
def counting(x):
    def note(a):
        _SEEN[0] += len(a)
        return a

    y = tf.numpy_function(note, [x], x.dtype)
    y.set_shape(x.shape)
    return y, lambda d: d


class Counting(L.Layer):
    def call(self, x):
        return counting(x)


def counting_model(softmax):
    x = L.Input((8, 8, 3))
    h = L.Conv2D(4, 3, activation="relu", name="c")(Counting()(x))
    end = L.Dense(3, activation="softmax" if softmax else None, name="d")
    return keras.Model(x, end(L.Flatten(name="f")(h)))


def counting_function(softmax):
    weights = tf.random.stateless_normal((192, 3), (0, 1))

    def function(x):
        z = tf.reshape(counting(x), (-1, 192)) @ weights
        if softmax == "moved":  # only a run tells that this is a softmax of the logits
            return tf.squeeze(tf.nn.softmax(z[:, None]), 1)
        return tf.nn.softmax(z) if softmax else z

    return function


@pytest.mark.parametrize(
    ("make", "softmax"),
    [
        (counting_model, True),
        (counting_model, False),
        (counting_function, True),
        (counting_function, False),
        (counting_function, "moved"),
    ],
)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("saliency", {}),
        ("gradient_x_input", {}),
        ("integrated_gradients", {"steps": 4}),
        ("smoothgrad", {"samples": 3}),
        ("occlusion", {}),
        ("gradcam", {"layer": "c"}),
    ],
)
def test_reported_evaluations_are_the_rows_the_model_sees(make, softmax, method, options):
    if method == "gradcam" and make is counting_function:
        pytest.skip("a plain function has no layers")
    model = make(softmax)
    if make is counting_function:
        model = pellucid.wrap(model, framework="tensorflow", inputs=(8, 8, 3))
    for _ in ("fresh", "warm"):
        _SEEN[0] = 0
        found = pellucid.explain(model, pictures(3), method, **options)
        assert _SEEN[0] == found.evaluations.forward


# Nothing of the user's changes


def state(model):
    layers = model._flatten_layers()
    return (
        [w.copy() for w in model.get_weights()],
        [sorted(layer.__dict__) for layer in layers],
        [layer.trainable for layer in layers],
        [s.state.numpy() for layer in layers for s in getattr(layer, "_seed_generators", ())],
        np.random.get_state()[1].copy(),
        tf.random.get_global_generator().state.numpy(),
    )


def same_state(a, b):
    for before, after in zip(a, b, strict=True):
        if isinstance(before, list):
            assert len(before) == len(after)
            for one, other in zip(before, after, strict=True):
                np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_array_equal(before, after)


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("name", ["functional", "subclassed", "nested", "recurrent"])
def test_nothing_changes_also_after_an_exception(name):
    build, data, _ = MODELS[name]
    model = build()
    x = data()
    model(x)
    before = state(model)
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(x)
    adapter.run(leaves)
    gradient(adapter, leaves)
    path = adapter.layers(leaves)[0].path
    adapter.cut(leaves, path)
    adapter.operations(leaves)

    def interrupt(op):
        raise StopHereError

    with pytest.raises(StopHereError):
        adapter.run(leaves, intercept=interrupt)
    with pytest.raises(StopHereError):
        adapter.run(leaves, intercept=interrupt, layers=[path], kinds=LAYERS_ONLY)
    same_state(before, state(model))


def test_nothing_is_left_after_a_layer_raises():
    class Broken(L.Layer):
        def call(self, x):
            raise StopHereError("inside")

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.d, self.broken = L.Dense(3, name="d"), Broken(name="broken")
            self.d.build((None, 6))
            self.broken.built = self.built = True

        def call(self, x):
            return self.broken(self.d(x))

    model = Model()
    before = state(model)
    adapter = TensorFlowAdapter(model)
    with pytest.raises(Exception, match="inside"):
        adapter.run(adapter.accept(rows()))
    same_state(before, state(model))


def test_dropout_and_batch_norm_stay_in_inference_mode(made):
    _, adapter, data, _ = made("functional")
    leaves = adapter.accept(data())
    assert not any("Random" in op.name for op in adapter.operations(leaves))


# Speed: traces


def counted(model):
    traces = []
    original = type(model).call

    def call(self, *args, **kwargs):
        traces.append(1)
        return original(self, *args, **kwargs)

    type(model).call = call
    return traces


def test_one_trace_serves_all_batch_sizes_and_classes():
    class Once(Subclassed):
        def call(self, x, training=None):
            return Subclassed.call(self, x, training=training)

    model = Once()
    model(pictures(1))
    traces = counted(model)
    adapter = TensorFlowAdapter(model)
    for n in range(1, 6):
        leaves = adapter.accept(pictures(n))
        for column in range(3):
            gradient(adapter, leaves, column)
            cut = adapter.cut(leaves, "c")
            adapter.vjp(lambda a, c=cut, k=column: (c.run(a[0])[:, k], None), (cut.value,))
        adapter.run(adapter.accept(pictures(n).astype("float64")))
        adapter.run(leaves, intercept=lambda op: op())
    assert len(traces) == 1


def test_fixed_batches_are_traced_for_their_size():
    class Fixed(keras.Model):
        def __init__(self):
            super().__init__()
            self.d = L.Dense(3, name="d")

        def call(self, x):
            pairs = tf.reshape(x, (int(x.shape[0]), 2, 3))
            return self.d(x) + tf.reduce_sum(pairs * pairs, 1)

    model = Fixed()
    adapter = TensorFlowAdapter(model)
    for n in (2, 3):
        leaves = adapter.accept(rows(n))
        close(adapter.run(leaves), model(leaves[0]))
        cut = adapter.cut(leaves, "d")
        close(cut.run(cut.value), model(leaves[0]))
        close(cut.run(tf.repeat(cut.value, 2, axis=0)), np.repeat(model(leaves[0]), 2, axis=0))
    assert "compiled trace for batches of 2" in adapter.notes


def test_merged_batch_axes_are_repeated_rightly():
    """A crosser with samples and positions in one axis, and one with the samples second."""

    class Merged(keras.Model):
        def __init__(self):
            super().__init__()
            self.side = L.Dense(4, name="side")
            self.main = L.Dense(4, name="main")
            self.d = L.Dense(2, name="d")

        def call(self, x):
            n = tf.shape(x)[0]
            merged = self.side(tf.reshape(x, (-1, 2)))
            second = tf.transpose(tf.reshape(x, (n, 3, 2)), (1, 0, 2))
            h = self.main(x)
            sums = tf.reduce_sum(tf.reshape(merged, (n, 3, 4)), 1)
            return self.d(
                h * sums + tf.reduce_sum(tf.transpose(second, (1, 0, 2)), (1, 2))[:, None]
            )

    model = Merged()
    model(rows(1))
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(rows(3))
    for n in (3, 1):
        leaves = adapter.accept(rows(n))
        cut = adapter.cut(leaves, "main")
        close(cut.run(tf.repeat(cut.value, 4, axis=0)), np.repeat(adapter.run(leaves), 4, axis=0))


# The eager reading


class Deciding(keras.Model):
    def __init__(self):
        super().__init__()
        self.c = L.Dense(6, activation="tanh", name="c")
        self.d = L.Dense(3, activation="softmax", name="d")

    def call(self, x):
        h = self.c(x)
        while tf.reduce_sum(tf.abs(h)) > 3.0:
            h = h * 0.5
        return self.d(h)


def test_models_that_cannot_be_traced_are_run_eagerly():
    model = Deciding()
    model(rows())
    before = state(model)
    adapter = TensorFlowAdapter(model)
    leaves = adapter.accept(rows())
    close(adapter.run(leaves, peel=False), model(leaves[0]))
    assert adapter.notes[0].startswith("eager fall-back, which is slow: ")
    assert adapter.final_activation(leaves) == ("softmax",)
    close(tf.nn.softmax(adapter.run(leaves)), model(leaves[0]))
    close(gradient(adapter, leaves, peel=False)[0], tape_gradient(model, adapter, leaves)[0])
    assert [i.path for i in adapter.layers(leaves)] == ["c", "d"]
    for path in ("c", "d"):
        cut = adapter.cut(leaves, path)
        close(cut.run(cut.value), adapter.run(leaves))
        value, _, back = adapter.vjp(lambda a, c=cut: (c.run(a[0])[:, 0], None), (cut.value,))
        assert np.abs(back(tf.ones_like(value))[0]).max() > 0
    with pytest.raises(CapabilityError, match="single operations"):
        adapter.run(leaves, intercept=lambda op: op())
    same_state(before, state(model))


# Derivatives


def test_pullbacks_serve_many_cotangents_and_absent_inputs():
    adapter = TensorFlowAdapter(lambda a, b: a * 2.0)
    leaves = adapter.accept((rows(2), np.arange(2)))
    value, aux, back = adapter.vjp(lambda x: (adapter.run(x), "kept"), leaves)
    assert aux == "kept"
    for scale in (1.0, 3.0):
        first, second = back(tf.ones_like(value) * scale)
        close(first, np.full((2, 6), 2 * scale, "float32"))
        assert second.dtype == leaves[1].dtype
        assert not np.any(second)
    independent, _, back = adapter.vjp(lambda x: (tf.ones(2), None), leaves)
    assert not np.any(back(independent)[0])


def test_custom_vjp_and_stop_gradient():
    adapter = TensorFlowAdapter(plain_function)
    (x,) = adapter.accept(rows(2))
    guided = adapter.custom_vjp(tf.nn.relu, lambda dy, a: tf.where(a > 0, tf.nn.relu(dy), 0.0))
    value, _, back = adapter.vjp(lambda a: (guided(a[0]), None), (x,))
    dy = rows(2, seed=9)
    close(back(tf.constant(dy))[0], np.where(rows(2) > 0, np.maximum(dy, 0), 0))
    close(value, np.maximum(rows(2), 0))
    value, _, back = adapter.vjp(lambda a: (adapter.stop_gradient(a[0]) * a[0], None), (x,))
    close(back(tf.ones_like(value))[0], x)


def test_variables_are_not_watched(made):
    model, adapter, data, _ = made("sigmoid")
    leaves = adapter.accept(data())
    value, _, back = adapter.vjp(
        lambda a: (tf.reduce_sum(model.layers[-1].kernel * 1.0), None), leaves
    )
    assert not np.any(back(value)[0])


# Facts


def test_facts(made):
    model, adapter, _, _ = made("functional")
    assert adapter.framework == "keras"
    assert adapter.supports is Tier.TRAINABLE
    assert adapter.channel_axis == -1
    assert adapter.device == "CPU:0"
    assert adapter.inputs[0].shape == (8, 8, 3)
    assert adapter.inputs[0].dtype == "float32"
    assert set(adapter.weights()) == {w.path for w in model.weights}
    assert list(adapter.weights(lambda n: n.startswith("c1/"))) == ["c1/kernel", "c1/bias"]
    module = TensorFlowAdapter(Module())
    assert module.framework == "tensorflow"
    assert module.inputs is None
    assert list(module.weights()) == ["b", "w"]
    assert TensorFlowAdapter(plain_function).supports is Tier.TRANSPARENT
    assert adapter.is_out_of_memory(MemoryError())
    assert adapter.is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, ""))
    assert not adapter.is_out_of_memory(ValueError())
    round_trip = adapter.to_numpy(adapter.asarray(np.arange(3, dtype=np.float64)))
    assert round_trip.dtype == np.float64


def test_reloaded_models_pass(made, tmp_path):
    model, _, data, _ = made("nested")
    model.save(tmp_path / "m.keras")
    again = TensorFlowAdapter(keras.saving.load_model(tmp_path / "m.keras"))
    leaves = again.accept(data())
    close(again.run(leaves, peel=False), model(leaves[0]))
    cut = again.cut(leaves, "base/conv5")
    close(cut.run(cut.value), again.run(leaves))


# Threads and memory


def test_threads_do_not_see_each_other():
    model = subclassed()
    x = pictures()
    expected = model(x, training=False).numpy()
    errors = []

    def trace():
        for _ in range(3):
            adapter = TensorFlowAdapter(model)
            leaves = adapter.accept(x)
            if np.abs(adapter.run(leaves, peel=False) - expected).max() > 1e-5:
                errors.append("run")
            if [i.path for i in adapter.layers(leaves)] != ["c", "bn", "b0", "b1", "drop", "d"]:
                errors.append("marks")

    def use():
        found = [model(x, training=False) for _ in range(30)]
        errors.extend("user" for y in found if np.abs(y - expected).max() > 1e-6)

    threads = [threading.Thread(target=f) for f in (trace, trace, use)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not any("call" in layer.__dict__ for layer in model._flatten_layers())


def test_memory_is_flat_over_many_calls(made):
    _, adapter, data, _ = made("functional")
    leaves = adapter.accept(data())

    def work(times):
        for _ in range(times):
            gradient(adapter, leaves)
            cut = adapter.cut(leaves, "c2")
            adapter.vjp(lambda a, c=cut: (c.run(a[0])[:, 0], None), (cut.value,))
            adapter.run(leaves, intercept=lambda op: op(), layers=["c1"], kinds=LAYERS_ONLY)

    work(20)
    gc.collect()
    before = len(gc.get_objects())
    work(200)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
