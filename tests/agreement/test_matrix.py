"""Every method on every framework, with one set of weights, gives one set of numbers.

The reference is no framework's: paper-form methods over the float64 NumPy forward of
`pellucid.testing`. Allowed: 1e-5 of the map's maximum. A method is a line in METHODS, a framework
a line in STYLES_OF; `make agreement` draws what these tests find in docs/agreement.md.
"""

import functools

import numpy as np
import pytest

from pellucid import explain
from pellucid.adapters.protocol import Tier
from pellucid.explanation import Explanation
from pellucid.methods.registry import method_class
from pellucid.testing import build, oracles, reference_forward
from pellucid.testing.tiny_numpy import Pass, _mean_of_positions
from pellucid.testing.tiny_weights import weights_and_inputs

OF_MAXIMUM = 1e-5
MODELS = (
    "dense", "dense_softmax", "sigmoid", "cnn", "cnn_functional", "residual", "depthwise", "shared",
    "two_inputs", "vit",
)  # fmt: skip
STYLES = ("functional", "sequential", "nested", "subclassed", "reloaded")
IN_ALL_STYLES = {"dense", "dense_softmax", "cnn"}
STYLES_OF = {  # framework: the ways it builds a model
    "torch": lambda name: ("",),
    "tensorflow": lambda name: ("",),
    "jax": lambda name: ("",),
    "keras": lambda name: STYLES if name in IN_ALL_STYLES else ("functional", "reloaded"),
    "tensorlayer": lambda name: ("static", "dynamic", "nested")[: 3 if name in NESTED else 2],
}
NESTED = {"dense", "dense_softmax", "cnn", "shared"}
"""The models that TensorLayer builds with a model inside a model as well."""
METHODS = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 6},
    "smoothgrad": {"samples": 3, "noise": 0.02, "seed": 7},
    "squaregrad": {"samples": 3, "noise": 0.02, "seed": 7},
    "vargrad": {"samples": 6, "noise": 0.3, "seed": 7},
    "occlusion": {"window": 3, "stride": 2},
}
CONTROLS = ("random", "edges", "constant")
CAM_LAYERS = {  # one path a model, as the framework prints it
    ("cnn", "torch"): "relu#2",
    ("cnn", "keras"): "relu#2",
    ("cnn", "jax"): "relu#2",
    ("residual", "torch"): "conv2",
    ("residual", "keras"): "conv2",
    ("residual", "jax"): "conv2",
    ("depthwise", "torch"): "pointwise",
    ("depthwise", "jax"): "pointwise",
    ("depthwise", "keras"): "pointwise",
    ("cnn", "tensorlayer"): "relu#2",
    ("residual", "tensorlayer"): "conv2",
    ("depthwise", "tensorlayer"): "pointwise",
}


def columns() -> list:
    """(model, framework, style): every way each tiny model is built."""
    return [
        (name, framework, style)
        for name in MODELS
        for framework, styles in STYLES_OF.items()
        for style in styles(name)
    ]


def made(name: str, framework: str, style: str):
    return build(name, framework, style=style) if style else build(name, framework)


def leaves_of(name: str) -> tuple[np.ndarray, ...]:
    x = build(name, "numpy")[1]
    return x if isinstance(x, tuple) else (x,)


def targets(name: str) -> np.ndarray:
    return reference_forward(name, leaves_of(name), logits=True).argmax(axis=1)


@functools.cache
def reference(name: str, method: str) -> tuple[np.ndarray, ...]:
    """The paper-form attribution of each sample for its predicted class, channels last."""
    options = dict(METHODS[method])
    found = []
    for i, target in enumerate(targets(name)):

        def score(*rows: np.ndarray, target=target) -> np.ndarray:
            return reference_forward(name, rows, logits=True)[:, target]

        sample = [leaf[i].astype(np.float64) for leaf in leaves_of(name)]
        oracle = oracles.gradient if method == "saliency" else getattr(oracles, method)
        found.append(oracle(score, sample, **options))
    return tuple(np.stack(column) for column in zip(*found, strict=True))


def channels_last(e: Explanation) -> list[np.ndarray]:
    maps = []
    for part in e.parts:
        axis = part.dims.index("channel") if "channel" in part.dims else -1
        maps.append(np.moveaxis(part.values, axis, -1) if axis > 0 else part.values)
    return maps


