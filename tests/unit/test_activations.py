"""What layers return: the same in every framework, as the framework itself says, and left alone."""

import sys

import keras
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import pellucid
from pellucid.errors import CapabilityError, InputError, LayerError
from pellucid.testing import build

FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer")


def last(maps):
    """Values with channels last, whatever the layout."""
    axis = maps.dims.index("channel") if "channel" in maps.dims else -1
    return np.moveaxis(maps.values, axis, -1)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_frameworks_agree_on_every_layer_that_they_share(framework):
    expected = pellucid.inside.activations(*build("cnn", "keras"))
    found = pellucid.inside.activations(*build("cnn", framework))
    shared = {m.layer for m in expected} & {m.layer for m in found}
    assert len(shared) > 3
    for layer in shared:
        assert set(found[layer].dims) == set(expected[layer].dims)
        np.testing.assert_allclose(last(found[layer]), last(expected[layer]), atol=2e-5)


def test_it_is_what_a_hook_of_torch_sees():
    model, x = build("cnn", "torch")
    seen = {}
    handles = [
        module.register_forward_hook(  # a copy: the next layer works in place
            lambda m, i, o, name=name: seen.setdefault(name, []).append(o.clone())
        )
        for name, module in model.named_modules()
        if name
    ]
    with torch.no_grad():
        model(torch.from_numpy(x.copy()))
    for handle in handles:
        handle.remove()
    found = pellucid.inside.activations(model, x)
    assert [m.layer for m in found] == ["conv1", "relu", "pool", "conv2", "relu#2", "head"]
    for maps in found:
        path, _, call = maps.layer.partition("#")
        np.testing.assert_array_equal(maps.values, seen[path][int(call or 1) - 1].numpy())


