"""Class activation maps where they are not ordinary: grids, precisions, sizes, and which layer."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch

from pellucid import explain
from pellucid.errors import CapabilityError, LayerError, MethodError
from pellucid.testing import oracles_cam

CAMS = (
    "gradcam", "gradcam_plus_plus", "hirescam", "xgradcam", "layercam", "eigencam", "scorecam",
    "ablationcam",
)  # fmt: skip


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


class Tokens(torch.nn.Module):
    """Two patch embeddings whose twelve tokens each lie in grids of 2 × 6 and 3 × 4, added."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tall = torch.nn.Conv2d(3, 5, (6, 2), stride=(6, 2))
        self.wide = torch.nn.Conv2d(3, 5, (4, 3), stride=(4, 3))
        self.norm = torch.nn.LayerNorm(5)
        self.head = torch.nn.Linear(5, 2)

    def forward(self, x):
        tokens = (self.tall(x).flatten(2) + self.wide(x).flatten(2)).transpose(1, 2)
        return self.head(torch.tanh(self.norm(tokens)).mean(dim=1))


@pytest.mark.parametrize("layer", [None, "norm"])
def test_tokens_that_can_be_laid_out_in_several_ways_are_refused(layer):
    model, x = Tokens().eval(), floats(2, 3, 12, 12)
    with pytest.raises(LayerError, match=r"several ways: \(2, 6\).*\(3, 4\).*\n.*grid="):
        explain(model, x, "gradcam", layer=layer)
    for grid in ((2, 6), (3, 4)):
        e = explain(model, x, "gradcam", layer=layer, grid=grid, relu=False)
        assert e.extras["grid"].shape == (2, *grid)
        assert e.parameters["layer"] == "norm"
    with pytest.raises(LayerError, match="feature map with the grid"):
        explain(model, x, "gradcam", layer="norm", grid=(5, 5))


