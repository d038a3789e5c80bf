"""Every method on every framework, with one set of weights, gives one set of numbers.

The reference is no framework's: paper-form methods over the float64 NumPy forward of
`pellucid.testing`. Allowed: 1e-5 of the map's maximum. A method is a line in METHODS, a framework
a line in STYLES_OF; `make agreement` draws what these tests find in docs/agreement.md.
"""

import functools

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.adapters.protocol import Tier
from pellucid.explanation import Explanation
from pellucid.inputs.baselines import make_baseline
from pellucid.inputs.layout import input_dims
from pellucid.methods.registry import method_class
from pellucid.testing import build, oracles, oracles_cam, reference_forward
from pellucid.testing.tiny_numpy import Pass, _mean_of_positions
from pellucid.testing.tiny_weights import weights_and_inputs
from pellucid.types import Evaluations

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
    "expected_gradients": {"samples": 4, "seed": 7},
    # Not from zeros: a constant picture ties all windows of a max-pool, and its path begins there.
    "guided_integrated_gradients": {"steps": 4, "baseline": "noise"},
    "occlusion": {"window": 3, "stride": 2},
}
ON_PICTURES = {"blur_integrated_gradients": {"steps": 5, "max_sigma": 2.0}}
"""Methods for which every model needs an input with spatial axes."""
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
    ("vit", "torch"): "block2.norm1",
    ("vit", "keras"): "block2_norm1",
    ("vit", "jax"): "block2_norm1",
    ("vit", "tensorlayer"): "block2_norm1",
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


def noise(leaf: np.ndarray) -> np.ndarray:
    """The reference input "noise", of inputs with their channels last."""
    return make_baseline("noise", leaf, input_dims(leaf.ndim, -1), seed=0)


@functools.cache
def reference(name: str, method: str) -> tuple[np.ndarray, ...]:
    """The paper-form attribution of each sample for its predicted class, channels last."""
    options = dict((METHODS | ON_PICTURES)[method])
    named = options.pop("baseline", None)
    starts = [] if named is None else [noise(leaf) for leaf in leaves_of(name)]
    found = []
    for i, target in enumerate(targets(name)):

        def score(*rows: np.ndarray, target=target) -> np.ndarray:
            return reference_forward(name, rows, logits=True)[:, target]

        sample = [leaf[i].astype(np.float64) for leaf in leaves_of(name)]
        oracle = oracles.gradient if method == "saliency" else getattr(oracles, method)
        if starts:
            options["start"] = [leaf[i] for leaf in starts]
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
    EVALUATIONS[method, name, framework, style] = e.evaluations
    found = cell(method, framework, difference(channels_last(e), reference(name, method)))
    assert found < OF_MAXIMUM


EVALUATIONS: dict[tuple[str, str, str, str], Evaluations] = {}
"""What was counted above, so that it need not all be explained again to be compared."""


def evaluations_of(method: str, name: str, framework: str, style: str) -> Evaluations:
    key = (method, name, framework, style)
    if key not in EVALUATIONS:
        model, x = made(name, framework, style)
        EVALUATIONS[key] = explain(model, x, method, **METHODS[method]).evaluations
    return EVALUATIONS[key]


def has_pictures(name: str) -> bool:
    return any(leaf.ndim == 4 for leaf in leaves_of(name))