def test_it_is_what_a_sub_model_of_keras_returns_with_the_softmax_on():
    given = keras.Input((9, 7, 2))
    features = keras.layers.Conv2D(4, 3, activation="relu", name="features")(given)
    classes = keras.layers.Dense(3, activation="softmax", name="classes")
    model = keras.Model(given, classes(keras.layers.Flatten()(features)))
    x = np.random.default_rng(0).normal(size=(3, 9, 7, 2)).astype(np.float32)
    part = keras.Model(given, [features, model.output])
    found = pellucid.inside.activations(model, x, ["features", "classes"])
    for maps, expected in zip(found, part(x), strict=True):
        np.testing.assert_allclose(maps.values, np.asarray(expected), atol=1e-6)
    assert found["features"].dims == ("sample", "height", "width", "channel")
    assert found["classes"].dims == ("sample", "unit")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_top_by_variance_and_by_attribution(framework):
    """Ranks from torch's own numbers: variance by NumPy, activation times gradient by autograd."""
    model, x = build("cnn", "torch")
    with torch.no_grad():
        below = model.relu(model.conv1(torch.from_numpy(x.copy())))
    inner = below.clone().requires_grad_(True)
    logits = model.head(model.relu(model.conv2(model.pool(inner))).mean((2, 3)))
    logits[torch.arange(len(x)), logits.argmax(1)].sum().backward()
    each = (below * inner.grad).sum((2, 3)).numpy()
    spread = below.numpy().var(axis=(0, 2, 3))

    given = build("cnn", framework)
    by_variance = pellucid.inside.activations(*given, "relu", top=3)["relu"]
    assert by_variance.units.tolist() == np.argsort(-spread)[:3].tolist()
    np.testing.assert_allclose(by_variance.scores, spread[by_variance.units], rtol=1e-4)
    assert (by_variance.all_units, by_variance.contributions) == (6, None)
    found = pellucid.inside.activations(*given, "relu", top=3, by="attribution")["relu"]
    assert found.units.tolist() == np.argsort(-np.abs(each).mean(0))[:3].tolist()
    np.testing.assert_allclose(found.contributions, each[:, found.units], atol=1e-4)
    np.testing.assert_allclose(last(found), below.numpy()[:, found.units].transpose(0, 2, 3, 1),
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nested_shared_and_several_inputs(framework):
    shared = pellucid.inside.activations(*build("shared", framework))
    assert any(m.layer.endswith("#2") for m in shared)
    first = next(m for m in shared if m.layer.endswith("encoder1"))
    second = shared[f"{first.layer}#2"]
    assert not np.allclose(first.values, second.values)
    both = pellucid.inside.activations(*build("two_inputs", framework), top=2, by="attribution")
    assert {"conv", "table", "hidden"} <= {m.layer for m in both}
    assert both.pictures.shape == (5, 8, 6, 3)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sequences_and_tokens_have_units_last(framework):
    found = pellucid.inside.activations(*build("vit", framework))
    names = [m.layer for m in found if "norm1" in m.layer or m.layer == "norm"]
    for name in names:
        assert found[name].dims == ("sample", "step", "channel")
        assert found[name].values.shape == (5, 13, 8)


class Sequences(torch.nn.Module):
    """A convolution `(n, channels, steps)`, then what returns `(n, steps, channels)`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv1d(3, 4, 3)
        self.norm = torch.nn.LayerNorm(4)
        self.lstm = torch.nn.LSTM(4, 6, batch_first=True)
        self.head = torch.nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.lstm(self.norm(self.conv(x).transpose(1, 2)))[0][:, -1])


SERIES = np.random.default_rng(1).normal(size=(4, 3, 9)).astype(np.float32)


def test_sequences_in_torch_have_channels_where_the_layer_has_them():
    found = pellucid.inside.activations(Sequences().eval(), SERIES)
    assert found["conv"].dims == ("sample", "channel", "step")
    assert found["lstm"].dims == ("sample", "step", "channel")
    assert (found["conv"].all_units, found["lstm"].all_units) == (4, 6)


@pytest.mark.parametrize("layer", ["conv", "norm", "lstm"])
def test_the_method_and_an_embedding_read_sequences_the_same_way(layer):
    """The layer's mean over its steps, those where torch itself has them."""
    model = Sequences().eval()
    maps = pellucid.inside.activations(model, SERIES, layer)[layer]
    e = pellucid.explain(model, SERIES, "activations", layer=layer)
    assert e.parts[0].dims == maps.dims
    np.testing.assert_allclose(e.values, maps.values, atol=1e-6)
    assert e.evaluations.forward == len(SERIES) + 1
    embedded = pellucid.inside.embedding(model, SERIES, layer)
    expected = maps.values.mean(axis=2 if layer == "conv" else 1)
    np.testing.assert_allclose(embedded.vectors, expected, atol=1e-6)
    assert f"{7} positions of {expected.shape[1]} channels" in embedded.pooled


def test_one_unit_of_a_recurrent_layer_is_over_all_its_steps():
    model = Sequences().eval()
    wanted = {"layer": "lstm", "data": SERIES, "steps": 2}
    found = pellucid.inside.visualize_feature(model, unit=5, **wanted)
    with torch.no_grad():
        below = model.norm(model.conv(torch.from_numpy(SERIES)).transpose(1, 2))
        means = model.lstm(below)[0][:, :, 5].mean(dim=1).numpy()
    np.testing.assert_allclose(found.best, means.max(), atol=1e-6)
    with pytest.raises(InputError, match="from 0 to 5"):
        pellucid.inside.visualize_feature(model, unit=6, **wanted)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_method_names_tokens_as_the_maps_do(framework):
    model, x = build("vit", framework)
    maps = pellucid.inside.activations(model, x)
    layer = next(m.layer for m in maps if m.dims == ("sample", "step", "channel"))
    e = pellucid.explain(model, x, "activations", layer=layer)
    assert e.parts[0].dims == ("sample", "step", "channel")


def test_the_method_is_no_attribution_to_be_judged_or_searched():
    model, x = build("cnn", "torch")
    row = next(r for r in pellucid.methods(model=model) if r["name"] == "activations")
    assert (row["family"], row["runs"]) == ("inside", True)
    with pytest.raises(CapabilityError, match="nothing of what counts for the target"):
        pellucid.evaluate(model, x, ["activations"])
    made = pellucid.explain(model, x, "activations")
    with pytest.raises(CapabilityError, match="nothing of what counts for the target"):
        pellucid.evaluate(model, x, made)
    card = pellucid.evaluate(model, x, ["saliency", "activations"], standard=["I1"])
    assert "activations" not in card.scores
    assert any("activations could not be made" in note for note in card.notes)
    with pytest.raises(InputError, match="nothing to judge"):
        pellucid.search(model, x, goal=pellucid.Goal(methods=["activations"]))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_batch_does_not_matter(size):
    model, x = build("cnn", "torch")
    found = pellucid.inside.activations(model, x, top=3, by="attribution", batch_size=size)
    whole = pellucid.inside.activations(model, x, top=3, by="attribution")
    for a, b in zip(found, whole, strict=True):
        assert a.units.tolist() == b.units.tolist()
        np.testing.assert_allclose(a.values, b.values, atol=1e-5)


def test_the_model_is_as_it_was_and_runs_are_counted():
    model, x = build("cnn", "torch")
    model.train()
    runs = []
    handle = model.register_forward_hook(lambda m, i, o: runs.append(len(o)))
    found = pellucid.inside.activations(model, x, top=2)
    handle.remove()
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert sum(runs) == found.evaluations.forward == 2 * len(x) + 2


def test_the_method_returns_the_layer_with_its_axes():
    for framework in FRAMEWORKS:
        model, x = build("cnn", framework)
        found = pellucid.inside.activations(model, x)
        for layer in ("conv1", "relu#2", "head"):
            e = pellucid.explain(model, x, "activations", layer=layer)
            np.testing.assert_allclose(e.values, found[layer].values, atol=1e-6)
            assert e.parts[0].dims == found[layer].dims
            assert e.evaluations.forward == len(x)
        e = pellucid.explain(model, x, "activations")
        assert e.parameters["layer"] == "relu#2"
    with pytest.raises(CapabilityError, match="layer= names a layer"):
        pellucid.explain(*build("dense", "torch"), "activations")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"layer": "conv3"}, LayerError, "conv2"),
        ({"layer": []}, InputError, "layer's name or a list"),
        ({"layer": 3}, InputError, "layer's name or a list"),
        ({"top": 0}, InputError, "1 or more"),
        ({"by": "size"}, InputError, "variance"),
        ({"seed": -1}, InputError, "seed"),
    ],
)
def test_what_is_refused(options, error, words):
    given = {"layer": None, **options}
    if isinstance(given["layer"], int):
        given["layer"] = (3,)
    with pytest.raises(error, match=words):
        pellucid.inside.activations(*build("cnn", "torch"), **given)


