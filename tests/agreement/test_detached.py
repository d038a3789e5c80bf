"""Values whose derivative is hidden on the way to the score: followed, or refused with a word."""

from typing import Any

import numpy as np
import pytest

from pellucid import Explanation, explain, wrap
from pellucid.errors import CoverageError

DRAWS = np.random.default_rng(8)
X, B = (DRAWS.normal(size=(3, 5)).astype(np.float32) for _ in range(2))
W = DRAWS.normal(size=(5, 5)).astype(np.float32)
FRAMEWORKS = ("torch", "tensorflow", "jax")


def gap_of(e: Explanation) -> float:
    assert e.gap is not None
    return float(e.gap.max())


def parts(framework: str):
    """Arithmetic of a framework: matmul, exp, sum and maximum of rows, and the stop."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        w = torch.from_numpy(W)
        return (
            lambda v: v @ w, torch.exp, lambda v: v.sum(1, keepdim=True),
            lambda v: v.max(1, keepdim=True).values, lambda v: v.detach(), torch.tanh, torch.log,
        )  # fmt: skip
    if framework == "jax":
        pytest.importorskip("jax")
        import jax
        import jax.numpy as jnp

        return (
            lambda v: v @ jnp.asarray(W), jnp.exp, lambda v: v.sum(1, keepdims=True),
            lambda v: v.max(1, keepdims=True), jax.lax.stop_gradient, jnp.tanh, jnp.log,
        )  # fmt: skip
    tf = pytest.importorskip("tensorflow")
    return (
        lambda v: v @ W, tf.exp, lambda v: tf.reduce_sum(v, 1, keepdims=True),
        lambda v: tf.reduce_max(v, 1, keepdims=True), tf.stop_gradient, tf.tanh, tf.math.log,
    )  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_softmax_by_hand_with_a_detached_maximum_adds_up(framework):
    matmul, exp, total, highest, stop, _, _ = parts(framework)

    def called(v):
        z = matmul(v)
        powers = exp(z - stop(highest(z)))
        return matmul(powers / total(powers))

    e = explain(wrap(called, framework=framework), X, "deeplift", baseline=B, target=1)
    assert gap_of(e) < 1e-4


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_sum_of_powers_with_a_detached_maximum_adds_up(framework):
    matmul, exp, total, highest, stop, _, log = parts(framework)

    def called(v):
        z = matmul(v)
        top = stop(highest(z))
        return z * (log(total(exp(z - top))) + top)

    model = wrap(called, framework=framework)
    assert gap_of(explain(model, X, "deeplift", baseline=B, target=1)) < 1e-4
    # Relevance through the exponentials and the logarithm apart is without any bound.
    if framework == "torch":
        with pytest.raises(CoverageError, match="detached"):
            explain(model, X, "lrp", target=1)
    else:
        assert np.abs(explain(model, X, "lrp", target=1).values).max() < 1e3
    assert np.isfinite(explain(model, X, "saliency", target=1).values).all()


@pytest.mark.parametrize("method", ["deeplift", "deep_shap", "lrp", "excitation_backprop"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_straight_through_value_is_refused_by_name(framework, method):
    matmul, _, _, _, stop, tanh, _ = parts(framework)

    def called(v):
        z = matmul(v)
        return matmul(z + stop(tanh(z) - z))

    given: dict[str, Any] = {"background": B} if method == "deep_shap" else {}
    with pytest.raises(CoverageError, match=r"detached[\s\S]*(integrated|expected)_gradients"):
        explain(wrap(called, framework=framework), X, method, target=0, **given)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_detached_value_that_is_only_compared_is_nobodys_concern(framework):
    matmul, _, _, _, stop, tanh, _ = parts(framework)

    def called(v):
        positive = stop(v) > 0
        assert positive is not None
        return matmul(tanh(matmul(v)))

    e = explain(wrap(called, framework=framework), X, "deeplift", baseline=B, target=0)
    assert gap_of(e) < 1e-4


def test_moments_of_tensorflow_keep_their_rules():
    tf = pytest.importorskip("tensorflow")

    def called(v):
        mean, variance = tf.nn.moments(v @ W, [1], keepdims=True)
        return tf.tanh(v @ W - mean) * tf.math.rsqrt(variance + 0.1)

    model = wrap(called, framework="tensorflow")
    assert gap_of(explain(model, X, "deeplift", baseline=B, target=0)) < 1e-4
    assert np.isfinite(explain(model, X, "lrp", target=0).values).all()


@pytest.mark.parametrize(
    "squared",
    ["not averaged", "not only averaged", "of another", "along other axes", "with others"],
)
def test_squares_around_another_mean_than_their_own_are_refused(squared):
    tf = pytest.importorskip("tensorflow")

    def average(v, axis=1):
        return tf.reduce_mean(v, axis, keepdims=True)

    def squares(v):
        return tf.math.squared_difference(v, tf.stop_gradient(average(v)))

    def both(v):
        made = squares(v)
        return average(made) + made

    made = {
        "not averaged": squares,
        "not only averaged": both,
        "of another": lambda v: average(
            tf.math.squared_difference(tf.tanh(v), tf.stop_gradient(average(v)))
        ),
        "along other axes": lambda v: average(squares(v), 2),
        "with others": lambda v: average(squares(v) * v),
    }[squared]

    def called(v):
        rows = tf.stack([v @ W, v], 2)
        return tf.reduce_sum(made(rows), 2)

    model = wrap(called, framework="tensorflow")
    for method in ("deeplift", "lrp"):
        with pytest.raises(CoverageError, match="detached"):
            explain(model, X, method, target=0)


def _torch_log_sum(axes, keep):
    torch = pytest.importorskip("torch")
    return lambda v: torch.logsumexp(v, axes, keepdim=keep)


def _tensorflow_log_sum(axes, keep):
    tf = pytest.importorskip("tensorflow")
    return lambda v: tf.reduce_logsumexp(v, axes, keepdims=keep)


def _jax_log_sum(axes, keep):
    jax = pytest.importorskip("jax")
    return lambda v: jax.nn.logsumexp(v, axes, keepdims=keep)


LOG_SUMS = {"torch": _torch_log_sum, "tensorflow": _tensorflow_log_sum, "jax": _jax_log_sum}


def _log_sum_of(x: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=(1, 2)))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_logarithm_of_a_sum_of_powers_is_one_operation(framework, keep):
    """DeepLIFT by w_k = L(eˣ, eˣ′) / L(eˢ, eˢ′), and LRP by eˣ / eˢ, along two axes."""
    x, b = (DRAWS.normal(size=(3, 2, 4)).astype(np.float32) for _ in range(2))
    total = LOG_SUMS[framework]((1, 2), keep)

    def called(v):
        made = total(v)
        return made[:, :, 0] if keep else made[:, None]

    model = wrap(called, framework=framework)
    e = explain(model, x, "deeplift", baseline=b, target=0)
    wide, base = x.astype(float), b.astype(float)
    sums, sums_before = _log_sum_of(wide), _log_sum_of(base)
    slope = (sums - sums_before) / (np.exp(sums) - np.exp(sums_before))
    truth = (np.exp(wide) - np.exp(base)) * slope[:, None, None]
    assert np.abs(e.values - truth).max() < 1e-5
    relevance = explain(model, x, "lrp", target=0).values
    assert np.abs(relevance - wide * np.exp(wide - sums[:, None, None])).max() < 1e-5


def test_the_logarithm_of_a_sum_of_powers_is_one_operation_inside_a_loop_of_tensorflow(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    from pellucid.adapters.tensorflow import interpret

    def turn(v):
        z = tf.nn.relu(v @ W)
        return z * tf.reduce_logsumexp(z, 1, keepdims=True)

    def looped(v):
        return tf.while_loop(lambda i, _: i < 2, lambda i, v: (i + 1, turn(v)), (0, v))[1]

    probed = []
    rectifiers = interpret.rectifiers
    monkeypatch.setattr(
        interpret, "rectifiers", lambda *given: probed.append(given) or rectifiers(*given)
    )
    loop = wrap(looped, framework="tensorflow")
    straight = wrap(lambda v: turn(turn(v)), framework="tensorflow")
    for method in ("deeplift", "lrp"):
        options: dict[str, Any] = {"baseline": B} if method == "deeplift" else {}
        found, wanted = (explain(m, X, method, target=1, **options) for m in (loop, straight))
        assert np.abs(found.values - wanted.values).max() < 1e-4 * np.abs(wanted.values).max()
    before = len(probed)
    explain(loop, X, "lrp", target=1)
    assert len(probed) == before, "the loop is looked at once"


def test_a_keras_softmax_along_two_axes_is_a_softmax():
    keras = pytest.importorskip("keras")
    given = keras.Input((2, 4))
    flat = keras.layers.Flatten()(keras.layers.Softmax(axis=(1, 2))(given))
    two = keras.Model(given, keras.layers.Dense(3)(flat))
    one = keras.Model(
        given, keras.layers.Dense(3)(keras.layers.Softmax()(keras.layers.Flatten()(given)))
    )
    one.layers[-1].set_weights(two.layers[-1].get_weights())
    x, b = (DRAWS.normal(size=(3, 2, 4)).astype(np.float32) for _ in range(2))
    for method in ("deeplift", "lrp"):
        options: dict[str, Any] = {"baseline": b} if method == "deeplift" else {}
        found = [explain(m, x, method, target=1, **options).values for m in (two, one)]
        assert np.abs(found[0] - found[1]).max() < 1e-5


def test_keras_attention_along_two_axes_has_rules():
    keras = pytest.importorskip("keras")
    given = keras.Input((2, 3, 4))
    made = keras.layers.MultiHeadAttention(2, 4, attention_axes=(1, 2))(given, given)
    model = keras.Model(given, keras.layers.Dense(3)(keras.layers.Flatten()(made)))
    x, b = (DRAWS.normal(size=(3, 2, 3, 4)).astype(np.float32) for _ in range(2))
    assert gap_of(explain(model, x, "deeplift", baseline=b, target=1)) < 1e-4
    e = explain(model, x, "lrp", composite="attnlrp", target=1)
    assert np.abs(e.values).max() < 10 * np.abs(np.asarray(e.outputs)).max()