@pytest.mark.parametrize(
    ("name", "framework", "style"), [c for c in columns() if has_pictures(c[0])]
)
@pytest.mark.parametrize("method", list(ON_PICTURES))
def test_methods_on_pictures_agree_with_the_paper_form(method, name, framework, style, cell):
    model, x = made(name, framework, style)
    e = explain(model, x, method, **ON_PICTURES[method])
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
    for method in CONTROLS:
        one = explain(model, x, method)
        other = explain(logits_of(name), build(name, "numpy")[1], method)
        found = difference(channels_last(one), tuple(channels_last(other)))
        assert cell(method, framework, found) < OF_MAXIMUM
        assert one.evaluations == other.evaluations
    for method in METHODS:
        assert evaluations_of(method, name, framework, style) == evaluations_of(
            method, name, "torch", ""
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
    if name == "vit":
        return patches_and_head(run, x)
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


def patches_and_head(run: Pass, x: np.ndarray):
    """What the first norm of the last block makes of the patches, as a grid, and the rest."""
    tokens = run.patches(x, "patch")
    first = np.broadcast_to(run.weights["class_token/value"], (len(x), 1, tokens.shape[2]))
    tokens = np.concatenate([first, tokens], axis=1) + run.weights["position/value"]

    def perceptron(tokens: np.ndarray, block: str) -> np.ndarray:
        hidden = run.gelu(run.dense(run.layer_norm(tokens, f"{block}_norm2"), f"{block}_mlp1"))
        return tokens + run.dense(hidden, f"{block}_mlp2")

    tokens += run.attention(run.layer_norm(tokens, "block1_norm1"), "block1")
    skip = perceptron(tokens, "block1")
    normed = run.layer_norm(skip, "block2_norm1")

    def head(a: np.ndarray, i: int) -> np.ndarray:
        given = np.broadcast_to(normed[i], (len(a), *normed.shape[1:])).copy()
        given[:, 1:] = a.reshape(len(a), 12, -1)
        last = perceptron(skip[i] + run.attention(given, "block2"), "block2")
        return run.dense(run.layer_norm(last, "norm")[:, 0], "head")

    return normed[:, 1:].reshape(len(x), 4, 3, -1), head


CAMS = (
    "gradcam", "gradcam_plus_plus", "hirescam", "xgradcam", "layercam", "eigencam", "scorecam",
    "ablationcam",
)  # fmt: skip
BY_GRADIENT = {"gradcam", "gradcam_plus_plus", "hirescam", "xgradcam", "layercam"}


@functools.cache
def cam_reference(
    method: str, name: str, framework: str, relu: bool = True, draw: int = 0
) -> np.ndarray:
    """The paper-form map of each sample for its predicted class; a `draw` moves the activation."""
    feature, head = activation_and_head(name, framework)
    if draw:
        noise = np.random.default_rng(draw).uniform(-1, 1, feature.shape)
        feature = feature + 1e-6 * np.abs(feature).max() * noise
    images, maps = leaves_of(name)[0].astype(np.float64), []
    for i, t in enumerate(targets(name)):
        if method == "scorecam":

            def score(rows: np.ndarray, t=t) -> np.ndarray:
                return reference_forward(name, (rows,), logits=True)[:, t]

            baseline = float(score(np.zeros_like(images[:1]))[0])
            grid = oracles_cam.scorecam(feature[i], score, images[i], baseline)
        else:
            oracle = getattr(oracles_cam, method)
            grid = oracle(feature[i], lambda a, i=i, t=t: head(a, i)[:, t])
        grid = np.maximum(grid, 0) if relu else grid
        maps.append(oracles_cam.enlarged(grid, images.shape[1:3]))
    return np.stack(maps)


def cam_evaluations(method: str, name: str, framework: str) -> tuple[int, int, int]:
    """What a CAM costs for five samples: the formula of its docstring."""
    feature = activation_and_head(name, framework)[0]
    channels = feature.shape[-1]
    if method in BY_GRADIENT:
        return 5, 5, 5
    if method == "ablationcam":
        affine = name == "cnn" or (name == "depthwise" and framework in ("keras", "tensorlayer"))
        return (5, 5, 5) if affine else (5, 0, 5 * channels)
    varied = int((np.ptp(feature, axis=(1, 2)) > 0).sum())
    return 5 + (varied if method == "scorecam" else 0), 0, 0


def cam_allowed(method: str, name: str, framework: str) -> float:
    """1e-5 of the maximum; where a sum of activations cancels, what the paper form itself moves by.

    XGrad-CAM divides by Σ_p A_kp and Grad-CAM++ by 2 + g Σ_p A_kp. Where activations have both
    signs these may be hundreds of times smaller than their terms, and no two ways to compute in
    float32 agree to 1e-5. So the paper form is asked how far it moves when the layer's output
    moves by 1e-6 of its maximum.
    """
    if method not in {"xgradcam", "gradcam_plus_plus"}:
        return OF_MAXIMUM
    expected = cam_reference(method, name, framework, False)
    moved = [cam_reference(method, name, framework, False, draw) for draw in range(1, 6)]
    return max(OF_MAXIMUM, *(difference([m], (expected,)) for m in moved))


def cam_layer(model, x, name: str, framework: str, style: str) -> str:
    if style == "sequential":
        return "relu2"
    layer = CAM_LAYERS[name, framework]
    if style == "nested":
        return next(c.path for c in wrap(model).layers(x) if c.path.endswith(layer))
    return layer


@pytest.mark.parametrize(
    ("name", "framework", "style"),
    [c for c in columns() if (c[0], c[1]) in CAM_LAYERS and c[0] != "vit"],
)
def test_what_a_layer_returns_is_what_it_computes(name, framework, style, cell):
    model, x = made(name, framework, style)
    e = explain(model, x, "activations", layer=cam_layer(model, x, name, framework, style))
    expected = activation_and_head(name, framework)[0]
    assert cell("activations", framework, difference(channels_last(e), (expected,))) < OF_MAXIMUM


@pytest.mark.parametrize(
    ("name", "framework", "style"),
    [c for c in columns() if (c[0], c[1]) in CAM_LAYERS and c[0] != "vit"],
)
@pytest.mark.parametrize("method", CAMS)
def test_class_activation_maps_agree_with_the_paper_form(method, name, framework, style, cell):
    model, x = made(name, framework, style)
    layer = cam_layer(model, x, name, framework, style)
    for relu in (True, False):
        e = explain(model, x, method, layer=layer, relu=relu)
        expected = cam_reference(method, name, framework, relu)
        found = difference([e.values], (expected,))
        assert cell(method, framework, found) < cam_allowed(method, name, framework)
        assert e.evaluations == cam_evaluations(method, name, framework)


@pytest.mark.parametrize(
    ("framework", "style"),
    [(c[1], c[2]) for c in columns() if c[0] == "vit" and ("vit", c[1]) in CAM_LAYERS],
)
@pytest.mark.parametrize("method", CAMS)
def test_the_tokens_of_a_transformer_are_laid_out_by_themselves(method, framework, style, cell):
    model, x = made("vit", framework, style)
    model = wrap(model)
    chosen = explain(model, x, method, relu=False)
    assert chosen.parameters["layer"] == CAM_LAYERS["vit", framework]
    assert (chosen.parameters["grid"], chosen.parameters["tokens_before"]) == ((4, 3), 1)
    expected = cam_reference(method, "vit", framework, relu=False)
    found = difference([chosen.values], (expected,))
    assert cell(method, framework, found) < cam_allowed(method, "vit", framework)
    again = explain(model, x, method, relu=False, layer=chosen.parameters["layer"])
    assert np.array_equal(again.values, chosen.values)
    said = explain(model, x, method, **chosen.parameters)
    assert np.array_equal(said.values, chosen.values)
    assert said.evaluations == cam_evaluations(method, "vit", framework)


@pytest.mark.parametrize("style", STYLES)
def test_the_layer_is_chosen_alike_in_every_keras_style(style):
    model, x = build("cnn", "keras", style=style)
    chosen = explain(model, x, "gradcam")
    expected = cam_reference("gradcam", "cnn", "keras")
    assert difference([chosen.values], (expected,)) < OF_MAXIMUM
