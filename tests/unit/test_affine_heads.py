"""Ablation-CAM by one gradient where the layers above are affine, and only there.

The brute force, every channel set to 0 in a run of the layers above, is what it is held against.
"""

from typing import Any

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.counting import CountedCut

FRAMEWORKS = ("torch", "keras", "jax")
AFFINE = ("average", "flatten", "residual", "convolution and norm", "scaled")
OTHER = ("max", "relu", "product", "softmax weights", "standardised")


def inputs(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 6, 5, 3)).astype(np.float32)


def torch_model(head: str) -> tuple[Any, str, np.ndarray]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    F = torch.nn.functional

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below = torch.nn.Conv2d(3, 4, 1)
            self.features = torch.nn.Sequential(
                torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Tanh()
            )
            self.dropout = torch.nn.Dropout(0.5)
            self.conv = torch.nn.Conv2d(4, 4, 3)
            self.norm = torch.nn.BatchNorm2d(4)
            self.norm.running_mean.normal_()
            self.linear = torch.nn.Linear(120 if head == "flatten" else 4, 3)

        def forward(self, x: Any) -> Any:
            below = self.below(x)
            a = self.features(below)
            if head == "flatten":
                a = self.dropout(a).flatten(1)
            elif head == "average":
                a = F.adaptive_avg_pool2d(a, 1)[:, :, 0, 0]
            elif head == "residual":
                a = (a + below + 1).mean((2, 3))
            elif head == "convolution and norm":
                a = F.avg_pool2d(self.norm(self.conv(a)), 2).mean((2, 3))
            elif head == "scaled":
                a = (a * below.sigmoid() / 3).mean((2, 3))
            elif head == "max":
                a = a.amax((2, 3))
            elif head == "relu":
                a = F.relu_(a.mean((2, 3)) + below.mean((2, 3)))
            elif head == "product":
                a = (a * a).mean((2, 3))
            elif head == "softmax weights":
                a = (a * a.flatten(2).softmax(2).reshape(a.shape)).sum((2, 3))
            elif head == "standardised":
                a = (a - a.mean((2, 3), keepdim=True)).mean((2, 3)) / a.std((1, 2, 3))[:, None]
            elif head == "seen by Python":
                a = a.mean((2, 3)) * (2 if a.sum() > -1e9 else 1)
            elif head == "copied by NumPy":
                a = a.mean((2, 3)) + torch.from_numpy(a.detach().numpy() ** 2).mean((2, 3))
            elif head == "custom function":
                a = a.mean((2, 3)) + Squares.apply(a).mean((2, 3))
            elif head == "written to":
                a[:, 1:2].relu_()
                a = a.mean((2, 3))
            elif head == "written elsewhere":
                held = torch.zeros_like(a)
                held[:, :2] = a[:, :2] ** 2
                a = (a + held).mean((2, 3))
            else:
                raise KeyError(head)
            return self.linear(a)

    class Squares(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:  # type: ignore[override]
            ctx.save_for_backward(a)
            return a**2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:  # type: ignore[override]
            return 2 * g * ctx.saved_tensors[0]

    return Net().eval(), "features", np.moveaxis(inputs(), -1, 1).copy()


def keras_model(head: str) -> tuple[Any, str, np.ndarray]:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend in this process")
    keras.utils.set_random_seed(0)
    L, ops = keras.layers, keras.ops
    x = keras.Input((6, 5, 3))
    below = L.Conv2D(4, 1)(x)
    a = L.Conv2D(4, 3, padding="same", activation="tanh", name="features")(below)
    mean = L.GlobalAveragePooling2D()
    made = {
        "average": lambda: mean(a),
        "flatten": lambda: L.Flatten()(L.Dropout(0.5)(a)),
        "residual": lambda: mean(L.Add()([a, below])),
        "convolution and norm": lambda: mean(L.AveragePooling2D(2)(
            L.BatchNormalization(moving_mean_initializer="random_normal")(L.Conv2D(4, 3)(a)))),
        "scaled": lambda: mean(a * ops.sigmoid(below) / 3),
        "max": lambda: L.GlobalMaxPooling2D()(a),
        "relu": lambda: ops.relu(mean(a) + mean(below)),
        "product": lambda: mean(a * a),
        "softmax weights": lambda: ops.sum(a * ops.softmax(a, axis=1), axis=(1, 2)),
        "standardised": lambda: mean(a - ops.mean(a, axis=(1, 2), keepdims=True)) / ops.std(
            a, axis=(1, 2, 3))[:, None],
    }[head]()  # fmt: skip
    return keras.Model(x, L.Dense(3)(made)), "features", inputs()


def jax_model(head: str) -> tuple[Any, str, np.ndarray]:
    jax = pytest.importorskip("jax")
    nnx = pytest.importorskip("flax.nnx")
    jnp = jax.numpy

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.below = nnx.Conv(3, 4, (1, 1), rngs=rngs)
            self.features = nnx.Conv(4, 4, (3, 3), rngs=rngs)
            self.conv = nnx.Conv(4, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
            self.linear = nnx.Linear(120 if head == "flatten" else 4, 3, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            below = self.below(x)
            a = self.features(jnp.tanh(below))
            mean = lambda z: z.mean(axis=(1, 2))  # noqa: E731
            made = {
                "average": lambda: mean(a),
                "flatten": lambda: a.reshape(len(a), -1),
                "residual": lambda: mean(a + below + 1),
                "convolution and norm": lambda: mean(self.norm(self.conv(a))),
                "scaled": lambda: mean(a * jax.nn.sigmoid(below) / 3),
                "max": lambda: a.max(axis=(1, 2)),
                "relu": lambda: jax.nn.relu(mean(a) + mean(below)),
                "product": lambda: mean(a * a),
                "softmax weights": lambda: (a * jax.nn.softmax(a, axis=(1, 2))).sum(axis=(1, 2)),
                "standardised": lambda: (
                    mean(a - mean(a)[:, None, None]) / a.std(axis=(1, 2, 3))[:, None]
                ),
            }
            return self.linear(made[head]())

    return Net(nnx.Rngs(0)), "features", inputs()


MAKE = {"torch": torch_model, "keras": keras_model, "jax": jax_model}


def both(
    made: tuple[Any, str, np.ndarray], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Any, Any]:
    """As it is done, and by brute force."""
    net, layer, x = made
    model, options = wrap(net, **options.pop("wrap", {})), {"target": 1, "relu": False} | options
    found = explain(model, x, "ablationcam", layer=layer, **options)
    with monkeypatch.context() as changed:
        changed.setattr(CountedCut, "affine", False)
        brute = explain(model, x, "ablationcam", layer=layer, **options)
    assert brute.evaluations == (3, 0, 12), "4 channels of 3 images"
    return found, brute


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("head", AFFINE)
def test_an_affine_head_is_pulled_back_once_for_all_channels(framework, head, monkeypatch):
    found, brute = both(MAKE[framework](head), monkeypatch)
    assert found.evaluations == (3, 3, 3)
    for name in ("weights", "grid"):
        size = np.abs(brute.extras[name]).max()
        assert np.abs(found.extras[name] - brute.extras[name]).max() < 1e-5 * size


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("head", OTHER)
def test_any_other_head_is_run_for_every_channel(framework, head, monkeypatch):
    found, brute = both(MAKE[framework](head), monkeypatch)
    assert found.evaluations == brute.evaluations
    np.testing.assert_allclose(found.extras["weights"], brute.extras["weights"], atol=1e-6)


@pytest.mark.parametrize(
    "head",
    ["seen by Python", "copied by NumPy", "custom function", "written to", "written elsewhere"],
)
def test_what_torch_does_unseen_proves_nothing(head, monkeypatch):
    found, brute = both(torch_model(head), monkeypatch)
    assert found.evaluations == brute.evaluations


def test_the_score_has_to_be_affine_too(monkeypatch):
    made = torch_model("average")
    squared, brute = both(made, monkeypatch, target=lambda outputs: outputs[:, 1] ** 2)
    assert squared.evaluations == brute.evaluations
    pair, _ = both(made, monkeypatch, target=(1, 2))
    assert pair.evaluations == (3, 3, 3)
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(made[0], torch.nn.Softmax(1)).eval()
    logit, _ = both((net, "0.features", made[2]), monkeypatch)
    assert logit.evaluations == (3, 3, 3), "the softmax is taken off"
    probability, brute = both(
        (net, "0.features", made[2]), monkeypatch, wrap={"output": "probability"}
    )
    assert probability.evaluations == brute.evaluations
