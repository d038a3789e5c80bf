"""TensorLayer 2: its calling rules kept, its models left as they were, its layers seen."""

import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorlayer as tl

from pellucid import explain, wrap
from pellucid.adapters.derived import layer_gradient, patch, record
from pellucid.adapters.protocol import LAYERS_ONLY, Tier
from pellucid.adapters.tensorlayer.model import TensorLayerModel
from pellucid.errors import CapabilityError, LayerError, ModelError
from pellucid.testing import build, reference_forward, reference_gradient, tiny_tensorlayer
from pellucid.testing.tiny_weights import weights_and_inputs

L = tl.layers
STYLES = ("static", "dynamic", "nested")
every = pytest.mark.parametrize("style", STYLES)


def parts_of(model):
    """Everything of a model that has attributes: models, layers, nodes."""
    parts = TensorLayerModel(model).parts()
    return [*parts, *(node for p in parts for node in getattr(p, "_nodes", ()))]


def state(model):
    weights = [v.numpy() for v in model.all_weights]
    return [(part, dict(part.__dict__)) for part in parts_of(model)], weights


def unchanged(before, model):
    attributes, weights = before
    for part, held in attributes:
        now = part.__dict__
        assert now.keys() == held.keys()
        assert all(now[name] is value for name, value in held.items())
    for old, new in zip(weights, model.all_weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def images(n=4, seed=0, shape=(8, 6, 3)):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype("float32")


class Small(tl.models.Model):
    """A dynamic model with what differs between training and inference."""

    def __init__(self, act=tf.nn.softmax):
        super().__init__()
        self.conv = L.Conv2d(5, (3, 3), act=tf.nn.relu, in_channels=3, name="conv")
        self.norm = L.BatchNorm2d(num_features=5, moving_var_init=tl.initializers.ones(), name="n")
        self.drop = L.Dropout(keep=0.5, name="drop")
        self.flat = L.Flatten(name="flat")
        self.head = L.Dense(3, act=act, in_channels=8 * 6 * 5, name="head")

    def forward(self, x):
        return self.head(self.flat(self.drop(self.norm(self.conv(x)))))


class Undecided(Small):
    """One that decides in Python what to do next, so that it has no one graph."""

    def forward(self, x):
        h = self.conv(x)
        count = 0
        while tf.reduce_max(tf.abs(h)) > 1.0 and count < 8:
            h, count = self.norm(h) * 0.5, count + 1
        return self.head(self.flat(h))


# The calling rules


@pytest.mark.parametrize("mode", ["none", "train", "eval"])
@pytest.mark.parametrize(("name", "style"), [("residual", "static"), ("cnn", "nested")])
def test_nothing_changes_whatever_the_mode(name, style, mode):
    model, x = build(name, "tensorlayer", style=style)
    if mode != "none":
        getattr(model, mode)()
    before = state(model)
    e = explain(model, x, "integrated_gradients", steps=3)
    explain(model, x, "gradcam")
    unchanged(before, model)
    assert model.is_train is {"none": None, "train": True, "eval": False}[mode]
    assert e.values.dtype == np.float32


@pytest.mark.parametrize("make", [Small, Undecided])
def test_a_model_in_training_mode_is_explained_in_inference_mode(make):
    model, x = make(), images()
    model.train()
    model(x)
    before = state(model)
    one, other = (explain(model, x, "saliency", target=1) for _ in range(2))
    np.testing.assert_array_equal(one.values, other.values)
    unchanged(before, model)
    model.eval()
    np.testing.assert_allclose(wrap(model).predict(x), model(x), rtol=1e-5, atol=1e-6)


def test_layers_are_as_before_after_an_exception():
    class StopHereError(Exception):
        pass

    class Broken(Undecided):
        def forward(self, x):
            super().forward(x)
            raise StopHereError("inside")

    for make in (Small, Undecided):
        model = make()
        model.train()
        before = state(model)
        adapter = wrap(model).adapter

        def interrupt(op):
            raise StopHereError

        leaves = adapter.accept(images())
        with pytest.raises(StopHereError):
            adapter.run(leaves, intercept=interrupt, layers=["conv"], kinds=LAYERS_ONLY)
        unchanged(before, model)
    model = Broken()
    before = state(model)
    with pytest.raises(ModelError, match="inside"):
        explain(model, images(), "saliency")
    unchanged(before, model)


def test_a_list_of_inputs_is_not_converted_in_place():
    """TensorLayer writes tensors into the list it is given."""
    model, x = build("two_inputs", "tensorlayer", style="static")
    given = list(x)
    model(given, is_train=False)
    assert all(tf.is_tensor(a) for a in given)  # the symptom
    given = list(x)
    e = explain(model, given, "saliency")
    assert all(type(a) is np.ndarray for a in given)
    assert [v.shape for v in e.values] == [a.shape for a in x]


@every
def test_float64_and_plain_lists_are_cast(style):
    """A float64 array raises inside TensorLayer's own convolutions and products."""
    model, x = build("dense", "tensorlayer", style=style)
    model.eval()
    with pytest.raises(tf.errors.InvalidArgumentError):
        model(x.astype("float64"))
    expected = explain(model, x, "saliency").values
    for given in (x.astype("float64"), x.tolist()):
        np.testing.assert_allclose(explain(model, given, "saliency").values, expected, rtol=1e-5)


def test_several_arguments_of_a_dynamic_model():
    class Two(tl.models.Model):
        def __init__(self):
            super().__init__()
            self.a = L.Dense(4, in_channels=3, name="a")
            self.b = L.Dense(4, in_channels=2, name="b")

        def forward(self, left, right):
            return self.a(left) * self.b(right)

    model = Two()
    x = {"left": images(2, shape=(3,)), "right": images(2, 1, shape=(2,))}
    e = explain(model, x, "gradient_x_input", target=0)
    same = explain(model, tuple(x.values()), "gradient_x_input", target=0)
    assert e.values["right"].shape == (2, 2)
    for key, other in zip(("left", "right"), same.values, strict=True):
        np.testing.assert_array_equal(e.values[key], other)
    with pytest.raises((CapabilityError, ModelError), match="keys name the arguments"):
        explain(model, {"left": x["left"], "wrong": x["right"]}, "saliency")


def test_static_models_say_what_they_expect():
    model, _ = build("two_inputs", "tensorlayer", style="static")
    assert [s.shape for s in wrap(model).inputs] == [(8, 6, 3), (5,)]
    free = L.Input([None, None, None, 3], name="free")
    conv = tl.models.Model(inputs=free, outputs=L.GlobalMeanPool2d()(L.Conv2d(4, (3, 3))(free)))
    assert wrap(conv).inputs[0].shape == (None, None, 3)
    assert explain(conv, images(1, shape=(9, 7, 3))[0], "saliency").values.shape == (9, 7, 3)


# BatchNorm after a training step: trap 1


@pytest.mark.parametrize("style", ["static", "dynamic"])
def test_batch_norm_after_a_training_step_is_traced(style):
    model, x = build("residual", "tensorlayer", style=style)
    model.train()
    model(x)
    model.eval()
    norm = next(layer for layer in model.all_layers if layer.name == "norm1")
    left = norm.moving_mean
    assert type(left).__name__ == "_UnreadVariable"
    with pytest.raises(TypeError, match="NoneType into a Tensor"):  # the symptom
        tf.function(lambda a: model(a)).get_concrete_function(tf.TensorSpec(x.shape))
    wrapped = wrap(model)
    out = wrapped.predict(x)
    np.testing.assert_allclose(out, model(x).numpy(), atol=1e-6)
    assert wrapped.adapter.notes == ("compiled trace",)
    assert norm.moving_mean is left


def test_new_statistics_are_seen_by_a_trace_made_before():
    model, x = build("residual", "tensorlayer", style="static")
    wrapped = wrap(model)
    before = wrapped.predict(x)
    model.train()
    model(x)
    model.eval()
    after = wrapped.predict(x)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model(x).numpy(), atol=1e-6)


