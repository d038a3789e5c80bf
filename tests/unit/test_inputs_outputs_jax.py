"""What goes into a JAX model and comes out of it; `test_inputs_outputs.py` in another column.

Frozen parameters have no flag in JAX, where a gradient is of what one asks it of, and no module is
compiled but functions are: `jax.jit` stands where `torch.compile` does.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pellucid import explain, wrap
from pellucid.errors import ModelError, TargetError


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def two_parts(weights, age, scan):
    """f(age, scan)_c = age · u_c + scan · v_c."""
    return age @ weights["u"] + scan.reshape(scan.shape[0], -1) @ weights["v"]


@pytest.mark.parametrize("order", [("age", "scan"), ("scan", "age")])
def test_several_inputs_come_as_a_dict_in_any_order(order):
    weights = {"u": jnp.asarray(floats(4, 2)), "v": jnp.asarray(floats(6, 2))}
    x = {"age": floats(3, 4), "scan": floats(3, 3, 2)}
    for method in ("saliency", "integrated_gradients"):
        e = explain((two_parts, weights), {name: x[name] for name in order}, method, target=1)
        for name, weight in (("age", weights["u"]), ("scan", weights["v"])):
            factor = np.ones_like(x[name]) if method == "saliency" else x[name]
            expected = np.asarray(weight)[:, 1].reshape(x[name].shape[1:]) * factor
            np.testing.assert_allclose(e.values[name], expected, rtol=2e-5, atol=1e-6)


def test_several_inputs_come_as_a_tuple():
    weights = {"u": jnp.asarray(floats(4, 2)), "v": jnp.asarray(floats(6, 2))}
    e = explain((two_parts, weights), (floats(3, 4), floats(3, 6)), "saliency", target=0)
    for values, weight in zip(e.values, weights.values(), strict=True):
        np.testing.assert_allclose(values, np.tile(np.asarray(weight)[:, 0], (3, 1)), rtol=1e-6)


@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "integrated_gradients"])
def test_whole_numbers_beside_real_ones_get_zeros_and_a_word(method):
    weights = {"table": jnp.asarray(floats(10, 4)), "read": jnp.asarray(floats(3, 4))}

    def apply(weights, ids, x):
        return weights["table"][ids].mean(axis=1) * jnp.tanh(x @ weights["read"])

    ids = np.array([[1, 2, 3, 4, 5], [0, 9, 9, 2, 1]])
    e = explain((apply, weights), (ids, floats(2, 3)), method, target=0)
    assert not np.any(e.values[0])
    assert np.all(np.any(e.values[1], axis=1))
    assert any("whole numbers" in w for w in e.warnings)
    if e.gap is not None:
        assert e.gap.max() < 1e-2
    occluded = explain((apply, weights), (ids, floats(2, 3)), "occlusion", target=0)
    assert np.any(occluded.values[0])


SIZES = {1: (9,), 2: (7, 10), 3: (5, 6, 4)}


class ChannelsLast(nnx.Module):
    """A padded convolution, the mean over all positions, two classes: linear in the input."""

    def __init__(self, space, channels) -> None:
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(channels, 4, (3,) * space, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.conv(x).mean(axis=tuple(range(1, x.ndim - 1))))


class ChannelsFirst(eqx.Module):
    """The same of Equinox's layers, which take one sample with its channels first."""

    conv: eqx.nn.Conv
    head: eqx.nn.Linear

    def __init__(self, space, channels) -> None:
        keys = jax.random.split(jax.random.key(0))
        self.conv = eqx.nn.Conv(space, channels, 4, 3, padding=1, key=keys[0])
        self.head = eqx.nn.Linear(4, 2, key=keys[1])

    def __call__(self, x):
        return self.head(self.conv(x).mean(axis=tuple(range(1, x.ndim))))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("space", "channels"), [(1, 13), (2, 1), (2, 13), (3, 1)])
def test_any_number_of_channels_and_axes_and_no_square(space, channels, first):
    size = SIZES[space]
    model = jax.vmap(ChannelsFirst(space, channels)) if first else ChannelsLast(space, channels)
    names = ("depth", "height", "width")[-space:] if space > 1 else ("step",)
    x = floats(2, channels, *size) if first else floats(2, *size, channels)
    dims = ("sample", "channel", *names) if first else ("sample", *names, "channel")
    wrapped = wrap(model)
    rise = wrapped.predict(x)[:, 1] - wrapped.predict(np.zeros_like(x))[:, 1]
    for method, options in (
        ("gradient_x_input", {}),
        ("integrated_gradients", {}),
        ("smoothgrad", {"samples": 2}),
        ("occlusion", {"window": 3, "stride": 3}),
    ):
        e = explain(wrapped, x, method, target=1, **options)
        assert e.parts[0].input_dims == dims
        values = e.values * x if method == "smoothgrad" else e.values
        if method == "occlusion":
            assert np.isfinite(values).all()
        else:
            total = values.reshape(2, -1).sum(axis=1)
            np.testing.assert_allclose(total, rise, rtol=1e-4, atol=1e-5)
    e = explain(wrapped, x, "gradcam", target=1, layer="conv", relu=False)
    assert e.values.shape == (2, *size)
    assert e.parts[0].dims == ("sample", *names)
    assert np.any(e.values)
    if space > 1 or first:
        assert explain(wrapped, x, "gradcam", target=1).parameters["layer"] == "conv"


