"""The methods' own parameters, and their numbers against loops that are slow and plain."""

from itertools import product

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.adapters.derived import layer_gradient
from pellucid.adapters.torch import TorchAdapter
from pellucid.arrays import blur, resize
from pellucid.errors import CapabilityError, InputError, LayerError, MethodError
from pellucid.explain import explain_each
from pellucid.testing import build

RNG_X = np.random.default_rng(11)
IMAGES = RNG_X.normal(size=(2, 9, 7, 2)).astype(np.float32)
SERIES = RNG_X.normal(size=(2, 11, 3)).astype(np.float32)
ROWS = RNG_X.normal(size=(3, 5)).astype(np.float32)


def wavy(*leaves: np.ndarray) -> np.ndarray:
    """A score that is not linear, so that windows interact, `(m, 2)`."""
    total = sum(np.tanh(a.reshape(len(a), -1) @ _weights(a.size // len(a))) for a in leaves)
    return np.stack([total, total**2], axis=1)


def _weights(size: int) -> np.ndarray:
    return np.random.default_rng(size).normal(size=size) / np.sqrt(size)


# Occlusion


def slow_occlusion(leaves, window, stride, baseline=0.0, target=0):
    """One window at a time, from the definition; every spatial axis has its own size."""
    found = []
    for index, leaf in enumerate(leaves):
        axes = range(1, leaf.ndim - 1) if leaf.ndim > 2 else range(1, 2)
        starts = []
        for size, step, axis in zip(window, stride, axes, strict=False):
            last = leaf.shape[axis] - size
            firsts = list(range(0, last + 1, step))
            starts.append(firsts if firsts[-1] == last else [*firsts, last])
        total, count = np.zeros(leaf.shape), np.zeros(leaf.shape)
        for sample in range(len(leaf)):
            given = [a[sample : sample + 1] for a in leaves]
            whole = wavy(*given)[0, target]
            for corner in product(*starts):
                box = tuple(slice(c, c + s) for c, s in zip(corner, window, strict=False))
                covered = given[index].copy()
                covered[(0, *box)] = baseline
                changed = [covered if k == index else a for k, a in enumerate(given)]
                drop = whole - wavy(*changed)[0, target]
                for place in product(*(range(b.start, b.stop) for b in box)):
                    total[(sample, *place)] += drop
                    count[(sample, *place)] += 1
        assert (count > 0).all()
        found.append(total / count)
    return found


@pytest.mark.parametrize(
    ("window", "stride"),
    [
        ((3, 3), (3, 3)),
        ((3, 3), (2, 2)),  # overlapping, flush with neither border by itself
        ((4, 2), (3, 1)),
        ((9, 7), (9, 7)),  # one window, all of it
        ((9, 1), (1, 1)),
        ((1, 1), (1, 1)),
        ((5, 4), (2, 4)),
    ],
)
@pytest.mark.parametrize("baseline", [0.0, 0.75])
def test_occlusion_of_images(window, stride, baseline):
    expected = slow_occlusion([IMAGES], window, stride, baseline)[0]
    e = explain(
        wavy, IMAGES, "occlusion", window=window, stride=list(stride), baseline=baseline, target=0
    )
    np.testing.assert_allclose(e.values, expected, atol=1e-5)


def test_occlusion_in_micro_batches_across_samples():
    expected = slow_occlusion([IMAGES], (4, 4), (3, 3), target=1)[0]
    for size in (1, 5, 1000):
        e = explain(wavy, IMAGES, "occlusion", window=4, stride=3, target=1, batch_size=size)
        np.testing.assert_allclose(e.values, expected, atol=1e-5)
        windows = 3 * 2
        assert e.evaluations == (2 + 2 * windows + 1, 0, 0)
        assert e.extras["windows"] == windows


def test_occlusion_channels_first():
    model = wrap(
        lambda a: torch.from_numpy(wavy(a.detach().permute(0, 2, 3, 1).numpy())),
        framework="torch",
    )
    x = np.moveaxis(IMAGES, -1, 1).copy()
    e = explain(model, x, "occlusion", window=(4, 2), stride=(3, 2), target=0)
    expected = slow_occlusion([IMAGES], (4, 2), (3, 2))[0]
    np.testing.assert_allclose(np.moveaxis(e.values, 1, -1), expected, atol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (4, 3), (11, 11), (2, 2)])
def test_occlusion_of_a_series(window, stride):
    expected = slow_occlusion([SERIES], (window,), (stride,))[0]
    e = explain(wavy, SERIES, "occlusion", window=window, stride=stride, target=0)
    np.testing.assert_allclose(e.values, expected, atol=1e-5)


@pytest.mark.parametrize("target", [0, 1])
def test_occlusion_of_a_table_is_column_by_column(target):
    e = explain(wavy, ROWS, "occlusion", target=target)
    np.testing.assert_allclose(
        e.values, slow_occlusion([ROWS], (1,), (1,), target=target)[0], atol=1e-5
    )
    e = explain(wavy, ROWS, "occlusion", target=target, window=3, stride=2)
    np.testing.assert_allclose(
        e.values, slow_occlusion([ROWS], (3,), (2,), target=target)[0], atol=1e-5
    )


def test_occlusion_of_two_inputs_covers_one_at_a_time():
    leaves = (IMAGES[..., :1].repeat(2, axis=-1), IMAGES[..., 1:])
    e = explain(wavy, leaves, "occlusion", window=3, stride=3, target=0)
    for found, expected in zip(e.values, slow_occlusion(list(leaves), (3, 3), (3, 3)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_occlusion_by_default_takes_a_seventh_of_the_longer_side():
    x = np.ones((1, 28, 21, 1), dtype=np.float32)
    e = explain(lambda a: a.sum(axis=(1, 2, 3)), x, "occlusion")
    per_axis = [(28 - 4) // 2 + 1, (21 - 4) // 2 + 1 + 1]  # windows of 4, half overlapping, flush
    assert e.extras["windows"] == per_axis[0] * per_axis[1]
    np.testing.assert_allclose(e.values, 16)
    tiny = explain(lambda a: a.sum(axis=(1, 2, 3)), x[:, :1, :1], "occlusion")
    np.testing.assert_allclose(tiny.values, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": 10}, r"1 ≤ stride ≤ window ≤ 9 along height, got window 10"),
        ({"window": (9, 8)}, "≤ 7 along width"),
        ({"window": 0}, "got window 0"),
        ({"window": -2}, "got window -2"),
        ({"window": 2, "stride": 3}, "got window 2, stride 3"),
        ({"window": 2, "stride": 0}, "stride 0"),
        ({"window": (3, 3, 3)}, r"2 of them, got \(3, 3, 3\)"),
        ({"window": "3"}, "got '3'"),
        ({"stride": (1, 1.5)}, "got"),
        ({"budget": 5}, r"63 windows need 65 evaluations a sample, the budget is 5"),
        ({"budget": 2.5}, "budget to be a whole number, got 2.5"),
        ({"budget": "all"}, "budget to be a whole number"),
        ({"layer": "conv"}, "takes no parameter 'layer'"),
        ({"tolerance": 0.1}, "takes no tolerance: nothing is drawn"),
        ({"features": "superpixels"}, "takes no parameter 'features'"),
        ({"windows": 3}, "'window'"),
    ],
    ids=str,
)
def test_parameters_of_occlusion(parameters, message):
    given = {"window": 1, "stride": 1} if "budget" in parameters else {}
    with pytest.raises(InputError, match=message):
        explain(wavy, IMAGES, "occlusion", target=0, **given, **parameters)


def test_the_budget_of_occlusion_is_held():
    e = explain(wavy, IMAGES, "occlusion", window=3, stride=3, target=0, budget=11)
    shared = 1  # f(x'), which all samples have in common
    assert e.evaluations.forward - shared <= 10 * len(IMAGES)
    assert e.extras["windows"] == 9
    with pytest.raises(MethodError, match=r"11 evaluations.*budget is 10"):
        explain(wavy, IMAGES, "occlusion", window=3, stride=3, target=0, budget=10)


# SmoothGrad


def test_smoothgrad_is_the_mean_of_these_draws():
    """The draws by seed, input and number; noise in units of each sample's own range."""
    net, x = build("dense", "torch")
    e = explain(net, x, "smoothgrad", samples=6, noise=0.3, seed=5, target=1, batch_size=4)
    grads = np.empty((6, *x.shape))
    for j in range(6):
        draw = np.random.default_rng([5, 2, 0, j]).standard_normal(x.shape[1:], dtype=np.float32)
        moved = x + 0.3 * (x.max(1) - x.min(1))[:, None] * draw
        tensor = torch.tensor(moved, requires_grad=True)
        net(tensor)[:, 1].sum().backward()
        grads[j] = tensor.grad
    np.testing.assert_allclose(e.values, grads.mean(0), rtol=1e-5, atol=1e-6)
    error = grads.std(axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(e.stderr, error, rtol=1e-3, atol=1e-6)


def test_smoothgrad_of_nothing_but_the_gradient():
    net, x = build("dense", "torch")
    e = explain(net, x, "smoothgrad", samples=3, noise=0, target=1)
    np.testing.assert_allclose(e.values, explain(net, x, "saliency", target=1).values, rtol=1e-5)
    np.testing.assert_allclose(e.stderr, 0, atol=1e-3 * np.abs(e.values).max())


def test_two_inputs_have_draws_of_their_own():
    model = wrap(lambda a, b: (a * a).sum(1) + (b * b).sum(1), framework="torch")
    x = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
    e = explain(model, (x, x), "smoothgrad", samples=4)
    assert not np.allclose(e.values[0], e.values[1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"samples": 1}, "at least 2 samples, got 1"),
        ({"samples": 0}, "at least 2"),
        ({"samples": -5}, "at least 2"),
        ({"samples": 2.5}, "samples to be a whole number, got 2.5"),
        ({"samples": 10.0}, "whole number"),
        ({"samples": True}, "whole number, got True"),
        ({"samples": "many"}, "whole number, got 'many'"),
        ({"samples": None}, "whole number, got None"),
        ({"noise": -0.1}, "noise of 0 or more"),
        ({"noise": float("nan")}, "noise of 0 or more"),
        ({"noise": float("inf")}, "noise of 0 or more"),
        ({"noise": "0.1"}, "noise to be a number"),
        ({"noise": [0.1]}, "noise to be a number"),
        ({"budget": 2}, "budget of 3"),
        ({"baseline": 0}, "takes no parameter 'baseline'"),
        ({"sigma": 0.1}, "takes no parameter 'sigma'"),
        ({"sample": 3}, "'samples'"),
    ],
    ids=str,
)
def test_parameters_of_smoothgrad(parameters, message):
    with pytest.raises(MethodError, match=message):
        explain(*build("dense", "torch"), "smoothgrad", **parameters)


def test_the_budget_of_smoothgrad_caps_its_samples():
    net, x = build("dense", "torch")
    e = explain(net, x, "smoothgrad", budget=5)
    assert e.parameters["samples"] == 4
    assert e.evaluations.forward <= 5 * len(x)
    assert explain(net, x, "smoothgrad", samples=3, budget=50).parameters["samples"] == 3
    assert np.array_equal(e.values, explain(net, x, "smoothgrad", samples=4).values)


# Grad-CAM


@pytest.mark.parametrize("layer", ["conv1", "pool", "relu#2", "conv2"])
@pytest.mark.parametrize("relu", [True, False])
def test_gradcam_is_its_formula_on_the_recorded_layer(layer, relu):
    net, x = build("cnn", "torch")
    e = explain(net, x, "gradcam", layer=layer, relu=relu, target=2)
    activation, gradient = layer_gradient(
        TorchAdapter(net), (torch.from_numpy(x),), layer, lambda out: out[:, 2]
    )
    a, g = activation.numpy().astype(float), gradient.numpy().astype(float)
    for n in range(len(x)):
        grid = np.zeros(a.shape[2:])
        for k in range(a.shape[1]):
            grid += g[n, k].mean() * a[n, k]
        grid = np.maximum(grid, 0) if relu else grid
        np.testing.assert_allclose(e.extras["grid"][n], grid, rtol=1e-4, atol=1e-6)
        enlarged = resize(grid[None].astype(np.float32), (12, 10), (1, 2))[0]
        np.testing.assert_allclose(e.values[n], enlarged, rtol=1e-4, atol=1e-6)
    assert e.parameters == {"layer": layer, "relu": relu, "grid": None, "tokens_before": None}
    assert e.values.shape == (5, 12, 10)


def test_gradcam_chooses_the_last_map_and_says_which():
    net, x = build("cnn", "torch")
    e = explain(net, x, "gradcam")
    assert e.parameters["layer"] == "relu#2"
    assert np.array_equal(e.values, explain(net, x, "gradcam", layer="relu#2").values)
    assert e.evaluations == (6, 5, 5), "once below the layer, and one row to choose it"


def test_gradcam_of_a_series():
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = torch.nn.Conv1d(2, 4, 3, stride=2)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, a: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.conv(a)).mean(-1))

    x = RNG_X.normal(size=(2, 2, 13)).astype(np.float32)
    e = explain(Net().eval(), x, "gradcam")
    assert e.values.shape == (2, 13)
    assert e.parameters["layer"] == "conv"
    assert e.data["values"].dims == ("sample", "step")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"layer": "conv3"}, LayerError, "conv"),
        ({"layer": "relu#3"}, LayerError, "relu"),
        ({"layer": "head"}, LayerError, r"feature map.*\(5, 3\).*\n.*layer=None chooses"),
        ({"layer": 3}, MethodError, "layer to be a string, got 3"),
        ({"relu": 1}, MethodError, "relu to be True or False, got 1"),
        ({"relu": "no"}, MethodError, "True or False"),
        ({"baseline": 0}, MethodError, "no parameter 'baseline'"),
        ({"samples": 0}, MethodError, "no parameter 'samples'"),
    ],
    ids=str,
)
def test_parameters_of_gradcam(parameters, error, message):
    with pytest.raises(error, match=message):
        explain(*build("cnn", "torch"), "gradcam", **parameters)


