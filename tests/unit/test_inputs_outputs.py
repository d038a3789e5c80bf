"""What goes into a model and comes out of it: shapes, types, structures and modes, one test each.

Models come in torch and in Keras, on whichever backend this process has; the last test runs the
Keras half again on another one. Linear models are used where the answer can be written down.
"""

import gc
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from keras import layers as L

from pellucid import explain, wrap
from pellucid.errors import InputError, ModelError, TargetError

FRAMEWORKS = ("torch", "keras")
RNG = np.random.default_rng(11)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


class Torch(torch.nn.Module):
    """A module of parts and a function of them and the inputs."""

    def __init__(self, forward, **parts) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, *x, **named):
        return self._forward(self, *x, **named)


class Named(torch.nn.Module):
    """`age` and `scan` by name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 2), torch.nn.Linear(6, 2)

    def forward(self, age, scan):
        return self.first(age) + self.second(scan.flatten(1))


def set_linear(layer, weight: np.ndarray) -> None:
    """The weights of a linear layer of either framework, `(in, out)`, without a bias."""
    if isinstance(layer, torch.nn.Linear):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T.copy()))
            layer.bias.zero_()
    else:
        layer.set_weights([weight, np.zeros(weight.shape[1], "float32")])


def named_inputs(framework: str):
    """f(age, scan)_c = age · u_c + scan · v_c."""
    u, v = floats(4, 2), floats(6, 2)
    if framework == "torch":
        model = Named()
        set_linear(model.first, u)
        set_linear(model.second, v)
        return model, u, v
    age, scan = keras.Input((4,), name="age"), keras.Input((3, 2), name="scan")
    first, second = L.Dense(2, name="first"), L.Dense(2, name="second")
    joined = first(age) + second(L.Flatten()(scan))
    model = keras.Model({"age": age, "scan": scan}, joined)
    set_linear(first, u)
    set_linear(second, v)
    return model, u, v


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("order", [("age", "scan"), ("scan", "age")])
def test_several_inputs_come_as_a_dict_in_any_order(framework, order):
    model, u, v = named_inputs(framework)
    x = {"age": floats(3, 4), "scan": floats(3, 3, 2)}
    for method in ("saliency", "integrated_gradients"):
        e = explain(model, {name: x[name] for name in order}, method, target=1)
        for name, weight in (("age", u[:, 1]), ("scan", v[:, 1].reshape(3, 2))):
            factor = np.ones_like(x[name]) if method == "saliency" else x[name]
            np.testing.assert_allclose(e.values[name], weight * factor, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_several_inputs_come_as_a_tuple(framework):
    u, v = floats(4, 2), floats(6, 2)
    if framework == "torch":
        model = Torch(
            lambda self, a, b: self.first(a) + self.second(b),
            first=torch.nn.Linear(4, 2),
            second=torch.nn.Linear(6, 2),
        )
        parts = model.first, model.second
    else:
        a, b = keras.Input((4,)), keras.Input((6,))
        parts = L.Dense(2), L.Dense(2)
        model = keras.Model([a, b], parts[0](a) + parts[1](b))
    for part, weight in zip(parts, (u, v), strict=True):
        set_linear(part, weight)
    x = floats(3, 4), floats(3, 6)
    e = explain(model, x, "saliency", target=0)
    for values, weight in zip(e.values, (u, v), strict=True):
        np.testing.assert_allclose(values, np.tile(weight[:, 0], (3, 1)), rtol=1e-6)


def tokens_and_numbers(framework: str):
    """Words, looked up and averaged, times what the numbers say."""
    if framework == "torch":
        return Torch(
            lambda self, ids, x: self.head(self.table(ids).mean(1) * torch.tanh(self.read(x))),
            table=torch.nn.Embedding(10, 4),
            read=torch.nn.Linear(3, 4),
            head=torch.nn.Linear(4, 2),
        )
    ids, x = keras.Input((5,), dtype="int32", name="ids"), keras.Input((3,), name="x")
    seen = L.GlobalAveragePooling1D()(L.Embedding(10, 4)(ids))
    return keras.Model([ids, x], L.Dense(2)(seen * L.Dense(4, activation="tanh")(x)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "integrated_gradients"])
def test_whole_numbers_beside_real_ones_get_zeros_and_a_word(framework, method):
    model = tokens_and_numbers(framework)
    ids = np.array([[1, 2, 3, 4, 5], [0, 9, 9, 2, 1]])
    e = explain(model, (ids, floats(2, 3)), method, target=0)
    assert not np.any(e.values[0])
    assert np.all(np.any(e.values[1], axis=1))
    assert any("whole numbers" in w for w in e.warnings)
    if e.gap is not None:  # the words stay on the whole path, so the numbers explain it all
        assert e.gap.max() < 1e-2
    occluded = explain(model, (ids, floats(2, 3)), "occlusion", target=0)
    assert np.any(occluded.values[0])


SIZES = {1: (9,), 2: (7, 10), 3: (5, 6, 4)}


def convolution(framework: str, space: int, channels: int):
    """A padded convolution, the mean over all positions, two classes: linear in the input."""
    if framework == "torch":
        kind = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[space - 1]
        return Torch(
            lambda self, x: self.head(self.conv(x).flatten(2).mean(2)),
            conv=kind(channels, 4, 3, padding=1),
            head=torch.nn.Linear(4, 2),
        )
    kind = (L.Conv1D, L.Conv2D, L.Conv3D)[space - 1]
    pool = (L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D)[space - 1]
    return keras.Sequential(
        [
            keras.Input((*SIZES[space], channels)),
            kind(4, 3, padding="same", name="conv"),
            pool(),
            L.Dense(2),
        ]
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("channels", [1, 13])
@pytest.mark.parametrize("space", [1, 2, 3])
def test_any_number_of_channels_and_axes_and_no_square(framework, space, channels):
    model = convolution(framework, space, channels)
    size = SIZES[space]
    shape = (2, channels, *size) if framework == "torch" else (2, *size, channels)
    names = ("depth", "height", "width")[-space:] if space > 1 else ("step",)
    x = floats(*shape)
    wrapped = wrap(model)
    base = wrapped.predict(np.zeros_like(x))[:, 1]
    rise = wrapped.predict(x)[:, 1] - base
    for method, options in (
        ("gradient_x_input", {}),
        ("integrated_gradients", {}),
        ("smoothgrad", {"samples": 2}),
        ("occlusion", {"window": 3, "stride": 3}),
    ):
        e = explain(model, x, method, target=1, **options)
        dims = (
            ("sample", "channel", *names) if framework == "torch" else ("sample", *names, "channel")
        )
        assert e.parts[0].input_dims == dims
        assert e.parts[0].values.shape[0] == 2
        if method == "smoothgrad":
            total = (e.values * x).sum(axis=tuple(range(1, x.ndim)))
        else:
            total = e.values.reshape(2, -1).sum(axis=1)
        if method == "occlusion":
            assert np.isfinite(total).all()
        else:  # the model is linear, so its parts add up
            np.testing.assert_allclose(total, rise, rtol=1e-4, atol=1e-5)
    e = explain(model, x, "gradcam", target=1, layer="conv", relu=False)
    assert e.values.shape == (2, *size)
    assert e.parts[0].dims == ("sample", *names)
    assert np.any(e.values)


def test_channels_first_in_keras():
    """Where each layer keeps the channels decides, not the process's default."""
    model = keras.Sequential(
        [
            keras.Input((5, 7, 6)),
            # TensorFlow has no gradient of a channels-first convolution on the CPU.
            L.Dense(6, activation="tanh", name="rows"),
            L.GlobalAveragePooling2D(data_format="channels_first"),
            L.Dense(2),
        ]
    )
    x = floats(2, 5, 7, 6)
    e = explain(model, x, "gradcam", layer="rows", relu=False, target=0)
    assert e.values.shape == (2, 7, 6)
    assert explain(model, x, "saliency").parts[0].dims == ("sample", "channel", "height", "width")
    weights = np.asarray(model.layers[-1].get_weights()[0])[:, 0]
    rows = np.asarray(keras.ops.convert_to_numpy(model.layers[0](x)))
    expected = (rows * weights[None, :, None, None]).sum(axis=1) / (7 * 6)
    # Grad-CAM at the layer below a mean is Σ_k w_k A_k / (the number of positions).
    np.testing.assert_allclose(e.extras["grid"], expected, rtol=1e-4, atol=1e-6)


