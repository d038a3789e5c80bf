"""Weights in one layout for every framework, and what they look like."""

import equinox
import flax.linen
import jax
import keras
import numpy as np
import pytest
import torch

import pellucid
from pellucid import plots
from pellucid.errors import CapabilityError, InputError, LayerError
from pellucid.plots.pixels import principal_colours
from pellucid.testing import build
from pellucid.testing.tiny_weights import weights_and_inputs

FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer", "tensorflow")


def below(figure):
    """The words under a figure, whatever lines they are on."""
    return " ".join(figure.get_supxlabel().split())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_filters_and_matrices_are_the_same_in_every_framework(framework):
    own, _ = weights_and_inputs("cnn", 0)
    found = pellucid.inside.weights(build("cnn", framework)[0])
    for layer in ("conv1", "conv2"):
        expected = np.moveaxis(own[f"{layer}/kernel"], -1, 0)
        np.testing.assert_allclose(found[layer].filters, expected, atol=1e-7)
    np.testing.assert_allclose(found["head"].matrix, own["head/kernel"], atol=1e-7)
    norms = np.sqrt((own["conv1/kernel"] ** 2).sum((0, 1, 2)))
    np.testing.assert_allclose(found["conv1"].norms(), norms, rtol=1e-5)
    first = found["conv1"]
    assert (first.role, found["head"].role) == ("filters", "dense")
    np.testing.assert_allclose(
        [first.mean, first.deviation], [first.values.mean(), first.values.std()], rtol=1e-5
    )


@pytest.mark.parametrize("framework", ["torch", "keras", "jax", "tensorlayer"])
def test_depthwise_filters_have_one_channel_each(framework):
    own, _ = weights_and_inputs("depthwise", 0)
    model, _ = build("depthwise", framework)
    found = pellucid.inside.weights(model)
    kernel = own["depthwise/kernel"]  # (3, 3, in, multiplier)
    expected = kernel.transpose(2, 3, 0, 1).reshape(8, 3, 3, 1)
    np.testing.assert_allclose(found["depthwise"].filters, expected, atol=1e-7)


def test_transposed_one_axis_flax_and_equinox():
    net = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 6, 3), torch.nn.Conv1d(5, 7, 3))
    found = pellucid.inside.weights(net)
    assert found["0"].filters.shape == (6, 3, 3, 4)
    assert found["1"].filters.shape == (7, 3, 5)
    up = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2DTranspose(6, 3, name="up")])
    assert pellucid.inside.weights(up)["up"].filters.shape == (6, 3, 3, 4)
    key = jax.random.key(0)
    eqx = equinox.nn.Sequential([equinox.nn.Linear(9, 5, key=key)])
    assert pellucid.inside.weights(eqx).layers[0].matrix.shape == (9, 5)
    dense = flax.linen.Dense(5)
    params = dense.init(key, np.ones((1, 9), np.float32))
    assert pellucid.inside.weights((dense.apply, params)).layers[-1].matrix.shape == (9, 5)


def test_layers_of_one_name_in_two_blocks_are_told_apart():
    blocks = [
        keras.Sequential([keras.layers.Conv2D(n, 3, name="conv1")], name=name)
        for n, name in ((4, "block1"), (5, "block2"))
    ]
    net = keras.Sequential([keras.Input((8, 8, 3)), *blocks], name="net")
    found = pellucid.inside.weights(net)
    for n, name in ((4, "block1"), (5, "block2")):
        assert len(found[f"{name}/conv1"].filters) == n
        assert len(found[name].filters) == n
        one = pellucid.inside.weights(net, f"{name}/conv1")
        assert [w.name for w in one] == [f"net/{name}/conv1/{w}" for w in ("kernel", "bias")]
    for asked in ("conv1", "block3/conv1"):
        with pytest.raises(LayerError, match=r"block1/conv1, .*block2/conv1"):
            found[asked]


def test_one_layer_nested_names_and_what_is_refused():
    model, _ = build("shared", "keras")
    found = pellucid.inside.weights(model, "encoder/encoder1")
    assert [w.name for w in found] == ["encoder1/kernel", "encoder1/bias"]
    with pytest.raises(LayerError, match="encoder1"):
        pellucid.inside.weights(model, "encoder9")
    with pytest.raises(CapabilityError, match="shows no weights"):
        pellucid.inside.weights(build("cnn", "numpy")[0])
    broken = torch.nn.Linear(2, 2)
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="weight holds NaN"):
        pellucid.inside.weights(broken)
    with pytest.raises(InputError, match="no filters"):
        _ = found["encoder1/kernel"].filters
    with pytest.raises(InputError, match="no matrix"):
        _ = found["encoder1/bias"].matrix


def test_the_table():
    found = pellucid.inside.weights(build("cnn", "torch")[0])
    lines = str(found).splitlines()
    assert lines[0].split() == ["weight", "role", "shape", "mean", "std", "min", "max", "zeros"]
    assert len(lines) == 1 + len(found) == 7
    assert found.to_dict()["weights"][0]["shape"] == [6, 3, 3, 3]