class Shared(Tokens):
    """One patch embedding, and one dropout that is called before and after the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = torch.nn.Dropout(0.1)

    def forward(self, x):
        tokens = self.drop(self.wide(x).flatten(2).transpose(1, 2))
        return self.head(torch.tanh(self.drop(self.norm(tokens))).mean(dim=1))


def test_tokens_of_a_second_call_can_be_chosen():
    """`KeyError: 'drop#2'` where calls were told apart by their path alone."""
    e = explain(Shared().eval(), floats(2, 3, 12, 12), "gradcam", relu=False)
    assert e.parameters["layer"] == "drop#2"
    assert e.parameters["grid"] == (3, 4)


class Net(torch.nn.Module):
    """A convolution in one to three axes, a squashing, the mean over positions, two classes."""

    def __init__(self, space: int = 2, channels: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        kind = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[space - 1]
        self.conv = kind(3, channels, 3, padding=1)
        self.act = torch.nn.ReLU()
        self.head = torch.nn.Linear(channels, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.act(self.conv(x)).flatten(2)).mean(dim=2))


def numpy_above(net: Net):
    """The activation of `act`, channels last, and the first logit above it, in float64."""
    weight = net.head.weight[0].detach().double().numpy()

    def suffix(a: np.ndarray) -> np.ndarray:
        flat = np.tanh(a).reshape(len(a), -1, a.shape[-1])
        return flat.mean(axis=1) @ weight + float(net.head.bias[0].detach())

    return suffix


@pytest.mark.parametrize("space", [1, 3])
@pytest.mark.parametrize("method", [m for m in CAMS if m != "scorecam"])
def test_series_and_volumes_agree_with_the_paper_form(method, space):
    net, size = Net(space).eval(), (5, 4, 6)[:space]
    x = floats(2, 3, *size)
    e = explain(net, x, method, layer="act", target=0, relu=False)
    with torch.no_grad():
        activation = net.act(net.conv(torch.from_numpy(x))).movedim(1, -1).double().numpy()
    for sample, a in enumerate(activation):
        expected = getattr(oracles_cam, method)(a, numpy_above(net))
        found = e.extras["grid"][sample]
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(e.values, e.extras["grid"], rtol=1e-6)  # as large as the input


def test_scorecam_of_a_volume_is_its_formula():
    net, x = Net(3).eval(), floats(2, 3, 5, 4, 6)
    e = explain(net, x, "scorecam", layer="act", target=0, relu=False)
    given = torch.from_numpy(x)
    with torch.no_grad():
        activation = net.act(net.conv(given))
        axes = (2, 3, 4)
        masks = activation - activation.amin(axes, keepdim=True)
        masks = masks / masks.amax(axes, keepdim=True)
        scores = torch.stack(
            [net(given * masks[:, k : k + 1])[:, 0] for k in range(masks.shape[1])], dim=1
        )
        weights = torch.softmax(scores, dim=1)
        expected = (weights[:, :, None, None, None] * activation).sum(dim=1)
    np.testing.assert_allclose(e.extras["weights"], weights, rtol=1e-4)
    np.testing.assert_allclose(e.values, expected, rtol=1e-4, atol=1e-6)


def test_max_channels_looks_at_the_most_varied_channels_only():
    net, x = Net().eval(), floats(3, 3, 7, 6)
    whole = explain(net, x, "scorecam", layer="act", target=0, relu=False)
    e = explain(net, x, "scorecam", layer="act", target=0, relu=False, max_channels=2)
    assert e.evaluations.forward == 3 * (1 + 2)
    assert whole.evaluations.forward == 3 * (1 + 6)
    with torch.no_grad():
        activation = net.act(net.conv(torch.from_numpy(x))).flatten(2).double().numpy()
    kept = np.argsort(-activation.var(axis=2), axis=1)[:, :2]
    among = np.zeros((3, 6), dtype=bool)
    np.put_along_axis(among, kept, True, axis=1)
    weights = whole.extras["weights"] * among
    weights /= weights.sum(axis=1, keepdims=True)  # the softmax over those that are left
    np.testing.assert_allclose(e.extras["weights"], weights, rtol=1e-4, atol=1e-7)
    expected = np.einsum("nkp,nk->np", activation, weights).reshape(3, 7, 6)
    np.testing.assert_allclose(e.values, expected, rtol=1e-4, atol=1e-6)
    assert any("2 channels of the largest variance" in w for w in e.warnings)
    same = explain(net, x, "scorecam", layer="act", target=0, relu=False, max_channels=99)
    np.testing.assert_array_equal(same.values, whole.values)
    with pytest.raises(MethodError, match="max_channels of 1 or more"):
        explain(net, x, "scorecam", max_channels=0)


@pytest.mark.parametrize(("dtype", "allowed"), [("float16", 0.02), ("bfloat16", 0.12)])
@pytest.mark.parametrize("method", CAMS)
def test_half_precision_in_torch(method, dtype, allowed):
    single, half = Net().eval(), Net().eval().to(getattr(torch, dtype))
    assert_alike(single, half, method, layer="act", x=np.abs(floats(2, 3, 7, 6)), allowed=allowed)


@pytest.mark.parametrize("method", CAMS)
def test_half_precision_in_keras(method):
    def network(policy):
        parts = keras.layers
        keras.utils.set_random_seed(0)
        return keras.Sequential(
            [
                keras.Input((7, 6, 3)),
                parts.Conv2D(6, 3, padding="same", activation="relu", name="conv", dtype=policy),
                parts.Activation("tanh", dtype=policy),
                parts.GlobalAveragePooling2D(dtype=policy),
                parts.Dense(2, dtype=policy),
            ]
        )

    single, half = network("float32"), network("mixed_float16")
    half.set_weights(single.get_weights())
    assert_alike(single, half, method, layer="conv", x=np.abs(floats(2, 7, 6, 3)), allowed=0.02)


def assert_alike(single, half, method: str, *, layer: str, x: np.ndarray, allowed: float) -> None:
    one, other = (
        explain(m, x, method, layer=layer, target=0, relu=False).values for m in (half, single)
    )
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert np.abs(one - other).max() < allowed * np.abs(other).max()


class Shrinking(torch.nn.Module):
    """Down to one position, in front of a pooling that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.last = torch.nn.Conv2d(4, 5, 4)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.head = torch.nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.pool(self.last(torch.relu(self.first(x)))).flatten(1))


