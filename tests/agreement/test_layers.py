"""Gradient methods at an inner layer: one set of numbers, from NumPy float64 above the layer.

Twin branches (a layer called twice) and a skip connection round the layer are in the cases.
"""

import functools

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import CapabilityError, LayerError, MethodError
from pellucid.testing import build, oracles, reference_forward
from pellucid.testing.tiny_numpy import Pass, _mean_of_positions
from pellucid.testing.tiny_weights import weights_and_inputs

OF_MAXIMUM = 1e-5
LAYERS = {  # (model, number of the call): the path as each framework prints it
    ("cnn", 0): dict.fromkeys(("torch", "keras", "jax", "tensorlayer"), "relu#2"),
    ("residual", 0): dict.fromkeys(("torch", "keras", "jax", "tensorlayer"), "conv2"),
    ("shared", 1): {
        "torch": "encoder.encoder2", "keras": "encoder", "jax": "encoder",
        "tensorlayer": "encoder2",
    },
    ("shared", 2): {
        "torch": "encoder#2", "keras": "encoder#2", "jax": "encoder#2",
        "tensorlayer": "encoder2#2",
    },
    ("two_inputs", 0): {
        "torch": "hidden", "keras": "joined", "jax": "hidden", "tensorlayer": "joined",
    },
}  # fmt: skip
FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer")
"""Those with layers; that a TensorFlow function has none is the last test."""
CASES = [(*case, f) for case, paths in LAYERS.items() for f in paths]


def below_and_above(name: str, call: int, framework: str):
    """`below(leaves) -> activation (n, ...)` and `above(activation, leaves) -> logits`."""
    run = Pass(weights_and_inputs(name, 0)[0])

    def encoded(x):
        return run.dense(run.relu(run.dense(x, "encoder1")), "encoder2")

    def joined(left, right):
        both = np.concatenate([left, right], axis=1)
        return run.dense(run.relu(run.dense(both, "hidden")), "head")

    def skip(x):
        return run.relu(run.batch_norm(run.conv(x, "conv1"), "norm1"))

    def after_skip(a, x):
        return run.dense(
            _mean_of_positions(np.maximum(skip(x) + run.batch_norm(a, "norm2"), 0)), "head"
        )

    def two(image, table):
        seen = _mean_of_positions(run.relu(run.conv(image, "conv")))
        return np.concatenate([seen, run.relu(run.dense(table, "table"))], axis=1)

    if name == "cnn":
        return (
            lambda x: run.relu(run.conv(run.max_pool(run.relu(run.conv(x, "conv1"))), "conv2")),
            lambda a, x: run.dense(_mean_of_positions(a), "head"),
        )
    if name == "residual":
        return lambda x: run.conv(skip(x), "conv2"), after_skip
    if name == "two_inputs":
        if framework in {"torch", "jax"}:
            return (
                lambda *x: run.dense(two(*x), "hidden"),
                lambda a, *x: run.dense(np.maximum(a, 0), "head"),
            )
        return two, lambda a, *x: run.dense(run.relu(run.dense(a, "hidden")), "head")
    # Torch's encoder2 returns before its activation, every other path after it.
    raw = framework == "torch" and call == 1

    def active(x):
        return np.maximum(encoded(x), 0)

    if raw:
        return (
            lambda left, right: encoded(left),
            lambda a, left, right: joined(np.maximum(a, 0), active(right)),
        )
    if call == 1:
        return lambda left, right: active(left), lambda a, left, right: joined(a, active(right))
    return lambda left, right: active(right), lambda a, left, right: joined(active(left), a)


def leaves_of(name: str) -> tuple[np.ndarray, ...]:
    x = build(name, "numpy")[1]
    return x if isinstance(x, tuple) else (x,)


@functools.cache
def reference(name: str, call: int, framework: str, method: str, sample: int):
    leaves = tuple(a[sample : sample + 1].astype(np.float64) for a in leaves_of(name))
    target = int(reference_forward(name, leaves, logits=True).argmax())
    below, above = below_and_above(name, call, framework)
    value = below(*leaves)[0]
    start = below(*(np.zeros_like(a) for a in leaves))[0]

    def score(a):
        return above(a, *(np.repeat(x, len(a), axis=0) for x in leaves))[:, target]

    if method == "saliency":
        return oracles.gradient(score, [value])[0]
    if method == "gradient_x_input":
        return oracles.gradient(score, [value])[0] * value
    shifted = oracles.integrated_gradients(lambda d: score(start + d), [value - start], steps=6)
    return shifted[0]