def several_outputs(framework: str, names: tuple[str, ...] | None):
    """Boxes `(n, 4, 2)` and scores `(n, 3)` of a row; as a dict where they have names."""
    u, v = floats(5, 8), floats(5, 3)
    if framework == "torch":

        def forward(self, x):
            found = self.boxes(x).reshape(-1, 4, 2), self.scores(x)
            return dict(zip(names, found, strict=True)) if names else found

        model = Torch(forward, boxes=torch.nn.Linear(5, 8), scores=torch.nn.Linear(5, 3))
        parts = model.boxes, model.scores
    else:
        x = keras.Input((5,))
        parts = L.Dense(8), L.Dense(3)
        found = L.Reshape((4, 2))(parts[0](x)), parts[1](x)
        model = keras.Model(x, dict(zip(names, found, strict=True)) if names else list(found))
    set_linear(parts[0], u)
    set_linear(parts[1], v)
    return model, u, v


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("names", [None, ("boxes", "scores")])
def test_detection_is_explained_by_a_function_of_the_outputs(framework, names):
    model, u, v = several_outputs(framework, names)
    first, second = names or (0, 1)
    x = floats(3, 5)

    def coordinate(outputs):
        return outputs[first][:, 2, 1]

    def score(outputs):
        return outputs[second][:, 2] - outputs[second][:, 0]

    for target, weight in ((coordinate, u[:, 5]), (score, v[:, 2] - v[:, 0])):
        for method in ("saliency", "integrated_gradients", "occlusion"):
            e = explain(model, x, method, target=target)
            expected = np.tile(weight, (3, 1)) * (1 if method == "saliency" else x)
            np.testing.assert_allclose(e.values, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(TargetError, match="need a function"):
        explain(model, x, "saliency")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_segmentation_is_explained_by_a_function_of_the_outputs(framework):
    """The class map summed over a region reacts to the pixels in sight of that region only."""
    if framework == "torch":
        model = Torch(
            lambda self, x: torch.softmax(self.conv(x), dim=1),
            conv=torch.nn.Conv2d(3, 4, 3, padding=1),
        )
    else:
        model = keras.Sequential(
            [keras.Input((8, 9, 3)), L.Conv2D(4, 3, padding="same", activation="softmax")]
        )
    x = floats(2, 3, 8, 9)

    def in_torch(outputs):
        return outputs[:, 1, :3, :4].sum(axis=(1, 2))

    def in_keras(outputs):
        return keras.ops.sum(outputs[:, :3, :4, 1], axis=(1, 2))

    target = in_torch if framework == "torch" else in_keras
    x = x if framework == "torch" else np.moveaxis(x, 1, -1).copy()
    for method in ("saliency", "integrated_gradients"):
        e = explain(model, x, method, target=target)
        seen = np.abs(e.values).sum(axis=1 if framework == "torch" else -1)
        assert e.explained == "logit"
        assert np.all(seen[:, :4, :5] > 0)
        assert not np.any(seen[:, 4:])
        assert not np.any(seen[:, :, 5:])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_sigmoid_is_explained_by_its_logit(framework):
    weight = floats(4, 1)
    if framework == "torch":
        head = torch.nn.Linear(4, 1)
        model = torch.nn.Sequential(head, torch.nn.Sigmoid())
    else:
        head = L.Dense(1, activation="sigmoid")
        model = keras.Sequential([keras.Input((4,)), head])
    set_linear(head, weight)
    x = 50 * floats(3, 4)  # saturated: the probability itself has no gradient left
    e = explain(model, x, "saliency")
    assert e.explained == "logit"
    np.testing.assert_allclose(e.values, np.tile(weight[:, 0], (3, 1)), rtol=1e-6)
    first = explain(wrap(model, class_names=["no", "yes"]), x, "saliency", target="no")
    np.testing.assert_allclose(first.values, -e.values)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("flat", [False, True])
def test_regression_is_explained_by_its_number(framework, flat):
    weight = floats(4, 1)
    head = torch.nn.Linear(4, 1) if framework == "torch" else L.Dense(1)
    if framework == "torch":
        model = Torch(lambda self, x: self.head(x)[:, 0] if flat else self.head(x), head=head)
    else:
        x = keras.Input((4,))
        y = head(x)
        model = keras.Model(x, y[:, 0] if flat else y)
    set_linear(head, weight)
    x = floats(3, 4)
    e = explain(model, x, "integrated_gradients")
    np.testing.assert_allclose(e.values, weight[:, 0] * x, rtol=1e-4, atol=1e-6)
    assert e.gap is not None
    assert e.gap.max() < 1e-4


def small_network(framework: str, dtype: str):
    """Two layers with the same weights in single and in half precision."""
    u, v = floats(6, 16), floats(16, 3)
    if framework == "torch":
        parts = torch.nn.Linear(6, 16), torch.nn.Linear(16, 3)
        model = torch.nn.Sequential(parts[0], torch.nn.Tanh(), parts[1])
    else:
        policy = None if dtype == "float32" else f"mixed_{dtype}"
        parts = L.Dense(16, activation="tanh", dtype=policy), L.Dense(3, dtype=policy)
        model = keras.Sequential([keras.Input((6,)), *parts])
    set_linear(parts[0], u)
    set_linear(parts[1], v)
    return model.to(getattr(torch, dtype)) if framework == "torch" else model


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_models_give_single_precision_maps(framework, dtype):
    half, single = small_network(framework, dtype), small_network(framework, "float32")
    x = floats(4, 6)
    before = str(next(half.parameters()).dtype) if framework == "torch" else None
    methods = {
        "saliency": {},
        "gradient_x_input": {},
        "integrated_gradients": {"steps": 16},
        "smoothgrad": {"samples": 8},
        "occlusion": {"window": 2},
    }
    for method, options in methods.items():
        one, other = (explain(m, x, method, target=1, **options) for m in (half, single))
        assert one.values.dtype == np.float32
        scale = np.abs(other.values).max()
        assert (
            np.abs(one.values - other.values).max() < (0.01 if dtype == "float16" else 0.06) * scale
        )
    assert before is None or str(next(half.parameters()).dtype) == before


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sums_over_a_half_precision_model_are_kept_in_single_precision(framework):
    """400 equal gradients of 7: in float16 their sum would have stopped being exact at 2048."""
    weight = np.full((3, 2), 7.0, dtype=np.float32)
    head = torch.nn.Linear(3, 2) if framework == "torch" else L.Dense(2, dtype="mixed_float16")
    model = head.half() if framework == "torch" else keras.Sequential([keras.Input((3,)), head])
    set_linear(head, weight)
    x = np.ones((1, 3), dtype=np.float32)
    for method, options in (
        ("smoothgrad", {"samples": 400, "noise": 0.01}),
        ("integrated_gradients", {"steps": 400}),
    ):
        e = explain(model, x, method, target=0, **options)
        np.testing.assert_allclose(e.values, 7.0, rtol=1e-6)


def normed_network(framework: str):
    """Batch norm with statistics of its own, and dropout."""
    if framework == "torch":
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(),
            torch.nn.Dropout(0.5), torch.nn.Linear(8, 3),
        )  # fmt: skip
        with torch.no_grad():
            model[1].running_mean.copy_(torch.from_numpy(floats(8)))
            model[1].running_var.copy_(torch.from_numpy(floats(8) ** 2 + 0.5))
        return model
    keras.utils.set_random_seed(0)
    norm = L.BatchNormalization()
    model = keras.Sequential(
        [keras.Input((5,)), L.Dense(8), norm, L.ReLU(), L.Dropout(0.5), L.Dense(3)]
    )
    norm.set_weights([np.ones(8), np.zeros(8), floats(8), floats(8) ** 2 + 0.5])
    return model