def test_gradcam_where_there_is_no_map():
    with pytest.raises(CapabilityError, match=r"image, series, volume.*\n.*integrated_gradients"):
        explain(*build("dense", "torch"), "gradcam")


@pytest.mark.parametrize(("size", "given"), [(12, 6), (10, 5), (7, 3), (5, 1), (4, 9)])
def test_enlarging_goes_by_pixel_areas(size, given):
    """As torch's interpolate with align_corners=False."""
    a = RNG_X.normal(size=(2, given, given)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(a)[:, None], (size, size), mode="bilinear", align_corners=False
    )[:, 0]
    np.testing.assert_allclose(resize(a, (size, size), (1, 2)), expected, rtol=1e-5, atol=1e-6)


def test_blurring_keeps_a_constant_and_the_far_side_apart():
    a = np.zeros((1, 40, 1), dtype=np.float32)
    a[0, :20] = 1
    blurred = blur(a, 2.0, (1,))[0, :, 0]
    assert (np.diff(blurred) <= 1e-6).all()
    assert blurred[0] == pytest.approx(1, abs=1e-6)
    assert blurred[-1] == pytest.approx(0, abs=1e-6)
    assert blurred[19] + blurred[20] == pytest.approx(1, abs=1e-5)


# The controls


def test_edges_are_central_differences_channel_by_channel():
    e = explain(wavy, IMAGES, "edges", target=0)
    for n, row, column, channel in product(range(2), range(9), range(7), range(2)):
        picture = IMAGES[n, :, :, channel].astype(float)
        up, down = max(row - 1, 0), min(row + 1, 8)
        left, right = max(column - 1, 0), min(column + 1, 6)
        dy = (picture[down, column] - picture[up, column]) / (down - up)
        dx = (picture[row, right] - picture[row, left]) / (right - left)
        assert e.values[n, row, column, channel] == pytest.approx(np.hypot(dy, dx), rel=1e-4)
    assert e.evaluations == (2, 0, 0)