@pytest.mark.parametrize("names", [None, ("boxes", "scores")])
def test_detection_is_explained_by_a_function_of_the_outputs(names):
    u, v = floats(5, 8), floats(5, 3)
    first, second = names or (0, 1)

    def apply(weights, x):
        found = (x @ weights[0]).reshape(-1, 4, 2), x @ weights[1]
        return dict(zip(names, found, strict=True)) if names else found

    model, x = (apply, [jnp.asarray(u), jnp.asarray(v)]), floats(3, 5)
    targets = (
        (lambda outputs: outputs[first][:, 2, 1], u[:, 5]),
        (lambda outputs: outputs[second][:, 2] - outputs[second][:, 0], v[:, 2] - v[:, 0]),
    )
    for target, weight in targets:
        for method in ("saliency", "integrated_gradients", "occlusion"):
            e = explain(model, x, method, target=target)
            expected = np.tile(weight, (3, 1)) * (1 if method == "saliency" else x)
            np.testing.assert_allclose(e.values, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(TargetError, match="need a function"):
        explain(model, x, "saliency")


def test_segmentation_is_explained_by_a_function_of_the_outputs():
    """The class map summed over a region reacts to the pixels in sight of that region only."""
    conv = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
    graph, state = nnx.split(conv)

    def apply(state, x):
        return jax.nn.softmax(nnx.merge(graph, state)(x))

    for method in ("saliency", "integrated_gradients"):
        e = explain(
            (apply, state),
            floats(2, 8, 9, 3),
            method,
            target=lambda outputs: outputs[:, :3, :4, 1].sum(axis=(1, 2)),
        )
        seen = np.abs(e.values).sum(axis=-1)
        assert e.explained == "logit"
        assert np.all(seen[:, :4, :5] > 0)
        assert not np.any(seen[:, 4:])
        assert not np.any(seen[:, :, 5:])


def test_one_sigmoid_is_explained_by_its_logit():
    weight = floats(4, 1)
    model = (lambda w, x: jax.nn.sigmoid(x @ w), jnp.asarray(weight))
    x = 50 * floats(3, 4)  # saturated: the probability itself has no gradient left
    e = explain(model, x, "saliency")
    assert e.explained == "logit"
    np.testing.assert_allclose(e.values, np.tile(weight[:, 0], (3, 1)), rtol=1e-6)
    first = explain(wrap(model, class_names=["no", "yes"]), x, "saliency", target="no")
    np.testing.assert_allclose(first.values, -e.values)


@pytest.mark.parametrize("flat", [False, True])
def test_regression_is_explained_by_its_number(flat):
    weight = floats(4, 1)
    model = (lambda w, x: (x @ w)[:, 0] if flat else x @ w, jnp.asarray(weight))
    x = floats(3, 4)
    e = explain(model, x, "integrated_gradients")
    np.testing.assert_allclose(e.values, weight[:, 0] * x, rtol=1e-4, atol=1e-6)
    assert e.gap is not None
    assert e.gap.max() < 1e-4


def small_network(weights, x):
    return jnp.tanh(x @ weights[0]) @ weights[1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_models_give_single_precision_maps(dtype):
    single = [jnp.asarray(floats(6, 16)), jnp.asarray(floats(16, 3))]
    half = [w.astype(dtype) for w in single]
    methods = {
        "saliency": {},
        "gradient_x_input": {},
        "integrated_gradients": {"steps": 16},
        "smoothgrad": {"samples": 8},
        "occlusion": {"window": 2},
    }
    for method, options in methods.items():
        one, other = (
            explain((small_network, w), floats(4, 6), method, target=1, **options)
            for w in (half, single)
        )
        assert one.values.dtype == np.float32
        allowed = (0.01 if dtype == "float16" else 0.06) * np.abs(other.values).max()
        assert np.abs(one.values - other.values).max() < allowed


def test_sums_over_a_half_precision_model_are_kept_in_single_precision():
    """400 equal gradients of 7: in float16 their sum would have stopped being exact at 2048."""
    model = (lambda w, x: x @ w, jnp.full((3, 2), 7.0, jnp.float16))
    for method, options in (
        ("smoothgrad", {"samples": 400, "noise": 0.01}),
        ("integrated_gradients", {"steps": 400}),
    ):
        e = explain(model, np.ones((1, 3), np.float32), method, target=0, **options)
        np.testing.assert_allclose(e.values, 7.0, rtol=1e-6)


class Normed(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(5, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.norm.mean[...] = jnp.asarray(floats(8))
        self.norm.var[...] = jnp.asarray(floats(8) ** 2 + 0.5)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.norm(self.first(x)))))


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "smoothgrad", "occlusion"])
def test_a_module_in_training_mode_is_explained_in_evaluation_mode(method):
    model, x = Normed(), floats(4, 5)
    model.eval()
    expected = explain(model, x, method, seed=3).values
    model.train()
    statistics = np.asarray(model.norm.mean[...])
    found = explain(model, x, method, seed=3).values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not model.drop.deterministic
    assert not model.norm.use_running_average
    np.testing.assert_array_equal(model.norm.mean[...], statistics)