ORDINARY = ("saliency", "integrated_gradients", "smoothgrad", "occlusion")


@pytest.mark.parametrize("method", ORDINARY)
def test_a_module_in_training_mode_is_explained_in_evaluation_mode(method):
    model, x = normed_network("torch"), floats(4, 5)
    expected = explain(model.eval(), x, method, seed=3).values
    model.train()
    model[3].eval()
    before = {n: b.clone() for n, b in model.named_buffers()}
    found = explain(model, x, method, seed=3).values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert [m.training for m in model] == [True, True, True, False, True]
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


@pytest.mark.parametrize("method", ORDINARY)
def test_keras_models_run_in_inference_mode(method):
    model, x = normed_network("keras"), floats(4, 5)
    before = [np.array(w) for w in model.get_weights()]
    one, other = (explain(model, x, method, seed=3).values for _ in range(2))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    rows = [explain(model, x[i : i + 1], method, seed=3).values for i in range(1)]
    np.testing.assert_allclose(rows[0], one[:1], rtol=1e-5, atol=1e-6)
    for w, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, b)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("method", ["saliency", "integrated_gradients"])
def test_frozen_parameters_change_nothing_and_stay_frozen(framework, method):
    model, x = normed_network(framework), floats(4, 5)
    expected = explain(model, x, method).values
    if framework == "torch":
        model[0].requires_grad_(False)
        model[4].weight.requires_grad_(False)
    else:
        model.layers[0].trainable = False
        model.layers[1].trainable = False
    frozen = flags(model)
    np.testing.assert_allclose(explain(model, x, method).values, expected, rtol=1e-6)
    if framework == "torch":
        model.requires_grad_(False)
    else:
        model.trainable = False
    assert flags(model) != frozen
    np.testing.assert_allclose(explain(model, x, method).values, expected, rtol=1e-6)
    assert not any(flags(model))