def test_edges_without_space_are_distances_from_the_mean():
    e = explain(wavy, ROWS, "edges", target=0)
    expected = np.abs(ROWS - ROWS.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(e.values, expected, rtol=1e-5, atol=1e-7)
    thin = explain(wavy, IMAGES[:, :1, :1], "edges", target=0)
    assert np.isfinite(thin.values).all()


def test_random_is_standard_normal_and_looks_at_the_content_only():
    x = RNG_X.normal(size=(3, 40, 40, 3)).astype(np.float32)
    model = lambda a: a.reshape(len(a), -1)[:, :2]  # noqa: E731
    e = explain(model, x, "random", seed=1)
    assert abs(e.values.mean()) < 0.03
    assert abs(e.values.std() - 1) < 0.03
    assert not np.array_equal(e.values[0], e.values[1])
    assert np.array_equal(explain(model, x[::-1], "random", seed=1).values, e.values[::-1])
    assert not np.array_equal(explain(model, x, "random", seed=2).values, e.values)
    other = explain(lambda a: -a.sum(axis=(1, 2, 3)), x, "random", seed=1)
    assert np.array_equal(other.values, e.values), "no model in it"


def test_constant_shares_the_difference_equally():
    pair = (ROWS, np.concatenate([ROWS, ROWS], axis=1))
    e = explain(wavy, pair, "constant", target=0)
    expected = (e.score - wavy(*(np.zeros_like(a[:1]) for a in pair))[0, 0]) / 15
    for part in e.values:
        np.testing.assert_allclose(part, np.broadcast_to(expected[:, None], part.shape), rtol=1e-5)
    assert e.gap.max() < 1e-5


@pytest.mark.parametrize("method", ["random", "edges", "constant", "saliency", "gradient_x_input"])
@pytest.mark.parametrize("parameter", ["layer", "baseline", "budget", "tolerance", "features"])
def test_what_a_method_does_not_take_is_refused(method, parameter):
    if parameter == "layer" and method in {"saliency", "gradient_x_input"}:
        return  # those take one: tests/unit/test_layer_gradients.py
    with pytest.raises(MethodError, match=rf"{method} takes no parameter '{parameter}'.*\n.*Its"):
        explain(*build("dense", "torch"), method, **{parameter: 1})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"steps": 2.5}, "steps to be a whole number, got 2.5"),
        ({"steps": "10"}, "whole number"),
        ({"tolerance": "small"}, "tolerance to be a number"),
        ({"tolerance": True}, "tolerance to be a number"),
        ({"budget": 10.5}, "budget to be a whole number"),
    ],
    ids=str,
)
def test_types_of_parameters_of_integrated_gradients(parameters, message):
    with pytest.raises(MethodError, match=message):
        explain(*build("dense", "torch"), "integrated_gradients", **parameters)


