"""What is fast is also right: compiled gradients, frozen weights, memory layouts."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from pellucid import explain, wrap
from pellucid.adapters.protocol import Adapter, Cut
from pellucid.arrays import all_finite
from pellucid.counting import CountedModel
from pellucid.engine.choice import Choice
from pellucid.engine.schedule import Schedule
from pellucid.explain import explain_each
from pellucid.targets import Target
from pellucid.task import Task

FRAMEWORKS = ("torch", "tensorflow")
METHODS = {
    "integrated_gradients": {"steps": 24},
    "smoothgrad": {"samples": 20},
}


def inputs(n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((n, 8, 6, 3)).astype(np.float32)


def torch_model(training: bool = False) -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(96, 16), torch.nn.GELU(),
        torch.nn.BatchNorm1d(16, affine=False), torch.nn.Linear(16, 4), torch.nn.Softmax(1),
    )  # fmt: skip
    for part in (net[1], net[7]):
        part.running_mean.normal_()
        part.running_var.uniform_(0.5, 2)
    return net.train(training)


def keras_model(channels: int = 4) -> Any:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend in this process")
    keras.utils.set_random_seed(0)
    L = keras.layers
    inputs = keras.Input((8, 6, 3))
    x = L.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = L.BatchNormalization()(L.MaxPooling2D()(x))
    final = "softmax" if channels > 1 else "sigmoid"
    return keras.Model(inputs, L.Dense(channels, activation=final)(L.Flatten()(x)))


# Compiled gradients


def stepwise(monkeypatch: pytest.MonkeyPatch, adapter: type[Adapter]) -> None:
    """Have an adapter go without compiled gradients, by the verbs alone."""
    monkeypatch.setattr(adapter, "compiled_gradients", Adapter.compiled_gradients)


@pytest.mark.parametrize("target", [None, 2, (1, 3), [0, 1, 2, 3, 0]], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_compiled_gradients_are_those_of_the_verbs(method, target, monkeypatch):
    model, x = wrap(keras_model()), inputs()
    fast = explain(model, x, method, target=target, **METHODS[method])
    reading = model.adapter._reading(model.accept(x).leaves)
    assert reading.compiled, "it was used"
    stepwise(monkeypatch, type(model.adapter))
    slow = explain(model, x, method, target=target, **METHODS[method])
    assert np.abs(fast.values - slow.values).max() < 1e-6 * np.abs(slow.values).max()
    assert fast.evaluations == slow.evaluations


def test_one_compiled_function_serves_batches_classes_and_calls():
    model, x = wrap(keras_model()), inputs(9)
    for n, target in ((9, 0), (4, 3), (7, [0, 1, 2, 3, 0, 1, 2])):
        explain(model, x[:n], "integrated_gradients", steps=24, target=target)
    reading = model.adapter._reading(model.accept(x).leaves)
    assert len(reading.compiled) == 1


def test_a_model_with_one_output_and_two_names_is_compiled_too(monkeypatch):
    model, x = wrap(keras_model(1), class_names=["no", "yes"], output="probability"), inputs()
    target = ["no", "yes", "no", "no", "yes"]
    fast = explain(model, x, "integrated_gradients", steps=24, target=target)
    stepwise(monkeypatch, type(model.adapter))
    slow = explain(model, x, "integrated_gradients", steps=24, target=target)
    np.testing.assert_allclose(fast.values, slow.values, atol=1e-7)


def test_a_target_function_is_called_on_real_outputs():
    """It may be NumPy inside, so it is not traced."""
    seen = []

    def target(outputs):
        seen.append(hasattr(outputs, "numpy"))
        return outputs[:, 1]

    model, x = wrap(keras_model()), inputs()
    e = explain(model, x, "integrated_gradients", steps=24, target=target)
    assert all(seen)
    other = explain(model, x, "integrated_gradients", steps=24, target=1)
    np.testing.assert_allclose(e.values, other.values, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("target", [2, (0, 3), None], ids=str)
def test_the_compiled_gradient_at_a_layer_is_that_of_the_verbs(target, monkeypatch):
    model, x = wrap(keras_model()), inputs()
    if target is None:  # a function of the outputs is called on real ones
        target = lambda outputs: outputs[:, 1] * 2.0  # noqa: E731
    cut, found = "pellucid.adapters.tensorflow.cut.TracedCut.gradient", []
    from pellucid.adapters.tensorflow.cut import TracedCut

    compiled = TracedCut.gradient
    monkeypatch.setattr(cut, lambda *given: found.append(compiled(*given)) or found[-1])
    given = {"layer": model.layers()[1].path, "target": target, "relu": False}
    fast = explain(model, x, "gradcam", **given)
    assert len(found) == (not callable(target))
    monkeypatch.setattr(cut, Cut.gradient)
    slow = explain(model, x, "gradcam", **given)
    assert np.abs(fast.values - slow.values).max() < 1e-6 * np.abs(slow.values).max()
    assert fast.evaluations == slow.evaluations


def test_a_loop_inside_the_compiled_function_gives_the_same(monkeypatch):
    """The last step has fewer rows than the others, and both targets come out of one loop."""
    from pellucid.adapters.tensorflow import compiled

    steps, x = [], inputs()
    parameters = {"steps": 13}

    def run() -> list[np.ndarray]:
        found = explain_each(
            wrap(keras_model()), x, "integrated_gradients", (0, 2), parameters=parameters,
            batch_size=25,
        )  # fmt: skip
        return [e.values for e in found]

    whole, inside = run(), compiled._in_steps
    monkeypatch.setattr(compiled, "_FEWEST", 4)
    monkeypatch.setattr(compiled, "_AT_ONCE", 0)
    monkeypatch.setattr(compiled, "_in_steps", lambda *a: steps.append(a[3]) or inside(*a))
    for a, b in zip(whole, run(), strict=True):
        assert np.abs(a - b).max() < 1e-6 * np.abs(a).max()
    assert set(steps) == {4}


def test_a_sum_that_overflows_is_no_infinity():
    assert all_finite(np.full((2, 3), 3e38, np.float32))
    assert not all_finite(np.array([1.0, np.inf, -np.inf]))
    assert not all_finite(np.array([[0.0, np.nan]], np.float32))


def test_compiled_gradients_see_new_weights():
    net, x = keras_model(), inputs()
    model = wrap(net)
    before = explain(model, x, "integrated_gradients", steps=24, target=0).values
    net.layers[-1].set_weights([2 * w for w in net.layers[-1].get_weights()])
    after = explain(model, x, "integrated_gradients", steps=24, target=0).values
    np.testing.assert_allclose(after, 2 * before, rtol=1e-4, atol=1e-7)


def test_a_compiled_function_keeps_nothing_of_a_call():
    model, x = wrap(keras_model()), inputs()
    counted = CountedModel(model.adapter, peel=True)
    task = Task(model, model.accept(x), counted, seed=0, schedule=Schedule())
    task.set_target(Target(np.zeros(5, dtype=np.int64), None, None, ("a",) * 5))
    task.gradients_at(task.x, np.arange(5), many=True)
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None


# Frozen weights and layouts in torch


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "training"])
def test_weights_are_frozen_only_for_the_gradient(training, monkeypatch):
    torch = pytest.importorskip("torch")
    from pellucid.adapters.torch import adapter

    net, x = torch_model(training), np.moveaxis(inputs(), -1, 1).copy()
    before = {n: w.clone() for n, w in net.state_dict().items()}
    frozen = explain(net, x, "integrated_gradients", steps=24)

    class Nothing(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(adapter, "FrozenWeights", Nothing)
    plain = explain(net, x, "integrated_gradients", steps=24)
    np.testing.assert_allclose(frozen.values, plain.values, rtol=1e-5, atol=1e-7)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(w, before[n]) for n, w in net.state_dict().items())
    assert net.training == training


def test_no_input_is_kept_for_a_gradient_of_weights():
    """A plain pass keeps what goes into each layer with weights; a frozen one does not."""
    torch = pytest.importorskip("torch")
    from pellucid.adapters.torch.frozen import FrozenWeights

    net = torch.nn.Sequential(
        torch.nn.Linear(50, 50), torch.nn.BatchNorm1d(50), torch.nn.Linear(50, 50)
    ).eval()

    def kept(x: Any) -> int:
        """Numbers of whole batches that the graph of a pass holds, read off its nodes."""
        nodes, total = [net(x).grad_fn], 0
        for node in nodes:  # a chain: every node comes once
            nodes += [n for n, _ in node.next_functions if n is not None]
            for name in (n for n in dir(node) if n.startswith("_saved_")):
                held = getattr(node, name)
                if isinstance(held, torch.Tensor) and held.shape[:1] == x.shape[:1]:
                    total += held.numel()
        return total

    x = torch.randn(200, 50, requires_grad=True)
    assert kept(x) >= 3 * x.numel()
    with FrozenWeights():
        assert kept(x) == 0


def test_batch_normalisation_by_the_batch_s_own_statistics_is_left_alone():
    torch = pytest.importorskip("torch")
    from pellucid.adapters.torch.frozen import FrozenWeights

    own = torch.nn.BatchNorm1d(5, track_running_stats=False).eval()
    x = torch.randn(7, 5)
    with FrozenWeights():
        found = own(x)
    torch.testing.assert_close(found, own(x))


def test_channels_last_gives_the_same_numbers():
    pytest.importorskip("torch")
    model, x = wrap(torch_model()), np.moveaxis(inputs(), -1, 1).copy()
    assert model.adapter.layouts == ("channels last",)
    plain = explain(model, x, "integrated_gradients", steps=24)
    (key,) = (k for k in model.batch_sizes if k.endswith("gradient"))
    rates = {8: 0.1, 2: 9.0, 32: 9.0}
    forced = {(8, ""): 1.0} | {(n, "channels last"): rate for n, rate in rates.items()}
    model.batch_sizes[key] = Choice(forced, dict.fromkeys(forced, 2))
    last = explain(model, x, "integrated_gradients", steps=24)
    assert last.provenance["micro_batches"]["gradient"] == "8 rows, channels last"
    assert plain.provenance["micro_batches"]["gradient"].endswith("rows")
    scale = np.abs(plain.values).max()
    assert np.abs(last.values - plain.values).max() < 1e-5 * scale


# Memory that runs out, and memory that stays flat


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_out_of_memory_in_the_model_is_survived(framework):
    """Rows already summed are not summed twice, and none is left out."""
    if framework == "torch":
        torch = pytest.importorskip("torch")

        def function(a: Any) -> Any:
            if len(a) > limit[0]:
                raise torch.cuda.OutOfMemoryError
            return (a**3).sum(dim=1)

    else:
        tf = pytest.importorskip("tensorflow")

        def function(a: Any) -> Any:
            if not tf.executing_eagerly():
                raise RuntimeError("eager only")
            if len(a) > limit[0]:
                raise tf.errors.ResourceExhaustedError(None, None, "no memory left")
            return tf.reduce_sum(a**3, axis=1)

    x = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    limit = [10**9]
    model = wrap(function, framework=framework)
    whole = explain(model, x, "integrated_gradients", steps=20)
    limit[0] = 6
    tight = explain(model, x, "integrated_gradients", steps=20, batch_size=16)
    np.testing.assert_allclose(tight.values, whole.values, rtol=1e-5)
    np.testing.assert_allclose(tight.values, x**3, rtol=1e-5)


MAKE: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    "torch": lambda: (torch_model(), np.moveaxis(inputs(), -1, 1).copy()),
    "tensorflow": lambda: (keras_model(), inputs()),
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_two_hundred_calls_leave_memory_flat(framework):
    network, x = MAKE[framework]()
    model = wrap(network)

    def call() -> None:
        explain(model, x, "integrated_gradients", steps=13)

    for _ in range(40):
        call()
    gc.collect()
    before = psutil.Process().memory_info().rss
    for _ in range(200):
        call()
    gc.collect()
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    assert grown < 15, f"{grown:.1f} MiB in 200 calls"