def flags(model) -> list[bool]:
    if isinstance(model, keras.layers.Layer):
        return [w.trainable for w in model.weights if "seed" not in w.path]
    return [p.requires_grad for p in model.parameters()]


def recurrent(framework: str, kind: str, batch_first: bool):
    if framework == "torch":
        torch.manual_seed(1)
        layer = getattr(torch.nn, kind)(3, 6, batch_first=batch_first, num_layers=2, dropout=0.5)

        def forward(self, x):
            steps = self.rnn(x if batch_first else x.transpose(0, 1))[0]
            return self.head(steps[:, -1] if batch_first else steps[-1])

        return Torch(forward, rnn=layer, head=torch.nn.Linear(6, 2))
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((7, 3)), getattr(L, kind)(6, dropout=0.5, name="rnn"), L.Dense(2)]
    )


@pytest.mark.parametrize(
    ("framework", "batch_first"), [("torch", True), ("torch", False), ("keras", True)]
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_networks_are_explained_in_evaluation_mode(framework, kind, batch_first):
    model, x = recurrent(framework, kind, batch_first), floats(3, 7, 3)
    if framework == "torch":
        model.train()
    e = explain(model, x, "saliency", target=1)
    wrapped, step = wrap(model), 1e-2
    direction = floats(3, 7, 3)
    scores = [wrapped.predict(x + s * direction)[:, 1] for s in (step, -step)]
    slope = (scores[0] - scores[1]) / (2 * step)
    np.testing.assert_allclose((e.values * direction).sum(axis=(1, 2)), slope, rtol=2e-2, atol=1e-4)
    assert e.parts[0].dims == ("sample", "step", "channel")
    complete = explain(model, x, "integrated_gradients", target=1)
    assert complete.gap is not None
    assert complete.gap.max() < 1e-2
    alone = explain(model, x[1:2], "integrated_gradients", target=1)
    np.testing.assert_allclose(alone.values, complete.values[1:2], rtol=1e-4, atol=1e-6)


def twins(framework: str):
    """One encoder reads both pictures; their difference decides."""
    if framework == "torch":
        torch.manual_seed(2)
        encoder = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU())
        return Torch(
            lambda self, a, b: self.head((self.encoder(a) - self.encoder(b)).mean(dim=(2, 3))),
            encoder=encoder,
            head=torch.nn.Linear(4, 2),
        )
    keras.utils.set_random_seed(2)
    inner = keras.Input((6, 5, 2))
    encoder = keras.Model(
        inner, L.Conv2D(4, 3, padding="same", activation="relu")(inner), name="encoder"
    )
    a, b = keras.Input((6, 5, 2)), keras.Input((6, 5, 2))
    pooled = L.GlobalAveragePooling2D()(encoder(a) - encoder(b))
    return keras.Model([a, b], L.Dense(2)(pooled))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_shared_layer_is_addressed_by_its_call(framework):
    model = twins(framework)
    shape = (2, 2, 6, 5) if framework == "torch" else (2, 6, 5, 2)
    x = floats(*shape), floats(*shape) + 1
    assert {"encoder", "encoder#2"} <= {c.path for c in wrap(model).layers(x)}
    first = explain(model, x, "gradcam", layer="encoder", target=0, relu=False)
    second = explain(model, x, "gradcam", layer="encoder#2", target=0, relu=False)
    assert np.any(first.values[0])
    assert not np.any(first.values[1])
    assert np.any(second.values[1])
    assert not np.any(second.values[0])
    # Swapped inputs swap the two calls, and the difference changes its sign.
    swapped = explain(model, x[::-1], "gradcam", layer="encoder#2", target=0, relu=False)
    np.testing.assert_allclose(swapped.values[1], -first.values[0], rtol=1e-4, atol=1e-6)