def test_compiled_functions_are_opened():
    model, x = Normed(), floats(3, 5)
    model.eval()
    graph, state = nnx.split(model)

    def apply(state, x):
        return nnx.merge(graph, state)(x)

    expected = explain(model, x, "integrated_gradients").values
    e = explain((jax.jit(apply), state), x, "integrated_gradients")
    np.testing.assert_allclose(e.values, expected, rtol=1e-5, atol=1e-6)


class Recurrent(nnx.Module):
    def __init__(self, kind) -> None:
        rngs = nnx.Rngs(1)
        self.rnn = nnx.RNN(kind(3, 6, rngs=rngs))
        self.head = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        start = self.rnn.cell.initialize_carry((x.shape[0], 3), nnx.Rngs(0))
        return self.head(self.rnn(x, initial_carry=start)[:, -1])


@pytest.mark.parametrize("kind", [nnx.LSTMCell, nnx.GRUCell])
def test_recurrent_networks(kind):
    model, x = Recurrent(kind), floats(3, 7, 3)
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


class Twins(nnx.Module):
    """One encoder reads both pictures; their difference decides."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(2)
        self.encoder = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, a, b):
        change = nnx.tanh(self.encoder(a)) - nnx.tanh(self.encoder(b))
        return self.head(change.mean(axis=(1, 2)))


def test_a_shared_layer_is_addressed_by_its_call():
    model = Twins()
    x = floats(2, 6, 5, 2), floats(2, 6, 5, 2) + 1
    assert {"encoder", "encoder#2"} <= {c.path for c in wrap(model).layers(x)}
    first = explain(model, x, "gradcam", layer="encoder", target=0, relu=False)
    second = explain(model, x, "gradcam", layer="encoder#2", target=0, relu=False)
    assert np.any(first.values[0])
    assert not np.any(first.values[1])
    assert np.any(second.values[1])
    assert not np.any(second.values[0])
    swapped = explain(model, x[::-1], "gradcam", layer="encoder#2", target=0, relu=False)
    np.testing.assert_allclose(swapped.values[1], -first.values[0], rtol=1e-4, atol=1e-6)


def convolved(layout, *, before=lambda x: x):
    """A function without layers or words about its layout: a convolution and the mean."""
    kernel = jnp.asarray(floats(3, 3, 3, 2))  # height, width, in, out

    def model(x):
        x = before(x)
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=(layout, "HWIO", layout)
        )
        return jax.nn.relu(y).mean(axis=(2, 3) if layout == "NCHW" else (1, 2))

    return model


@pytest.mark.parametrize("options", [{}, {"inputs": (3, 8, 6)}], ids=["as it is", "told"])
def test_the_layout_of_a_plain_function_is_that_of_its_first_convolution(options):
    first, last = convolved("NCHW"), convolved("NHWC")
    x = floats(2, 8, 6, 3)
    turned = np.moveaxis(x, -1, 1)
    expected = explain(last, jnp.asarray(x), "occlusion", window=2)
    found = explain(wrap(first, framework="jax", **options), turned, "occlusion", window=2)
    assert found.parts[0].input_dims == ("sample", "channel", "height", "width")
    values = np.moveaxis(found.values, 1, -1)
    np.testing.assert_allclose(values, expected.values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("before", "channel"),
    [
        (lambda x: (x - 0.5) / 0.25, 1),
        (lambda x: jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), 1),
        (lambda x: jnp.transpose(x, (0, 3, 1, 2)) * 2, 3),
        (lambda x: x[:, :3], 1),
    ],
    ids=["scaled", "padded", "turned round", "sliced"],
)
def test_what_a_function_does_before_its_first_convolution_is_seen_through(before, channel):
    shape = [2, 8, 6]
    shape.insert(channel, 3)
    e = explain(wrap(convolved("NCHW", before=before), framework="jax"), floats(*shape), "saliency")
    assert e.parts[0].dims[channel] == "channel"


def test_a_function_without_a_convolution_has_its_channels_last():
    e = explain(jax.jit(lambda x: x.mean(axis=(1, 2))), jnp.asarray(floats(2, 8, 6, 3)), "saliency")
    assert e.parts[0].dims[-1] == "channel"


def test_inputs_that_a_function_cannot_run_are_refused_by_the_run():
    with pytest.raises(ModelError, match="conv_general_dilated"):
        explain(wrap(convolved("NCHW"), framework="jax"), floats(2, 8, 6, 5), "saliency")