@pytest.mark.parametrize("method", CAMS)
def test_a_map_of_one_position_is_the_same_everywhere(method):
    """It says how much, not where; by itself an earlier layer is chosen."""
    net, x = Shrinking().eval(), floats(2, 3, 8, 8)
    e = explain(net, x, method, layer="last", target=0, relu=False)
    assert e.extras["grid"].shape == (2, 1, 1)
    np.testing.assert_array_equal(e.values, np.broadcast_to(e.values[:, :1, :1], e.values.shape))
    with torch.no_grad():
        a = net.last(torch.relu(net.first(torch.from_numpy(x))))[:, :, 0, 0].double()
        weight = net.head.weight[0].double()
    expected = {
        "gradcam_plus_plus": (a * torch.relu(weight) / (2 + a * weight)).sum(dim=1),
        "layercam": (a * torch.relu(weight)).sum(dim=1),
        "eigencam": a.norm(dim=1),
        "ablationcam": (a * (a * weight)).sum(dim=1),
        "scorecam": torch.zeros(2, dtype=torch.float64),  # no channel prefers a place
    }.get(method, (a * weight).sum(dim=1))
    np.testing.assert_allclose(e.values[:, 0, 0], expected, rtol=1e-4, atol=1e-6)
    assert explain(net, x, method).parameters["layer"] == "first"


class Branches(torch.nn.Module):
    """An inception: two branches joined without a layer, an unused one, a head of convolutions."""

    def __init__(self, gap_by_layer: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.unused = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.left = torch.nn.Conv2d(4, 3, 1)
        self.right = torch.nn.Conv2d(4, 3, 3, padding=1)
        self.pool = torch.nn.AdaptiveAvgPool2d(1) if gap_by_layer else None
        self.head = torch.nn.Conv2d(6, 2, 1)

    def forward(self, x):
        h = torch.relu(self.stem(x))
        h = torch.cat([self.left(h), self.right(h)], dim=1)
        h = h.mean(dim=(2, 3), keepdim=True) if self.pool is None else self.pool(h)
        return self.head(h)[:, :, 0, 0]


@pytest.mark.parametrize("gap_by_layer", [False, True])
def test_the_last_layer_with_positions_is_chosen(gap_by_layer):
    """Not the pooled maps and the 1 × 1 head after them, nor a layer that is never called."""
    e = explain(Branches(gap_by_layer).eval(), floats(2, 3, 6, 5), "gradcam")
    assert e.parameters["layer"] == "right"


def test_the_map_of_a_single_long_axis_counts():
    """A spectrogram convolved over all of its frequencies: one position high, many wide."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, (6, 3)), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(24, 2)
    ).eval()
    e = explain(net, floats(2, 1, 6, 8), "gradcam")
    assert e.parameters["layer"] == "1"
    assert e.extras["grid"].shape == (2, 1, 6)


def test_where_no_layer_has_positions():
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2)).eval()
    with pytest.raises(CapabilityError, match="No layer of this model returns a feature map"):
        explain(flat, floats(2, 1, 6, 6), "gradcam")


class Functions(torch.nn.Module):
    """A module whose convolutions are functions, but for the first where `layered`."""

    def __init__(self, *, layered: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1) if layered else None
        self.kernel = torch.nn.Parameter(torch.randn(4, 4 if layered else 3, 3, 3) / 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        if self.first is not None:
            return self.head(torch.relu(self.first(x)).mean(dim=(2, 3)))
        x = torch.relu(torch.nn.functional.conv2d(x, self.kernel, padding=1))
        return self.head(x.mean(dim=(2, 3)))


def test_a_map_that_only_a_function_returns_is_said_to_be_no_layer():
    with pytest.raises(
        CapabilityError, match=r"relu, with a grid of \(8, 6\).*no layers"
    ) as caught:
        explain(Functions(layered=False).eval(), floats(2, 3, 8, 6), "gradcam")
    assert "in a module or layer of its own" in str(caught.value)


def test_before_a_functional_relu_the_last_map_is_that_of_the_convolution():
    model, x = Functions(layered=True).eval(), floats(2, 3, 8, 6)
    e = explain(model, x, "gradcam", target=1, relu=False)
    assert e.parameters["layer"] == "first"
    feature = model.first(torch.as_tensor(x)).detach().numpy()
    weights = model.head.weight[1].detach().numpy()
    gradient = (feature > 0) * weights[:, None, None] / 48
    expected = (gradient.mean(axis=(2, 3), keepdims=True) * feature).sum(axis=1)
    np.testing.assert_allclose(e.extras["grid"], expected, rtol=1e-4, atol=1e-6)


def test_a_function_whose_maps_have_no_names_is_told_how_to_give_them():
    kernel = jnp.asarray(floats(3, 3, 3, 4))

    def model(x):
        axes = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)
        return jax.nn.relu(x).mean(axis=(1, 2))

    with pytest.raises(CapabilityError, match=r"shows no layers.*\n.*grid of \(8, 6\)"):
        explain(model, jnp.asarray(floats(2, 8, 6, 3)), "gradcam")