# Layers


def test_paths_are_names_as_the_model_prints_them():
    model, x = build("shared", "tensorlayer", style="nested")
    paths = [info.path for info in wrap(model).layers(x)]
    assert paths == [
        "encoder/encoder1", "encoder/encoder2", "encoder",
        "encoder/encoder1#2", "encoder/encoder2#2", "encoder#2", "joined", "hidden", "head",
    ]  # fmt: skip
    for path in ("encoder", "joined", "hidden", "head"):
        assert f"({path})" in repr(model)


def test_lists_custom_layers_and_dynamic_models_inside_are_looked_into():
    class Block(L.Layer):
        def __init__(self):
            super().__init__("block")
            self.first = L.Dense(4, act="relu", in_channels=6, name="first")
            self.second = L.Dense(4, in_channels=4, name="second")
            self._built = True

        def build(self, inputs_shape):
            pass

        def __repr__(self):
            return "Block"

        def forward(self, x):
            return self.second(self.first(x))

    class Inner(tl.models.Model):
        def __init__(self):
            super().__init__()
            stack = [L.Dense(4, act="relu", in_channels=4, name=f"d{i}") for i in range(2)]
            self.stack = L.LayerList(stack, name="stack")

        def forward(self, x):
            return self.stack(x)

    class Outer(tl.models.Model):
        def __init__(self):
            super().__init__()
            self.block, self.inner = Block(), Inner()
            self.heads = [L.Dense(2, in_channels=4, name="same") for _ in range(2)]

        def forward(self, x):
            h = self.inner(self.block(x))
            return self.heads[0](h) + self.heads[1](h)

        @property
        def all_layers(self):  # TensorLayer's own refuses two layers of one name
            return [self.block, self.inner, *self.heads]

    model, x = Outer(), images(3, shape=(6,))
    before = state(model)
    name = model.inner.name
    infos = wrap(model).layers(x)
    assert [info.path for info in infos] == [
        "block/first", "block/second", "block", f"{name}/stack/d0", f"{name}/stack/d1",
        f"{name}/stack", name, "same@1", "same@2",
    ]  # fmt: skip
    assert {i.path: i.parameters for i in infos}["block"] == 6 * 4 + 4 + 4 * 4 + 4
    unchanged(before, model)
    with pytest.raises(LayerError, match="stack/d1"):
        wrap(model).adapter.cut((tf.constant(x),), "stack/d9")