def test_numpy_s_numbers_are_parameters():
    net, x = build("dense", "torch")
    one = explain(net, x, "smoothgrad", samples=np.int64(3), noise=np.float32(0.25))
    other = explain(net, x, "smoothgrad", samples=3, noise=0.25)
    assert np.array_equal(one.values, other.values)
    assert explain(net, x, "smoothgrad", samples=3, noise=1).parameters["noise"] == 1
    assert explain(net, x, "saliency", absolute=np.True_).values.min() >= 0


def test_saliency_without_its_sign():
    net, x = build("dense", "torch")
    signed = explain(net, x, "saliency").values
    assert np.array_equal(explain(net, x, "saliency", absolute=True).values, np.abs(signed))


# What a model cannot do


@pytest.mark.parametrize(
    "method", ["saliency", "gradient_x_input", "integrated_gradients", "smoothgrad", "gradcam"]
)
def test_a_plain_function_is_told_which_method_works(method):
    runs = []

    def model(a):
        runs.append(1)
        return wavy(a)

    with pytest.raises(CapabilityError) as caught:
        explain(model, IMAGES, method)
    message = str(caught.value)
    assert f"{method} needs" in message
    assert "callable model" in message
    named = message.splitlines()[-1].split()[0]
    assert np.isfinite(explain(model, IMAGES[:1], named, target=0).values).all()
    assert named == "occlusion"