def channels_last(values: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    return np.moveaxis(values, dims.index("channel"), -1) if "channel" in dims else values


@pytest.mark.parametrize(("name", "call", "framework"), CASES)
@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "integrated_gradients"])
def test_layers_agree_with_numpy(method, name, call, framework):
    model, x = build(name, framework)
    options = {"steps": 6} if method == "integrated_gradients" else {}
    layer = LAYERS[name, call][framework]
    e = explain(model, x, method, layer=layer, **options)
    (part,) = e.parts
    found = channels_last(part.values, part.dims)
    expected = np.stack([reference(name, call, framework, method, i) for i in range(len(e))])
    assert np.abs(found - expected).max() < OF_MAXIMUM * np.abs(expected).max()
    assert part.name == layer
    assert part.dims[0] == "sample"
    assert part.inputs.shape == part.values.shape
    if method == "integrated_gradients":
        total = e.values.reshape(len(e), -1).sum(1)
        error = np.abs(total - (e.score - e.baseline_score))
        np.testing.assert_allclose(e.gap * np.abs(e.score - e.baseline_score), error, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_completeness_at_a_layer_goes_round_skip_connections(framework):
    """The reference score is f with A(x') at the layer and x everywhere else."""
    model, x = build("residual", framework)
    e = explain(model, x, "integrated_gradients", layer="conv2", tolerance=0.002)
    assert e.gap.max() < 0.02


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_part_below_runs_once(framework):
    model, x = build("cnn", framework)
    one = explain(model, x[:1], "integrated_gradients", layer="relu#2", steps=20)
    assert one.evaluations.forward == 1 + 1, "x and x'"
    assert one.evaluations.suffix == 20 + 1
    noisy = explain(model, x, "smoothgrad", layer="relu#2", samples=3)
    assert noisy.evaluations == (5 + 15, 15, 15)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_noise_stays_on_the_input(framework):
    model, x = build("cnn", framework)
    still = explain(model, x, "smoothgrad", layer="relu#2", samples=3, noise=0)
    plain = explain(model, x, "saliency", layer="relu#2")
    np.testing.assert_allclose(still.values, plain.values, atol=1e-6)
    assert still.stderr.max() == 0
    noisy = explain(model, x, "smoothgrad", layer="relu", samples=20, noise=0.3, seed=1)
    assert noisy.stderr.max() > 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "smoothgrad"])
def test_a_sample_at_a_layer_does_not_depend_on_its_batch(method, framework):
    model, x = build("residual", framework)
    if framework == "jax":  # a function does not say what a sample is
        model = wrap(model, inputs=x.shape[1:])
    options = {"integrated_gradients": {"steps": 5}, "smoothgrad": {"samples": 3}}.get(method, {})
    whole = explain(model, x, method, layer="conv2", **options).values
    for size in (1, 7):
        found = explain(model, x, method, layer="conv2", batch_size=size, **options).values
        np.testing.assert_allclose(found, whole, atol=1e-5 * np.abs(whole).max())
    single = explain(model, x[2], method, layer="conv2", **options).values
    np.testing.assert_allclose(single, whole[2], atol=1e-5 * np.abs(whole).max())


def test_whole_numbers_are_explained_at_the_layer_above_them():
    import torch

    torch.manual_seed(0)

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(10, 4)
            self.head = torch.nn.Linear(4, 2)

        def forward(self, ids):
            return self.head(torch.tanh(self.embedding(ids)).mean(1))

    ids = torch.tensor([[1, 2, 3], [4, 5, 0]])
    with pytest.raises(CapabilityError, match="layer="):
        explain(Reader(), ids)
    e = explain(Reader(), ids, "integrated_gradients", layer="embedding", tolerance=1e-4)
    assert e.values.shape == (2, 3, 4)
    assert e.gap.max() < 1e-3
    assert np.abs(e.values[1, 2]).max() == 0, "the id 0 is the reference's own"


def test_layers_that_cannot_be():
    model, x = build("cnn", "torch")
    with pytest.raises(LayerError, match="relu"):
        explain(model, x, "integrated_gradients", layer="rellu")
    plain, rows = build("dense", "tensorflow")
    with pytest.raises(CapabilityError, match="no layers"):
        explain(plain, rows, "saliency", layer="hidden1")
    with pytest.raises(MethodError, match="takes no parameter 'layer'"):
        explain(model, x, "occlusion", layer="relu")
