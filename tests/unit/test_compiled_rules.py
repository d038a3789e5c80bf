"""Rules in TensorFlow run as one compiled function from the fourth time on, with equal numbers."""

import gc
import weakref

import numpy as np
import pytest

from pellucid import explain, wrap

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("these are Keras models on TensorFlow", allow_module_level=True)

L = keras.layers


@pytest.fixture(scope="module")
def net():
    """Two convolutions with a batch normalisation and max-pools, then two dense layers."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU(),
            L.MaxPooling2D(2), L.Conv2D(5, 2, activation="relu"), L.MaxPooling2D(2), L.Flatten(),
            L.Dense(6, activation="gelu"), L.Dense(3, activation="softmax"),
        ]
    )  # fmt: skip
    draws = np.random.default_rng(0)
    for weight in model.layers[1].weights:
        drawn = draws.uniform(0.5, 1.5, weight.shape)
        signs = draws.choice([-1, 1], weight.shape) if "gamma" in weight.path else 1
        weight.assign(drawn * signs)
    return model


@pytest.fixture
def x():
    return np.random.default_rng(1).uniform(size=(3, 12, 12, 1)).astype(np.float32)


def compiled_functions(model):
    """How many the model's adapter keeps."""
    adapter = model.adapter
    reading = adapter._reading(adapter.accept(np.zeros((1, 12, 12, 1), np.float32)))
    return sum(f is not None for f in reading.functions._made.values())


CASES = {
    "guided": ("guided_backprop", {}),
    "deconvnet": ("deconvnet", {}),
    "rescale": ("deeplift", {}),
    "deep shap": ("deep_shap", {"background": np.full((5, 12, 12, 1), 0.3, np.float32)}),
    "epsilon": ("lrp", {"composite": "epsilon"}),
    "z plus": ("lrp", {"composite": "epsilon_plus"}),
    "alpha beta": ("lrp", {"composite": "epsilon_alpha2_beta1"}),
    "gamma": ("lrp", {"composite": "epsilon_gamma"}),
    "flat": ("lrp", {"composite": "epsilon_plus_flat"}),
    "excitation": ("excitation_backprop", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_compiled_it_says_the_same(net, x, case):
    method, options = CASES[case]
    model = wrap(net)
    once, *later = [explain(model, x, method, target=1, **options) for _ in range(5)]
    assert compiled_functions(model) > 0, once.provenance["notes"]
    size = np.abs(once.values).max()
    for e in later[-2:]:
        np.testing.assert_allclose(e.values, once.values, atol=2e-6 * size)
        np.testing.assert_allclose(e.score, once.score, rtol=1e-6)


def test_each_sample_has_its_own_target(net, x):
    model = wrap(net)
    for _ in range(4):
        explain(model, x, "deeplift", target=0)
    assert compiled_functions(model) > 0
    found = explain(model, x, "deeplift", target=[2, 1, 0])
    for k, target in enumerate([2, 1, 0]):
        alone = explain(wrap(net), x[k : k + 1], "deeplift", target=target).values[0]
        np.testing.assert_allclose(found.values[k], alone, atol=2e-6 * np.abs(alone).max())


def test_training_is_followed(x):
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((12, 12, 1)), L.Flatten(), L.Dense(4, "relu"), L.Dense(2)])
    model = wrap(net)
    for _ in range(5):
        explain(model, x, "deeplift", target=0)
    assert compiled_functions(model) > 0
    before = explain(model, x, "deeplift", target=0)
    net.layers[-1].kernel.assign(2 * net.layers[-1].kernel)
    after = explain(model, x, "deeplift", target=0)
    np.testing.assert_allclose(after.values, 2 * before.values, rtol=1e-5, atol=1e-8)


def test_what_cannot_be_compiled_is_done_step_by_step_and_said():
    inputs = keras.Input((3, 2))
    net = keras.Model(inputs, L.Dense(2)(L.SimpleRNN(3)(inputs)))
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    model = wrap(net)
    found = [explain(model, x, "lrp", target=0, composite="epsilon") for _ in range(4)]
    np.testing.assert_array_equal(found[0].values, found[-1].values)
    said = [any("operation by operation" in n for n in e.provenance["notes"]) for e in found]
    assert said == [False, False, False, True]


def test_nothing_of_a_call_is_held(net, x):
    model = wrap(net)
    adapter = model.adapter
    leaves = adapter.accept(x)

    class Held:
        pass

    def once():
        held = Held()

        def function(a):
            return adapter.run((a,)) + 0 * len(vars(held)), "fact"

        return adapter.compiled(leaves, function, leaves, "a form of this test"), weakref.ref(held)

    for _ in range(3):
        assert once()[0] is None
    (found, fact), held = once()
    assert fact == "fact"
    np.testing.assert_allclose(found, adapter.run(leaves), rtol=1e-5)
    gc.collect()
    assert held() is None