def difference(found: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> float:
    """The largest difference, in units of the map's maximum over all its inputs."""
    scale = max(np.abs(e).max() for e in expected)
    return max(float(np.abs(f - e).max() / scale) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize(("name", "framework", "style"), columns())
@pytest.mark.parametrize("method", list(METHODS))
def test_methods_agree_with_the_paper_form(method, name, framework, style, cell):
    model, x = made(name, framework, style)
    e = explain(model, x, method, **METHODS[method])
    found = cell(method, framework, difference(channels_last(e), reference(name, method)))
    assert found < OF_MAXIMUM


def logits_of(name: str):
    """The float64 model as a plain function; it has no final activation to take off."""

    def function(*leaves: np.ndarray) -> np.ndarray:
        return reference_forward(name, leaves, logits=True)

    return function


@pytest.mark.parametrize(("name", "framework", "style"), columns())
def test_controls_and_evaluations_are_the_same_everywhere(name, framework, style, cell):
    model, x = made(name, framework, style)
    base, base_x = build(name, "torch")
    for method in CONTROLS:
        one = explain(model, x, method)
        other = explain(logits_of(name), build(name, "numpy")[1], method)
        found = difference(channels_last(one), tuple(channels_last(other)))
        assert cell(method, framework, found) < OF_MAXIMUM
        assert one.evaluations == other.evaluations
    for method, options in METHODS.items():
        assert (
            explain(model, x, method, **options).evaluations
            == explain(base, base_x, method, **options).evaluations
        )


WITHOUT_GRADIENT = [m for m in METHODS if method_class(m).needs == Tier.CALLABLE]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", WITHOUT_GRADIENT)
def test_a_plain_callable_agrees_where_no_gradient_is_needed(method, name, cell):
    e = explain(logits_of(name), build(name, "numpy")[1], method, **METHODS[method])
    found = difference(channels_last(e), reference(name, method))
    assert cell(method, "callable", found) < OF_MAXIMUM


@pytest.mark.parametrize("name", MODELS)
def test_controls_on_a_plain_callable_are_those_of_torch(name, cell):
    model, x = build(name, "torch")
    for method in CONTROLS:
        e = explain(logits_of(name), build(name, "numpy")[1], method)
        found = difference(channels_last(e), tuple(channels_last(explain(model, x, method))))
        assert cell(method, "callable", found) < OF_MAXIMUM


def activation_and_head(name: str, framework: str):
    """In NumPy float64: the feature map of CAM_LAYERS and the logits above it."""
    run = Pass(weights_and_inputs(name, 0)[0])
    x = leaves_of(name)[0].astype(np.float64)
    if name == "cnn":
        feature = run.relu(run.conv(run.max_pool(run.relu(run.conv(x, "conv1"))), "conv2"))
        return feature, lambda a, i: run.dense(_mean_of_positions(a), "head")
    if name == "depthwise":
        feature = run.conv(run.relu(run.depthwise(x, "depthwise")), "pointwise")
        if framework in ("keras", "tensorlayer"):  # the layer holds its activation there
            feature = np.maximum(feature, 0)
            return feature, lambda a, i: run.dense(_mean_of_positions(a), "head")
        return feature, lambda a, i: run.dense(_mean_of_positions(np.maximum(a, 0)), "head")
    skip = run.relu(run.batch_norm(run.conv(x, "conv1"), "norm1"))
    feature = run.conv(skip, "conv2")

    def head(a: np.ndarray, i: int) -> np.ndarray:
        joined = np.maximum(skip[i] + run.batch_norm(a, "norm2"), 0)
        return run.dense(_mean_of_positions(joined), "head")

    return feature, head


@functools.cache
def gradcam_reference(name: str, framework: str) -> np.ndarray:
    feature, head = activation_and_head(name, framework)
    size = leaves_of(name)[0].shape[1:3]
    maps = [
        oracles.gradcam(feature[i], lambda a, i=i, t=t: head(a, i)[:, t], size)
        for i, t in enumerate(targets(name))
    ]
    return np.stack(maps)


@pytest.mark.parametrize(
    ("name", "framework", "style"), [c for c in columns() if (c[0], c[1]) in CAM_LAYERS]
)
def test_gradcam_agrees_with_the_paper_form(name, framework, style, cell):
    model, x = made(name, framework, style)
    layer = CAM_LAYERS[name, framework]
    if style == "sequential":
        layer = "relu2"
    if style == "nested":
        layer = next(c.path for c in explain_layers(model, x) if c.path.endswith("relu#2"))
    e = explain(model, x, "gradcam", layer=layer)
    found = difference([e.values], (gradcam_reference(name, framework),))
    assert cell("gradcam", framework, found) < OF_MAXIMUM
    assert e.evaluations == (5, 5, 5)


def explain_layers(model, x):
    from pellucid import wrap

    return wrap(model).layers(x)


@pytest.mark.parametrize("style", STYLES)
def test_the_layer_is_chosen_alike_in_every_keras_style(style):
    model, x = build("cnn", "keras", style=style)
    chosen = explain(model, x, "gradcam")
    assert difference([chosen.values], (gradcam_reference("cnn", "keras"),)) < OF_MAXIMUM