def test_compiled_modules_are_read_from_the_module_inside():
    model, x = normed_network("torch").eval(), floats(3, 5)
    compiled = torch.compile(model, backend="eager")  # nothing is compiled before a first call
    expected = explain(model, x, "integrated_gradients")
    e = explain(compiled, x, "integrated_gradients")
    np.testing.assert_allclose(e.values, expected.values, rtol=1e-5, atol=1e-6)
    assert [c.path for c in wrap(compiled).layers()] == ["0", "1", "2", "3", "4"]
    assert e.provenance["notes"]


EVERYWHERE = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 4},
    "vargrad": {"samples": 4},
    "occlusion": {"window": 3, "stride": 3},
    "lime": {"features": "grid:3", "budget": 40},
    "gradcam": {"relu": False},
}


def small_pictures(framework: str):
    """Convolution, batch norm, dropout; five pictures."""
    size = 5, 3, 8, 7
    if framework == "torch":
        torch.manual_seed(4)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Tanh(),
            torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 5, 3),
        )  # fmt: skip
        return model, floats(*size)
    keras.utils.set_random_seed(4)
    stack = [L.Conv2D(4, 3), L.BatchNormalization(), L.Activation("tanh"), L.Dropout(0.5)]
    model = keras.Sequential([keras.Input((8, 7, 3)), *stack, L.Flatten(), L.Dense(3)])
    return model, np.moveaxis(floats(*size), 1, -1).copy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("method", list(EVERYWHERE))
