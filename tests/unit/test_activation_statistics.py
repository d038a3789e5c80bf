"""Statistics of layers in one pass: as NumPy finds them over everything at once."""

import tracemalloc

import keras
import numpy as np
import pytest
import torch

import pellucid
from pellucid.errors import InputError, LayerError
from pellucid.methods.inside.moments import Moments
from pellucid.testing import build

FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", ["cnn", "shared"])
@pytest.mark.parametrize("batch_size", [2, "auto"])
def test_they_are_those_of_all_values_at_once(name, framework, batch_size):
    model, x = build(name, framework)
    maps = pellucid.inside.activations(model, x)
    found = pellucid.inside.statistics(model, x, batch_size=batch_size)
    for layer in maps:
        axis = layer.dims.index("channel") if "channel" in layer.dims else -1
        flat = np.moveaxis(layer.values, axis, -1).reshape(-1, layer.all_units).astype(np.float64)
        own = found[layer.layer]
        np.testing.assert_allclose(own.means, flat.mean(0), atol=1e-5)
        np.testing.assert_allclose(own.deviations, flat.std(0), atol=1e-5)
        np.testing.assert_allclose(own.zero_shares, (flat == 0).mean(0), atol=1e-12)
        np.testing.assert_allclose(own.lowest, flat.min(0), atol=1e-5)
        np.testing.assert_allclose(own.highest, flat.max(0), atol=1e-5)
        assert own.dead.tolist() == np.flatnonzero((flat == 0).all(0)).tolist()
        assert own.count == len(flat)
        np.testing.assert_allclose(own.deviation, flat.std(), atol=1e-5)
    assert found.samples == 5
    assert "5 samples" in str(found)


def test_moments_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    rows = 1e4 + rng.normal(size=(1000, 3)).astype(np.float32)
    found = Moments.of(rows[:1])
    for start in range(1, 1000, 37):
        found = found.with_more(Moments.of(rows[start : start + 37]))
    np.testing.assert_allclose(found.mean, rows.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.variance, rows.var(0, dtype=np.float64), rtol=1e-9)


def dead_and_saturated(activation):
    """Unit 0 is usual, unit 1 far below, unit 2 far above; then a layer as usual."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, activation=activation, name="first"),
            keras.layers.Dense(2, name="last"),
        ]
    )
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) * 0.1
    model.get_layer("first").set_weights([kernel, np.array([0.5, -50, 50], np.float32)])
    return model


@pytest.mark.parametrize(
    ("activation", "form", "dead", "saturated"),
    [
        ("relu", "relu", [1], []),
        ("relu6", "relu6", [1], [2]),
        ("sigmoid", "sigmoid", [], [1, 2]),
        ("tanh", "tanh", [], [1, 2]),
        ("hard_sigmoid", "hard sigmoid", [], [1, 2]),
        (None, "", [], []),
    ],
)
def test_units_that_are_off_and_units_at_their_bounds_in_keras(activation, form, dead, saturated):
    x = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    found = pellucid.inside.statistics(dead_and_saturated(activation), x)
    own = found["first"]
    assert (own.form, own.dead.tolist(), own.saturated.tolist()) == (form, dead, saturated)
    assert found["last"].form == ""
    assert len(found.layers) == 2


@pytest.mark.parametrize(
    ("module", "form", "dead", "saturated"),
    [
        (torch.nn.ReLU(), "relu", [1], []),
        (torch.nn.ReLU6(), "relu6", [1], [2]),
        (torch.nn.Sigmoid(), "sigmoid", [], [1, 2]),
        (torch.nn.Hardsigmoid(), "sigmoid", [], [1, 2]),
        (torch.nn.Tanh(), "tanh", [], [1, 2]),
        (torch.nn.Hardtanh(-3, 3), "clip", [], [1, 2]),
        (torch.nn.LeakyReLU(), "", [], []),
    ],
)
def test_units_that_are_off_and_units_at_their_bounds_in_torch(module, form, dead, saturated):
    first = torch.nn.Linear(4, 3)
    with torch.no_grad():
        first.weight.mul_(0.1)
        first.bias.copy_(torch.tensor([0.5, -50, 50]))
    model = torch.nn.Sequential(first, module, torch.nn.Linear(3, 2)).eval()
    x = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    own = pellucid.inside.statistics(model, x)["1"]
    assert (own.form, own.dead.tolist(), own.saturated.tolist()) == (form, dead, saturated)


def test_functions_between_layers_and_models_without_any_have_lines_of_their_own():
    shared = pellucid.inside.statistics(*build("shared", "torch"))
    assert [s.layer for s in shared.layers if ":" in s.layer or s.layer == "relu"]
    bare = pellucid.inside.statistics(*build("cnn", "tensorflow"))
    assert [s.layer for s in bare.layers] == ["relu", "relu #2"]
    keras_cnn = pellucid.inside.statistics(*build("cnn", "keras"))
    np.testing.assert_allclose(bare["relu"].means, keras_cnn["relu"].means, atol=1e-5)


def test_asked_for_some_layers_only_those_have_lines():
    found = pellucid.inside.statistics(*build("cnn", "torch"), ["relu", "head"])
    assert [s.layer for s in found.layers] == ["relu", "head"]
    with pytest.raises(LayerError, match="No statistics"):
        found["conv9"]
    for options in ({"near": -1}, {"share": 2}, {"near": True}):
        with pytest.raises(InputError, match="share from 0 to 1"):
            pellucid.inside.statistics(*build("cnn", "torch"), **options)


def test_plain_data_and_the_picture():
    found = pellucid.inside.statistics(*build("cnn", "torch"))
    plain = found.to_dict()
    assert [layer["units"] for layer in plain["layers"]] == [6, 6, 6, 8, 8, 3]
    for theme in ("light", "dark"):
        figure = found.plot(theme=theme)
        assert figure.axes[2].get_xlim() == (0, 1)
        assert [axes.get_title(loc="left") for axes in figure.axes][1] == "share of zeros"
        assert "5 samples" in figure.get_supxlabel()


def test_layers_by_samples_are_never_held():
    """All maps together take 34 MB; what is held at any time is those of one micro-batch."""
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU()).eval()
    x = np.random.default_rng(0).normal(size=(64, 1, 64, 64)).astype(np.float32)
    pellucid.inside.statistics(model, x[:2], batch_size=2)
    tracemalloc.start()
    found = pellucid.inside.statistics(model, x, batch_size=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["1"].count == 64 * 64 * 64
    assert peak < 12e6