def test_whole_numbers_have_no_gradient():
    model = wrap(lambda a: a.sum(1) * 1.0, framework="torch")
    x = np.arange(6).reshape(2, 3)
    for method in ("saliency", "integrated_gradients", "smoothgrad"):
        with pytest.raises(CapabilityError, match=r"real numbers.*int64.*\n.*occlusion works"):
            explain(model, x, method)
    np.testing.assert_allclose(explain(model, x, "occlusion").values, x)


def test_occlusion_of_several_targets_runs_once():
    model, x = build("cnn", "torch")
    for given in ({"window": 4}, {"window": 4, "incremental": True}):
        together = explain_each(model, x, "occlusion", (0, 2), parameters=given)
        for target, e in zip((0, 2), together, strict=True):
            alone = explain(model, x, "occlusion", target=target, **given)
            np.testing.assert_allclose(e.values, alone.values, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(e.baseline_score, alone.baseline_score, rtol=1e-5)
            assert e.evaluations.forward <= alone.evaluations.forward + 8


def test_a_method_that_shares_nothing_does_not_drop_targets():
    with pytest.raises(MethodError, match="one target at a time, got 2"):
        explain_each(
            lambda z: z, np.ones((4, 3)), "feature_permutation", (0, 1), parameters={}
        )  # fmt: skip