def test_a_sample_does_not_depend_on_its_batch(framework, method):
    """Alone, among others, doubled, or in micro-batches of other sizes: the same numbers."""
    model, x = small_pictures(framework)
    options = {"target": 1, "seed": 5, **EVERYWHERE[method]}
    whole = explain(model, x, method, **options).values
    scale = np.abs(whole).max()
    others = [
        explain(model, np.concatenate([x, 3 * x]), method, **options).values[:5],
        explain(model, x, method, batch_size=2, **options).values,
        explain(model, x[:1], method, **options).values,
    ]
    for found in others:
        assert np.abs(found - whole[: len(found)]).max() < 1e-5 * scale


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("method", list(EVERYWHERE))
def test_the_model_and_all_random_states_are_as_before(framework, method):
    model, x = small_pictures(framework)
    if framework == "torch":
        model.train()
    before = everything_of(model)
    explain(model, x, method, target=1, **EVERYWHERE[method])
    assert everything_of(model) == before

    def fail(outputs):
        raise RuntimeError("mine")

    with pytest.raises(TargetError, match="mine"):
        explain(model, x, method, target=fail, **EVERYWHERE[method])
    assert everything_of(model) == before


def everything_of(model) -> list:
    state = [repr(np.random.get_state()), torch.get_rng_state().tolist(), torch.is_grad_enabled()]
    if isinstance(model, torch.nn.Module):
        for module in model.modules():
            state += [module.training, len(module._forward_hooks), len(module._forward_pre_hooks)]
        if not isinstance(model, keras.layers.Layer):
            state += [(p.detach().tolist(), p.requires_grad, p.grad) for p in model.parameters()]
            state += [b.tolist() for b in model.buffers()]
    if isinstance(model, keras.layers.Layer):
        state += [w.tolist() for w in model.get_weights()]
        for layer in model._flatten_layers():
            state += [sorted(layer.__dict__), layer.trainable, layer.built]
            seeds = [v for v in layer.variables if "seed" in v.path]
            state += [np.asarray(keras.ops.convert_to_numpy(v.value)).tolist() for v in seeds]
    return state


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_memory_is_flat_over_many_calls(framework):
    psutil = pytest.importorskip("psutil", reason="measures this process's memory")
    model, x = small_pictures(framework)
    model = wrap(model)

    def work(times: int) -> int:
        for _ in range(times):
            explain(model, x, "saliency", target=1)
            explain(model, x, "gradcam", target=1)
        gc.collect()
        return psutil.Process().memory_info().rss

    work(20)
    first = work(20)
    second = work(40)
    assert second - first < 4 * 1024**2


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="this is the inner run")
@pytest.mark.parametrize("backend", ["torch"])
def test_all_of_this_on_another_keras_backend(backend):
    chosen = "keras and not torch and not another"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]