@every
def test_record_patch_and_probe_are_exact(style):
    model, x = build("cnn", "tensorlayer", style=style)
    adapter = wrap(model).adapter
    leaves = adapter.accept(x)
    path = "base/conv2" if style == "nested" else "conv2"
    outputs, values = record(adapter, leaves, [path])
    np.testing.assert_allclose(outputs, reference_forward("cnn", x), atol=2e-6)
    (value,) = values.values()
    patched = patch(adapter, leaves, {path: value * 0.5})
    cut = adapter.cut(leaves, path)
    np.testing.assert_allclose(patched, cut.run(value * 0.5), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cut.run(cut.value), outputs, rtol=1e-5, atol=1e-6)
    activation, gradient = layer_gradient(adapter, leaves, path, lambda y: y[:, 1])
    with tf.GradientTape() as tape:
        tape.watch(activation)
        score = cut.run(activation)[:, 1]
    np.testing.assert_allclose(gradient, tape.gradient(score, activation), rtol=1e-5, atol=1e-6)


def test_the_probe_is_the_gradient_tensorlayer_itself_can_give():
    """A static model keeps its layers' live activations on its nodes."""
    model, x = build("cnn", "tensorlayer", style="static")
    model.eval()
    conv = next(layer for layer in model.all_layers if layer.name == "conv2")
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        score = model(given)[:, 1]
        activation = conv._nodes[0].out_tensors[0]
    expected = tape.gradient(score, activation)
    adapter = wrap(model).adapter
    value, gradient = layer_gradient(adapter, adapter.accept(x), "conv2", lambda y: y[:, 1])
    np.testing.assert_allclose(value, activation, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_the_second_call_of_a_shared_layer_is_its_own():
    """By name scopes the two calls cannot be told apart; a probe on one leaves the other."""
    model, x = build("shared", "tensorlayer", style="nested")
    adapter = wrap(model).adapter
    leaves = adapter.accept(x)
    base = adapter.run(leaves)
    for name, row in (("encoder", 0), ("encoder#2", 1)):
        (value,) = record(adapter, leaves, [name])[1].values()
        zeros = patch(adapter, leaves, {name: tf.zeros_like(value)})
        assert np.abs(zeros - base).max() > 1e-3
        _, encoded = record(adapter, leaves, ["encoder", "encoder#2"])
        np.testing.assert_array_equal(list(encoded.values())[row], value)


def test_dropout_at_inference_does_not_join_a_probe_to_the_residual():
    """Dropout returns its input tensor itself there: a probe on it moved both branches."""

    class Residual(tl.models.Model):
        def __init__(self):
            super().__init__()
            self.drop = L.Dropout(keep=0.5, name="drop")
            self.head = L.Dense(2, in_channels=4, name="head")

        def forward(self, x):
            h = tf.tanh(x)
            return self.head(h + 3.0 * self.drop(h))

    model, x = Residual(), images(2, shape=(4,))
    adapter = wrap(model).adapter
    _, gradient = layer_gradient(adapter, adapter.accept(x), "drop", lambda y: y[:, 0])
    expected = 3.0 * np.broadcast_to(model.head.W.numpy()[:, 0], (2, 4))
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


# Tracing and its fall-back


def test_a_model_that_cannot_be_traced_runs_eagerly_and_says_so():
    model, x = Undecided(), images()
    model.eval()
    e = explain(model, x, "saliency", target=1)
    assert any("eager fall-back" in note for note in e.provenance["notes"])
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        score = tf.math.log(model(given))
    log_odds = tf.math.log(model(tf.constant(x)))
    assert e.values.shape == x.shape
    # The softmax of the last layer was taken off: the score is the logit, not a probability.
    model.head.act = None
    with tf.GradientTape() as tape:
        tape.watch(given)
        score = model(given)[:, 1]
    np.testing.assert_allclose(e.values, tape.gradient(score, given), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(e.score, score, rtol=1e-5)
    assert not np.allclose(e.score, log_odds[:, 1])


def test_layers_of_an_eager_model_are_seen_by_call():
    model, x = Undecided(), images()
    wrapped = wrap(model)
    paths = [info.path for info in wrapped.layers(x)]
    assert paths[0] == "conv"
    assert paths[-1] == "head"
    assert explain(wrapped, x, "gradcam", layer="conv").values.shape == (4, 8, 6)
    with pytest.raises(CapabilityError, match="cannot be traced"):
        wrapped.operations(x)


def test_one_trace_serves_all_batches_and_a_changed_activation_is_traced_anew():
    model, x = Small(act=None), images(5)
    calls = []
    original = Small.forward

    def forward(self, a):
        calls.append(1)
        return original(self, a)

    wrapped = wrap(model)
    Small.forward = forward
    try:
        for n in (1, 2, 5):
            explain(wrapped, x[:n], "saliency", target=n % 3)
        assert len(calls) == 1
    finally:
        Small.forward = original
    model.conv.act = tf.nn.tanh
    model.eval()
    np.testing.assert_allclose(wrapped.predict(x), model(x).numpy(), rtol=1e-5, atol=1e-6)


def test_attributes_of_the_users_own_model_are_looked_at():
    class Scaled(Small):
        scale = 1.0

        def forward(self, x):
            return super().forward(x) * self.scale

    model, x = Scaled(act=None), images()
    model.scale = 2.0
    wrapped = wrap(model)
    twice = wrapped.predict(x)
    model.scale = 6.0
    np.testing.assert_allclose(wrapped.predict(x), 3 * twice, rtol=1e-5, atol=1e-6)


# Facts, weights, threads


@every
def test_facts(style):
    model, x = build("cnn", "tensorlayer", style=style)
    wrapped = wrap(model)
    assert (wrapped.framework, wrapped.supports) == ("tensorlayer", Tier.TRAINABLE)
    assert wrapped.adapter.channel_axis == -1
    assert wrapped.predict(x).shape == (5, 3)
    assert wrap(model, framework="tensorlayer").framework == "tensorlayer"


def test_channels_first_is_read_from_the_layers():
    model = Small()
    model.conv = L.Conv2d(5, (3, 3), data_format="channels_first", in_channels=3, name="conv")
    assert model.conv.data_format == "NCHW"  # what a built TensorLayer layer calls it
    assert wrap(model).adapter.channel_axis == 1


@pytest.mark.parametrize(("name", "final"), [("dense_softmax", "softmax"), ("sigmoid", "sigmoid")])
@pytest.mark.parametrize("style", ["static", "dynamic"])
def test_final_activations_are_peeled(name, final, style):
    model, x = build(name, "tensorlayer", style=style)
    adapter = wrap(model).adapter
    leaves = adapter.accept(x)
    assert adapter.final_activation(leaves) == (final,)
    np.testing.assert_allclose(
        adapter.run(leaves), reference_forward(name, x, logits=True), atol=1e-5
    )
    kept = explain(wrap(model, output="probability"), x, "saliency")
    assert np.abs(kept.score).max() <= 1


def test_several_outputs_of_a_static_model():
    given = L.Input([None, 6])
    hidden = L.Dense(5, act="relu")(given)
    outputs = [L.Dense(3, act=tf.nn.softmax)(hidden), L.Dense(1)(hidden)]
    model, x = tl.models.Model(inputs=given, outputs=outputs), images(3, shape=(6,))
    e = explain(model, x, "saliency", target=lambda y: y[0][:, 1] + y[1][:, 0])
    assert e.values.shape == (3, 6)
    adapter = wrap(model).adapter
    assert adapter.final_activation(adapter.accept(x)) == ("softmax", None)


def test_weights_are_replaced_for_one_run_and_fingerprints_follow_them():
    weights = weights_and_inputs("residual", 0)[0]
    one, other = (tiny_tensorlayer.build("residual", weights, "dynamic") for _ in range(2))
    x = build("residual", "numpy")[1]
    first, second = wrap(one), wrap(other)
    assert first.fingerprint() == second.fingerprint()
    one.train()
    assert first.fingerprint() == second.fingerprint()
    known = first.adapter.weights()
    assert {"head/weights", "norm1/moving_mean"} <= set(known)
    leaves = first.adapter.accept(x)
    doubled = {"head/weights": known["head/weights"] * 2, "head/biases": known["head/biases"] * 2}
    run = first.adapter.run
    np.testing.assert_allclose(run(leaves, weights=doubled), 2 * run(leaves).numpy(), rtol=1e-5)
    other.all_weights[0].assign_add(tf.ones_like(other.all_weights[0]))
    assert first.fingerprint() != second.fingerprint()


@pytest.mark.parametrize("make", [Small, Undecided])
def test_eight_threads_give_the_serial_numbers(make):
    model = make()
    model.train()
    before = state(model)
    batches = [images(3, seed) for seed in range(8)]
    serial = [explain(model, x, "saliency", target=0).values for x in batches]
    wrapped, found = wrap(model), [None] * 8

    def work(i):
        found[i] = explain(wrapped, batches[i], "saliency", target=0).values

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(serial, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    unchanged(before, model)


def test_a_layer_by_itself_is_a_model():
    layer = L.LayerList([L.Dense(4, act="relu", in_channels=6), L.Dense(2, in_channels=4)])
    assert explain(layer, images(2, shape=(6,)), "saliency").values.shape == (2, 6)


@every
def test_gradients_are_those_of_the_float64_reference(style):
    model, x = build("cnn", "tensorlayer", style=style)
    expected = reference_gradient("cnn", x, 2)
    found = explain(model, x, "saliency", target=2).values
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
