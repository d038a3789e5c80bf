"""Surrogate trees of every framework's models, and of what people can name in pictures."""

from types import SimpleNamespace

import numpy as np
import pytest

import pellucid
from pellucid.errors import CapabilityError, InputError
from pellucid.inside import surrogate_tree
from pellucid.plots.marks import Words
from pellucid.plots.style import LIGHT
from pellucid.plots.tree_cards import Palette, Place, _bar_labels
from pellucid.testing import build

FRAMEWORKS = ("numpy", "torch", "keras", "jax", "tensorlayer")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_tree_is_the_same_in_every_framework(framework):
    """It only runs the model, so it is that of the NumPy form."""
    peer, x = build("dense", "numpy")
    rows = np.random.default_rng(5).normal(size=(120, *x.shape[1:])).astype(np.float32)
    expected = surrogate_tree(peer, rows, target=1, max_depth=3)
    model, _ = build("dense", framework)
    found = surrogate_tree(model, rows, target=1, max_depth=3)
    for own, other in zip(found.nodes, expected.nodes, strict=True):
        assert own.questions == other.questions
        np.testing.assert_allclose(own.values, other.values, atol=1e-4)
    assert found.evaluations.forward == 120
    classes = surrogate_tree(model, rows, max_depth=3)
    assert classes.kind == "classification"
    assert set(classes.predict(rows)) <= set(classes.classes)


def pictures(count=120):
    """Pictures of which the upper left is more or less red, and all else is noise."""
    return np.random.default_rng(2).uniform(size=(count, 12, 12, 3)).astype(np.float32) ** 2


def red_corner(x):
    return x[:, :6, :6, 0].mean(axis=(1, 2))


def test_pictures_are_asked_about_the_colours_of_cells():
    x = pictures()
    model = pellucid.wrap(lambda p: np.stack([0.35 - red_corner(p), red_corner(p)], 1) * 9)
    found = surrogate_tree(model, x, features="grid:2", target=1, max_depth=4)
    assert found.columns[0] == "cell 0, 0 red"
    assert found.nodes[0].questions[0].name == "cell 0, 0 red"
    assert found.fidelity.value > 0.85
    np.testing.assert_allclose(found.read(x)[:, 0], red_corner(x), rtol=1e-5)
    assert found.nodes[0].drawn.picture.shape == (12, 12, 3)
    assert "data:image/png;base64," in found.to_svg()
    large = np.kron(x, np.ones((1, 5, 5, 1), np.float32))
    thumbnails = surrogate_tree(lambda p: red_corner(p[:, ::5, ::5]), large, features="grid:2")
    assert "data:image/jpeg;base64," in thumbnails.to_svg()
    found.plot().figure.draw_without_rendering()
    with pytest.raises(InputError, match="in its own way"):
        surrogate_tree(model, x, features="superpixels")


def test_one_picture_is_asked_which_pieces_are_there():
    """f = 2 where two pieces are there together, else 0: two questions, told right away."""
    x = np.ones((1, 12, 12, 1), dtype=np.float32)
    pieces = np.arange(12)[:, None] // 4 * 3 + np.arange(12) // 4
    both = lambda p: 2.0 * (p[:, 0, 0, 0] > 0.5) * (p[:, 11, 11, 0] > 0.5)  # noqa: E731
    model = pellucid.wrap(both)
    noise = np.random.default_rng(0).uniform(0, 0.1, size=x.shape).astype(np.float32)
    x = x - noise
    x[0, 1:4, 1:4] = x[0, 8:11, 8:11] = 0  # so that each corner's own mean is far below it
    found = surrogate_tree(model, x, features=pieces, max_depth=4)
    assert found.fidelity.value == pytest.approx(1, abs=1e-9)
    assert {q.column for n in found.nodes for q in n.questions} == {0, 8}
    assert len(found.leaves) == 3
    assert "piece 0 (top left) there" in str(found)
    assert "piece 8 (bottom right) hidden" in str(found)
    everything = np.ones((1, 9))
    assert found.predict(everything) == pytest.approx(2)
    assert found.evaluations.forward == 1 + 2**9
    assert "there" in found.to_svg()
    with pytest.raises(InputError, match="zeros and ones"):
        found.predict(x)
    with pytest.raises(InputError, match="one piece"):
        surrogate_tree(model, x, features=np.zeros((12, 12), int))


@pytest.mark.parametrize("framework", FRAMEWORKS[1:])
def test_a_layers_channels_are_concepts(framework):
    """A tree on the channels' means of a layer, of which the model's answer is made."""
    model, x = build("cnn", framework)
    shape = (60, *x.shape[1:])
    rows = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    before = pellucid.wrap(model).predict(rows[:3])
    layers = [i for i in pellucid.wrap(model).layers(rows) if i.shape and len(i.shape) == 4]
    name = layers[0].path
    found = surrogate_tree(model, rows, layer=name, target=0, max_depth=3)
    assert all(c.startswith(f"{name} ") for c in found.columns)
    value = found.read(rows)
    assert value.shape == (60, len(found.columns))
    again = surrogate_tree(model, rows, layer=name, features=[found.columns[0]], target=0)
    assert again.columns == found.columns[:1]
    np.testing.assert_array_equal(pellucid.wrap(model).predict(rows[:3]), before)


def test_a_layer_of_a_plain_function_is_refused():
    with pytest.raises(CapabilityError):
        surrogate_tree(lambda p: red_corner(p), pictures(20), layer="features")


@pytest.mark.parametrize("border", [0.2, 50, 99.8])
def test_both_ends_of_a_histogram_are_told_wherever_the_border_is(border):
    drawn = SimpleNamespace(edges=np.linspace(0, 100, 5), words=None)
    room = Place(0, 0, 100, 30)
    marks = _bar_labels(drawn, room, Palette(LIGHT, ("a", "b")), border, presence=False)
    assert [m.text for m in marks if isinstance(m, Words)] == ["0", "100"]
    under = [m.y > 30 + 11 for m in marks]
    assert under == [border < 10, border > 90]