class TwoParts(torch.nn.Module):
    """Two inputs by name; a mask that need not come."""

    def forward(self, age, scan, mask=None):
        return age @ torch.ones(4, 2) + scan @ torch.ones(6, 2)


def two_parts_in_jax(age, scan, mask=None):
    return age @ np.ones((4, 2)) + scan @ np.ones((6, 2))


def two_parts_in_keras() -> keras.Model:
    age, scan = keras.Input((4,), name="age"), keras.Input((6,), name="scan")
    joined = keras.layers.Concatenate()([age, scan])
    return keras.Model({"age": age, "scan": scan}, keras.layers.Dense(2)(joined))


TWO_PARTS = {
    "torch": lambda: TwoParts(),
    "jax": lambda: wrap(two_parts_in_jax, framework="jax"),
    "keras": two_parts_in_keras,
}


@pytest.mark.parametrize("framework", list(TWO_PARTS))
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"agee": floats(3, 4), "scan": floats(3, 6)}, "'age'.*\n.*Nearest: '(age|agee)'"),
        ({"age": floats(3, 4)}, "'scan' is missing"),
        ({"first": floats(3, 4), "second": floats(3, 6)}, "the inputs 'age', 'scan'"),
    ],
    ids=["misspelt", "missing", "strange"],
)
def test_keys_that_the_model_has_no_input_for(framework, x, message):
    with pytest.raises(InputError, match=message):
        explain(TWO_PARTS[framework](), x, "saliency", target=1)


def test_inputs_that_are_swapped_are_told_so():
    x = {"age": floats(3, 6), "scan": floats(3, 4)}
    with pytest.raises(InputError, match=r"Each has the.*shape of the other"):
        explain(two_parts_in_keras(), x, "saliency", target=1)
    for framework in ("torch", "jax"):  # which say nothing of their inputs
        with pytest.raises(
            ModelError, match=r"'age' \(3, 6\).*'scan' \(3, 4\).*which input is which"
        ):
            explain(TWO_PARTS[framework](), x, "saliency", target=1)


def test_a_function_of_one_argument_still_gets_the_dict():
    x = {"age": torch.ones(3, 4), "scan": torch.ones(3, 6)}
    e = explain(lambda held: held["age"] @ torch.ones(4, 2), x, "saliency", target=1)
    assert (e.values["age"] == 1).all()