def test_inputs_that_hold_nan_or_nothing_and_models_without_layers():
    model, x = build("cnn", "torch")
    bad = x.copy()
    bad[1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        pellucid.inside.activations(model, bad)
    with pytest.raises(InputError):
        pellucid.inside.activations(model, x[:0])
    with pytest.raises(CapabilityError, match="shows its layers"):
        pellucid.inside.activations(*build("cnn", "numpy"))
    with pytest.raises(CapabilityError, match="shows no layers"):
        pellucid.inside.activations(*build("cnn", "tensorflow"))


def test_layers_of_whole_numbers_are_left_out_or_refused():
    class Largest(torch.nn.Module):
        def forward(self, x):
            return x.argmax(1)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.largest = torch.nn.Linear(4, 5), Largest()

        def forward(self, x):
            h = self.hidden(x)
            return h + self.largest(h)[:, None]

    x = np.ones((2, 4), np.float32)
    found = pellucid.inside.activations(Net(), x)
    assert [m.layer for m in found] == ["hidden"]
    with pytest.raises(LayerError, match="real numbers"):
        pellucid.inside.activations(Net(), x, "largest")


def test_more_than_fits_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(sys.modules[pellucid.inside.Activations.__module__], "MOST_BYTES", 4000)
    model, x = build("cnn", "torch")
    with pytest.raises(InputError, match="top=16"):
        pellucid.inside.activations(model, x)
    assert len(pellucid.inside.activations(model, x, "head")) == 1


def test_words_and_plain_data():
    found = pellucid.inside.activations(*build("cnn", "keras"), top=2)
    assert str(found).splitlines()[1] == (
        "  conv1 (Conv2D): (5, 12, 10, 6) (sample, height, width, channel), 2 units kept"
    )
    plain = found.to_dict()
    assert plain["layers"][0]["units"] == found["conv1"].units.tolist()
    assert plain["evaluations"]["forward"] == 12
    with pytest.raises(LayerError, match="conv1"):
        found["conv"]


@pytest.mark.parametrize("name", ["cnn", "vit", "dense"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture(name, theme):
    found = pellucid.inside.activations(*build(name, "torch"), top=3, by="attribution")
    figure = found.plot(1, theme=theme, columns=4)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    for maps in found:
        assert any(t.startswith(maps.layer) for t in titles)
    figure.draw_without_rendering()
    with pytest.raises(InputError, match="counted from 0"):
        found.plot(5)
    with pytest.raises(InputError, match="'unit'"):
        found.plot(scale="all")


def test_what_is_not_there_is_said_and_numbers_on_tiles_are_explained():
    found = pellucid.inside.activations(*build("cnn", "torch"), top=2, by="attribution")
    with pytest.raises(LayerError, match=r"(There are|Among them are) "):
        found["zzz"]
    with pytest.raises(InputError, match="'light' or 'dark', got 'purple'"):
        found.plot(theme="purple")
    figure = pellucid.inside.activations(*build("cnn", "torch"), "relu", top=2).plot()
    assert figure.get_supxlabel() == "on each tile the number of the unit"
    assert figure.get_figwidth() < 7
    words = " ".join(found.plot().get_supxlabel().split())
    assert "what it adds to the score" in words


def test_models_of_scikit_learn_have_no_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    inside = pellucid.inside
    for look in (
        lambda: inside.activations(model, x), lambda: inside.statistics(model, x),
        lambda: inside.receptive_field(model, x, "a"), lambda: inside.weights(model),
    ):  # fmt: skip
        with pytest.raises(CapabilityError, match="scikit-learn have no layers") as refused:
            look()
        assert "predict function" not in str(refused.value)
