import importlib
import subprocess
import sys

import numpy as np
import pytest

from pellucid.errors import InputError
from pellucid.testing import (
    FRAMEWORKS,
    NAMES,
    STYLES,
    build,
    call,
    from_layout,
    kink_distance,
    reference_forward,
    reference_gradient,
    to_layout,
)

NATIVE = [framework for framework in FRAMEWORKS if framework != "numpy"]
# Keras 3.15 saves a TensorFlow variable by `np.array(variable)`, which TensorFlow 2.21 answers
# in the way NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
STYLED = ("dense", "dense_softmax", "cnn")


def leaves_of(x):
    return x if isinstance(x, tuple) else (x,)


def native_gradient(name, framework, target):
    """d logit / d x in NHWC, by the framework's own differentiation."""
    model, x = build(name, framework)
    if framework == "torch":
        torch = importlib.import_module("torch")
        leaves = [torch.from_numpy(leaf).requires_grad_() for leaf in leaves_of(x)]
        gradients = torch.autograd.grad(model(*leaves)[:, target].sum(), leaves)
    elif framework == "jax":
        jax = importlib.import_module("jax")
        apply, weights = model
        places = tuple(range(len(leaves_of(x))))
        score = jax.grad(lambda *given: apply(weights, *given)[:, target].sum(), places)
        gradients = score(*map(jax.numpy.asarray, leaves_of(x)))
    else:
        tf = importlib.import_module("tensorflow")
        leaves = [tf.constant(leaf) for leaf in leaves_of(x)]
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            one = tuple(leaves) if len(leaves) > 1 else leaves[0]
            if framework == "tensorlayer":
                outputs = model(leaves if len(leaves) > 1 else leaves[0], is_train=False)
            else:
                outputs = model(one) if framework == "keras" else model(*leaves)
            score = tf.reduce_sum(outputs[:, target])
        gradients = tape.gradient(score, leaves)
    arrays = tuple(np.asarray(gradient) for gradient in gradients)
    return from_layout(arrays if len(arrays) > 1 else arrays[0], framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_every_framework_agrees_with_the_float64_forward(name, framework):
    model, x = build(name, framework)
    expected = reference_forward(name, from_layout(x, framework))
    out = call(model, framework, x)
    assert out.shape == (5, 1 if name == "sigmoid" else 3)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("framework", NATIVE)
@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("dense_softmax", "sigmoid")]
)
def test_gradients_agree_with_central_differences(name, framework):
    for target in range(3):
        _, x = build(name, "numpy")
        expected = leaves_of(reference_gradient(name, x, target))
        found = leaves_of(native_gradient(name, framework, target))
        for a, b in zip(found, expected, strict=True):
            assert np.abs(b).max() > 0.02
            # Exponentials, error functions and square roots round more than sums do.
            rounding = 4e-6 if name == "vit" else 1e-6
            np.testing.assert_allclose(a, b, rtol=0, atol=rounding * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", STYLED)
def test_every_keras_style_is_the_same_function(name, style):
    model, x = build(name, "keras", style=style)
    np.testing.assert_allclose(
        call(model, "keras", x), reference_forward(name, x), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("name", ["residual", "shared", "two_inputs", "cnn_functional", "vit"])
def test_branched_keras_models_reload(name):
    model, x = build(name, "keras", style="reloaded")
    np.testing.assert_allclose(
        call(model, "keras", x), reference_forward(name, x), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_samples_are_far_from_kinks_and_clear_in_their_class(name, seed):
    _, x = build(name, "numpy", seed)
    assert (kink_distance(name, x, seed) > 1e-4).all()
    logits = reference_forward(name, x, seed, logits=True)
    if name == "sigmoid":
        assert (np.abs(logits) > 0.05).all()
        assert len(np.unique(logits > 0)) == 2
    else:
        ranked = np.sort(logits, axis=1)
        assert (ranked[:, -1] - ranked[:, -2] > 0.1).all()
        assert len(np.unique(logits.argmax(axis=1))) == 3


def test_central_differences_are_good_enough_for_the_smooth_model():
    """Against float64 automatic differentiation: a thousandth of what the matrix allows."""
    torch = importlib.import_module("torch")
    model, x = build("vit", "torch")
    model.double()
    for target in range(3):
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(model(leaf)[:, target].sum(), leaf)
        exact = np.moveaxis(gradient.numpy(), 1, -1)
        found = reference_gradient("vit", from_layout(x, "torch"), target)
        assert np.abs(found - exact).max() < 1e-8 * np.abs(exact).max()


def test_softmax_model_has_the_logits_of_the_plain_one():
    _, x = build("dense", "numpy")
    np.testing.assert_array_equal(
        reference_forward("dense_softmax", x, logits=True), reference_forward("dense", x)
    )
    np.testing.assert_allclose(reference_forward("dense_softmax", x).sum(axis=1), 1.0)


def test_batch_norm_statistics_and_biases_matter():
    torch_model, _ = build("residual", "torch")
    state = torch_model.state_dict()
    assert float((state["norm1.running_var"] - 1).abs().max()) > 0.1
    assert float(state["norm1.running_mean"].abs().max()) > 0.1
    for name in NAMES:
        model, _ = build(name, "torch")
        biases = [p for key, p in model.named_parameters() if key.endswith("bias")]
        assert all(float(bias.detach().abs().max()) > 0.01 for bias in biases)


def test_a_seed_names_one_model_and_one_batch():
    first, again, other = (build("cnn", "numpy", seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.allclose(reference_forward("cnn", first, 0), reference_forward("cnn", first, 1))


def test_a_caller_may_write_into_its_samples():
    _, x = build("two_inputs", "keras")
    x[0][...] = 0.0
    _, fresh = build("two_inputs", "keras")
    assert fresh[0].any()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_layout_and_back(framework):
    image = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    table = np.arange(6.0).reshape(2, 3)
    there = to_layout((image, table), framework)
    assert there[0].shape == ((2, 5, 4, 3) if framework == "torch" else image.shape)
    back = from_layout(there, framework)
    np.testing.assert_array_equal(back[0], image)
    np.testing.assert_array_equal(back[1], table)


def test_unknown_names_are_named():
    with pytest.raises(InputError, match=r"no tiny model named 'dens'.*Nearest: 'dense'"):
        build("dens", "torch")
    with pytest.raises(InputError, match="no tiny framework named 'theano'"):
        build("dense", "theano")
    with pytest.raises(InputError, match="style is one of"):
        build("dense", "keras", style="imperative")
    with pytest.raises(InputError, match="functional or reloaded only"):
        build("shared", "keras", style="sequential")


def test_importing_the_room_imports_no_framework():
    code = (
        "import sys, pellucid.testing as t; t.build('cnn', 'numpy')\n"
        "print([m for m in ('torch', 'tensorflow', 'keras', 'jax', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