def test_principal_colours_are_the_principal_components():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 7)) * np.array([5, 3, 2, 1, 0.5, 0.2, 0.1])
    colours, share = principal_colours(values)
    centred = values - values.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(share, (size[:3] ** 2).sum() / (size**2).sum(), rtol=1e-9)
    projected = left[:, :3] * size[:3]
    expected = projected / (2 * np.abs(projected).max())
    np.testing.assert_allclose(np.abs(colours - 0.5), np.abs(expected), atol=1e-9)
    turned = principal_colours(values[:, ::-1])[0]
    np.testing.assert_allclose(turned, colours, atol=1e-9)
    two, everything = principal_colours(values[:, :2])
    assert everything == pytest.approx(1)
    assert (two[:, 2] == 0.5).all()
    assert principal_colours(np.zeros((4, 5)))[1] == 1.0


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 17])
@pytest.mark.parametrize("scale", ["all", "each"])
def test_filters_of_any_number_of_channels(channels, scale):
    kernels = np.random.default_rng(0).normal(size=(10, 3, 5, channels))
    figure = plots.filters(kernels, scale=scale, columns=4)
    sheet = figure.axes[0].images[0].get_array()
    assert sheet.shape[:2] == (3 * 3 + 2, 4 * 5 + 3)
    words = below(figure)
    assert "10 filters" in words
    if channels not in (1, 3):
        share = principal_colours(kernels)[1]
        assert f"{100 * share:.0f} % of the variance" in words
    else:
        assert ("v = " in words) == (scale == "all")


def test_filters_of_one_and_of_three_axes_and_what_are_none():
    rng = np.random.default_rng(0)
    assert "3 filters" in plots.filters(rng.normal(size=(3, 5, 2))).get_supxlabel()
    assert "3 filters" in plots.filters(rng.normal(size=(3, 3, 4, 4, 1))).get_supxlabel()
    assert (
        "the first 4 of 9" in plots.filters(rng.normal(size=(9, 3, 3, 1)), most=4).get_supxlabel()
    )
    for wrong in (np.zeros(3), np.zeros((0, 3, 3, 1)), np.full((2, 3, 3, 1), np.nan)):
        with pytest.raises(InputError, match="filters"):
            plots.filters(wrong)


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [(64, "8 × 8"), (48, "4 × 4 × 3"), (12, "2 × 2 × 3"), (10, "2 × 5"), (7, "1 × 7")],
)
def test_dense_weights_as_pictures(inputs, shape):
    matrix = np.random.default_rng(0).normal(size=(inputs, 9))
    figure = plots.dense_weights(matrix)
    assert f"{inputs} inputs as {shape} (a guess" in below(figure)
    assert "9 units" in below(figure)
    with pytest.raises(InputError, match="holds"):
        plots.dense_weights(matrix, (inputs, 2))


def test_a_column_is_a_tile_of_its_own_numbers():
    matrix = np.arange(12, dtype=float).reshape(4, 3) - 6
    sheet = plots.dense_weights(matrix, (2, 2), columns=3).axes[0].images[0].get_array()
    scale = plots.Scale(6.0, True, None)
    expected = scale.colours(matrix[:, 1].reshape(2, 2))[..., :3]
    np.testing.assert_allclose(sheet[:2, 3:5], expected, atol=1e-6)
    first = plots.dense_weights(np.ones((12, 2)), (3, 2, 2), channels="first")
    assert "red, green, blue" in below(first)


def test_the_result_draws_what_it_is():
    found = pellucid.inside.weights(build("cnn", "keras")[0])
    assert found.plot().axes[0].get_title() == "conv1/kernel"
    assert "inputs as" in below(found.plot("head", theme="dark"))
    with pytest.raises(InputError, match="neither"):
        found.plot("conv1/bias")


@pytest.mark.parametrize("count", [1, 4])
def test_words_below_a_small_figure_are_whole(count):
    matrix = np.random.default_rng(0).normal(size=(288, count))
    for figure in (plots.dense_weights(matrix), plots.dense_weights(matrix, (6, 6, 8), title="a")):
        figure.draw_without_rendering()
        words = figure._supxlabel.get_window_extent()
        assert words.x0 >= 0
        assert words.x1 <= figure.bbox.x1
        assert words.y0 >= 0
        assert words.y1 < figure.axes[0].get_window_extent().y0 + 1
    assert "of the variance" in below(figure)


def test_names_and_themes_that_are_none_are_refused():
    found = pellucid.inside.weights(build("cnn", "keras")[0])
    with pytest.raises(LayerError, match=r"(There are|Among them are) "):
        found["77"]
    with pytest.raises(InputError, match="'light' or 'dark', got 'purple'"):
        found.plot(theme="purple")
