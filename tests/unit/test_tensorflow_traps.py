"""The traps of reading TensorFlow models, each with the symptom it would show.

Others stand where they belong: BatchNorm after a training step (`test_adapter_tensorlayer.py`),
custom gradients and marks of shared layers (`test_adapter_tensorflow.py`), called functions
(`test_saved_models.py`). Traps of propagation rules come with the rules.
"""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from pellucid import explain, wrap
from pellucid.adapters.derived import layer_gradient
from pellucid.adapters.tensorflow import TensorFlowAdapter


def rows(shape=(3, 4), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gradients(adapter, x, intercept=None):
    leaves = adapter.accept(x)

    def score(a):
        return tf.reduce_sum(adapter.run(a, intercept=intercept), axis=-1), None

    value, _, pullback = adapter.vjp(score, leaves)
    return pullback(tf.ones_like(value))[0]


def same_gradients(model, x, tolerance=1e-5):
    """A run whose operations are performed one by one has the gradient of the model itself."""
    adapter = TensorFlowAdapter(model)
    plain, one_by_one = gradients(adapter, x), gradients(adapter, x, lambda op: op())
    assert np.abs(plain).max() > 0
    np.testing.assert_allclose(one_by_one, plain, atol=tolerance * np.abs(plain).max())
    return adapter


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.reduce_sum(x**2, axis=1, keepdims=True),  # Sum: reduction_indices -> axis
        lambda x: tf.concat(tf.split(tf.tanh(x), 2, axis=1)[::-1], axis=1),  # split_dim -> axis
        lambda x: tf.squeeze(tf.expand_dims(x * x, 1), [1]),  # dim, squeeze_dims -> axis
        lambda x: tf.raw_ops.Select(condition=x > 0, x=2 * x, y=x),  # t, e -> x, y
        lambda x: tf.where(x > 0, 3 * x, x) + tf.constant([1.0, 2.0, 3.0, 4.0]),  # Const
        lambda x: tf.reverse(tf.cumsum(x, axis=1), [1]) * x,
    ],
)
def test_operations_done_again_are_seen_by_a_tape(function):
    """By TensorFlow's private way of copying an operation a tape gives None, without an error."""
    same_gradients(function, tf.constant(rows()))


def test_a_probe_on_dropout_leaves_the_residual_branch_alone():
    """Dropout returns its input tensor at inference: a probe on it was wrong by its whole size."""
    given = keras.Input((4,))
    hidden = L.Dense(5, activation="tanh", name="hidden")(given)
    joined = L.Add(name="joined")([hidden, L.Dropout(0.5, name="drop")(hidden)])
    model = keras.Model(given, L.Dense(2, name="head")(joined))
    adapter = TensorFlowAdapter(model)
    _, gradient = layer_gradient(adapter, adapter.accept(rows()), "drop", lambda y: y[:, 0])
    kernel = model.get_layer("head").kernel.numpy()[:, 0]
    np.testing.assert_allclose(gradient, np.tile(kernel, (3, 1)), rtol=1e-6)
    _, both = layer_gradient(adapter, adapter.accept(rows()), "hidden", lambda y: y[:, 0])
    np.testing.assert_allclose(both, 2 * gradient, rtol=1e-6)


def test_what_comes_out_of_a_loop_is_live_and_the_loop_is_opaque():
    """A loop's first output is an integer: by that the LSTM, and all above it, looked dead."""
    model = keras.Sequential([keras.Input((6, 4)), L.LSTM(5, name="lstm"), L.Dense(2, name="head")])
    adapter = same_gradients(model, rows((2, 6, 4)))
    found = adapter.operations(adapter.accept(rows((2, 6, 4))))
    loop = next(op for op in found if op.name in ("While", "StatelessWhile"))
    assert loop.kind == "opaque"
    assert any(loop.live)
    head = next(op for op in found if op.path == "head" and op.name == "MatMul")
    assert head.live == (True, False)


def test_every_output_of_an_operation_with_several_is_live():
    """Liveness that marked the first output alone lost the second branch of an IdentityN."""

    @tf.custom_gradient
    def two(a):
        return (a * 1.0, a * 3.0), lambda p, q: p + 3.0 * q

    def function(x):
        _, second = two(x)
        return tf.tanh(second)

    x = tf.constant(rows())
    adapter = same_gradients(function, x)
    found = adapter.operations(adapter.accept(x))
    assert next(op for op in found if op.name == "Tanh").live == (True,)
    assert any(op.name == "IdentityN" for op in found)


def test_no_warning_of_retracing_where_each_function_is_traced_once(caplog):
    """Functions of one name built in a row: "5 out of the last 5 calls triggered retracing"."""
    logger = tf.get_logger()
    before, filters = logger.propagate, list(logger.filters)
    logger.propagate = True
    try:
        with caplog.at_level(logging.WARNING):
            for seed in range(8):
                model = keras.Sequential([keras.Input((4,)), L.Dense(2, activation="relu")])
                explain(model, rows(seed=seed), "saliency", target=0)
    finally:
        logger.propagate = before
    assert not [r for r in caplog.records if "retracing" in r.getMessage()]
    assert logger.filters == filters


@pytest.mark.parametrize("groups", [1, 2])
def test_grouped_convolutions_inside_xla_are_opened(groups):
    """Keras compiles them with XLA on a CPU: the graph holds a call, not a convolution."""
    given = keras.Input((6, 6, 4))
    conv = L.Conv2D(4, 3, groups=groups, activation="relu", name="conv")
    model = keras.Model(given, L.Flatten()(conv(given)))
    adapter = same_gradients(model, rows((2, 6, 6, 4)))
    found = adapter.operations(adapter.accept(rows((2, 6, 6, 4))))
    assert [op.path for op in found if op.name == "Conv2D"] == ["conv"]


def test_a_dropout_fixed_in_training_mode_is_off_and_no_random_state_moves():
    given = keras.Input((4,))
    model = keras.Model(given, L.Dense(2)(L.Dropout(0.5, seed=3)(given, training=True)))
    wrapped = wrap(model)
    seeds = [
        v.numpy() for layer in model.layers for v in getattr(layer, "non_trainable_variables", ())
    ]
    state = np.random.get_state()[1].copy()
    assert not any("Random" in op.name for op in wrapped.operations(rows()))
    one, other = (explain(wrapped, rows(), "saliency", target=0).values for _ in range(2))
    np.testing.assert_array_equal(one, other)
    after = [
        v.numpy() for layer in model.layers for v in getattr(layer, "non_trainable_variables", ())
    ]
    for a, b in zip(seeds, after, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_float64_arrays_do_not_make_a_second_trace():
    """A float64 array silently traces a float64 input of its own."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    wrapped = wrap(model)
    one = explain(wrapped, rows(), "saliency", target=0).values
    other = explain(wrapped, rows().astype("float64"), "saliency", target=0).values
    np.testing.assert_array_equal(one, other)
    assert len(wrapped.adapter._readings._made) == 1


def test_the_activation_of_a_layer_is_its_own_operation_not_the_next_layers():
    """Counted by the graph's version numbers, a layer's last operation went to the next layer."""
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(3, activation="relu", name="a"), L.Dense(2, name="b")]
    )
    found = wrap(model).operations(rows())
    assert [op.path for op in found if op.name == "Relu"] == ["a"]
    assert [op.path for op in found if op.name == "MatMul"] == ["a", "b"]
