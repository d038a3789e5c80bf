"""Feature visualisation: inputs whose optimum is known, adjoints, the frameworks, what is kept."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from torch import nn

import pellucid
from pellucid.errors import CapabilityError, InputError, LayerError, TargetError
from pellucid.explaining.preparing import prepare
from pellucid.inside import visualize_feature
from pellucid.methods.inside.objectives import at_units
from pellucid.methods.inside.parametrisation import (
    Ball,
    Fourier,
    Phases,
    Pixels,
    Range,
    mean_magnitude,
)
from pellucid.methods.inside.penalties import Penalties
from pellucid.methods.inside.transformations import Transformations
from pellucid.testing import build
from pellucid.testing.spy import SpyAdapter

rng = np.random.default_rng(8)
UNIT = Range(np.asarray(-1.0), np.asarray(2.0))
STILL = {"jitter": 0, "scale": 0.0, "rotate": 0.0, "pad": 0}


def linear(weight):
    model = nn.Linear(len(weight), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.array([weight])))
    return model


def test_in_a_ball_a_linear_model_likes_its_weights_direction_most():
    weight = np.array([3.0, -1.0, 0.5, 0.0])
    found = visualize_feature(linear(weight), shape=(4,), norm=2.0, steps=400)
    expected = 2 * weight / np.linalg.norm(weight)
    np.testing.assert_allclose(found.images[0], expected, atol=5e-3)
    assert found.reached[0] == pytest.approx(2 * np.linalg.norm(weight), rel=1e-4)
    # In another unit of the score it is the same input.
    other = visualize_feature(linear(1e-3 * weight), shape=(4,), norm=2.0, steps=400)
    np.testing.assert_allclose(other.images, found.images, atol=1e-4)


def test_penalties_and_ranges_hold_a_linear_model_where_they_should():
    weight = np.array([0.8, -0.4, 0.2])
    held = visualize_feature(linear(weight), shape=(3,), l2=0.25, steps=300)
    np.testing.assert_allclose(held.images[0], weight / 0.5, atol=2e-3)
    boxed = visualize_feature(
        linear(weight), shape=(3,), value_range=([0, 0, -2], [1, 3, 2]), steps=300, rate=0.3
    )
    np.testing.assert_allclose(boxed.images[0], [1, 0, 2], atol=0.02)


def test_a_hand_set_filter_sees_itself():
    kernel = np.array([[1.0, -1, 0.5], [2, -0.5, -1], [1, 1, -2]], dtype=np.float32)
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(kernel)[None, None])
    found = visualize_feature(
        model, layer="0", unit=(0, 2, 3), shape=(1, 7, 8), value_range=(0, 1),
        parametrisation="pixels", steps=120, rate=0.3,
    )  # fmt: skip
    image = found.images[0, 0]
    np.testing.assert_allclose(image[2:5, 3:6], kernel > 0, atol=0.02)
    outside = np.ones_like(image, dtype=bool)
    outside[2:5, 3:6] = False
    np.testing.assert_allclose(image[outside], 0.5, atol=0.02)
    assert found.reached[0] == pytest.approx(kernel[kernel > 0].sum(), abs=0.1)
    channel = visualize_feature(model, layer="1", unit=0, shape=(1, 9, 9), value_range=(0, 1),
                                steps=60)  # fmt: skip
    assert channel.parametrisation == "fourier"
    assert channel.reached[0] > 1.3 > channel.course[0, 0]
    direction = visualize_feature(model, layer="1", direction=[2.0], shape=(1, 9, 9),
                                  value_range=(0, 1), steps=60)  # fmt: skip
    np.testing.assert_allclose(direction.reached, 2 * channel.reached, rtol=1e-4)


@pytest.mark.parametrize("space", [(7,), (8,), (5, 6), (6, 5), (3, 4, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_way_back_is_the_transpose_of_the_way_there(space, channels):
    shape = (2, *space, channels)
    magnitude = mean_magnitude(rng.normal(size=(4, *space, channels)))
    for own in (
        Pixels(shape, UNIT), Pixels(shape, None), Ball(shape, 0.05), Ball(shape, 50.0),
        Fourier(shape, UNIT), Phases(shape, magnitude, None), Phases(shape, magnitude, UNIT),
    ):  # fmt: skip
        parameters = own.start(rng)
        direction, gradient = rng.normal(size=parameters.shape), rng.normal(size=shape)
        if isinstance(own, Phases):  # the mean is kept
            direction[(slice(None), *(0,) * len(space))] = 0.0
        step = 1e-6
        moved = own.images(parameters + step * direction) - own.images(
            parameters - step * direction
        )
        there = (moved / (2 * step) * gradient).sum()
        back = (direction * own.pullback(parameters, gradient)).sum()
        assert back == pytest.approx(there, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("space", [(9,), (6, 8), (4, 5, 3)])
def test_movements_are_linear_and_their_way_back_is_the_transpose(space):
    images, gradient = (rng.normal(size=(2, *space, 3)) for _ in range(2))
    moves = Transformations(jitter=2, scale=0.2, rotate=20.0, pad=1)
    moved = moves.at(3, 5, space)
    there = (moved.apply(images, np.zeros(())) * gradient).sum()
    assert (images * moved.pullback(gradient)).sum() == pytest.approx(there)
    again = moves.at(3, 5, space).apply(images, np.asarray(0.5))
    assert np.array_equal(moved.apply(images, np.asarray(0.5)), again)
    assert not np.array_equal(moves.at(4, 5, space).apply(images, np.asarray(0.5)), again)
    flat = np.full_like(images, 0.5)
    np.testing.assert_allclose(moved.apply(flat, np.asarray(0.5)), 0.5)
    assert Transformations().at(0, 0, space) is None


def test_jitter_alone_is_a_shift():
    image = rng.normal(size=(1, 8, 8, 1))
    offset = np.random.default_rng([5, 62, 3]).integers(-2, 3, size=2)
    moved = Transformations(jitter=2).at(3, 5, (8, 8)).apply(image, np.zeros(()))
    expected = np.pad(image[0, :, :, 0], 2)[
        2 + offset[0] : 10 + offset[0], 2 + offset[1] : 10 + offset[1]
    ]
    np.testing.assert_allclose(moved[0, :, :, 0], expected, atol=1e-12)


def test_penalties_are_differentiated_right():
    images, direction = (rng.normal(size=(2, 4, 5, 3)) for _ in range(2))
    own = Penalties(total_variation=0.3, l2=0.2, l1=0.7)
    middle = np.asarray(0.1)
    value, gradient = own.of(images, middle)
    offset = images - 0.1
    expected = 0.2 * offset**2 + 0.7 * np.abs(offset)
    rough = np.abs(np.diff(images, axis=1)).sum(axis=(1, 2, 3))
    rough += np.abs(np.diff(images, axis=2)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(value, expected.sum(axis=(1, 2, 3)) + 0.3 * rough, rtol=1e-3)
    step = 1e-7
    rise = (
        own.of(images + step * direction, middle)[0] - own.of(images - step * direction, middle)[0]
    )
    np.testing.assert_allclose(rise / (2 * step), (gradient * direction).sum(axis=(1, 2, 3)),
                               rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"target": [0, 2], "parametrisation": "fourier"},
        {"target": (2, 0), "parametrisation": "maco"},
        {"layer": "conv2", "unit": [1, (2, 3, 1)], "parametrisation": "fourier"},
        {"layer": "conv2", "direction": np.arange(8.0) - 3, "parametrisation": "pixels"},
    ],
    ids=["classes", "a pair, maco", "a channel and a neuron", "a direction"],
)
def test_the_frameworks_make_the_same_image(options):
    moves = {"jitter": 1, "scale": 0.1, "rotate": 10.0, "pad": 1, "total_variation": 1e-3}
    expected = None
    frameworks = ["torch", "keras", "jax", "tensorlayer"] + ["tensorflow"] * ("target" in options)
    for framework in frameworks:
        model, x = build("cnn", framework)
        found = visualize_feature(model, data=x, steps=20, seed=2, **moves, **options)
        images = np.moveaxis(found.images, 1, -1) if framework == "torch" else found.images
        expected = images if expected is None else expected
        np.testing.assert_allclose(images, expected, atol=1e-4, err_msg=framework)
        assert found.reached.min() > found.course[:, 0].max() or len(found) > 1


def test_the_seed_decides_and_several_are_as_alone():
    model, x = build("cnn", "torch")
    options = {"data": x, "steps": 6, "jitter": 1, "batch_size": 2}
    first = visualize_feature(model, target=[0, 1, 2], seed=3, **options)
    again = visualize_feature(model, target=[0, 1, 2], seed=3, **options)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, visualize_feature(
        model, target=[0, 1, 2], seed=4, **options).images)  # fmt: skip
    alone = visualize_feature(model, target=2, seed=3, **options)
    np.testing.assert_allclose(alone.images[0], first.images[2], atol=1e-5)
    assert json.loads(json.dumps(first.to_dict()))["names"] == ["class 0", "class 1", "class 2"]


def test_what_real_inputs_reach_is_measured():
    model, x = build("cnn", "torch")
    logits = model(torch.from_numpy(x)).detach().numpy()
    found = visualize_feature(model, target=[0, 2], data=x, steps=60)
    np.testing.assert_allclose(found.best, logits.max(axis=0)[[0, 2]], rtol=1e-5)
    assert found.best_row.tolist() == logits.argmax(axis=0)[[0, 2]].tolist()
    assert "a real input reaches" in str(found)
    assert (found.reached > found.course[:, 0]).all()
    low, high = x.min(axis=(0, 2, 3)), x.max(axis=(0, 2, 3))
    assert (found.images.min(axis=(0, 2, 3)) >= low - 1e-6).all()
    assert (found.images.max(axis=(0, 2, 3)) <= high + 1e-6).all()


def test_maco_keeps_the_spectrum_of_real_pictures():
    model, x = build("cnn", "torch")
    found = visualize_feature(
        model, target=1, data=x, parametrisation="maco", value_range=(-50, 50), steps=10
    )

    def strength(pictures):
        return np.abs(np.fft.rfft2(pictures.astype(np.float64), axes=(2, 3)))

    # The last column of an even side counts its real part only, whatever its phase.
    kept = strength(found.images)[0, :, :, 1:-1]
    np.testing.assert_allclose(kept, strength(x).mean(axis=0)[:, :, 1:-1], rtol=1e-4)
    np.testing.assert_allclose(found.images.mean(axis=(2, 3))[0], x.mean(axis=(0, 2, 3)), atol=1e-5)


def test_series_tables_and_functions_of_the_outputs():
    torch.manual_seed(0)  # some draws of the weights are dead at the middle of the range
    series = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    x = rng.normal(size=(6, 2, 8)).astype(np.float32)
    for kind in ("auto", "fourier", "maco"):
        found = visualize_feature(series, target=0, data=x, parametrisation=kind, steps=30)
        assert found.images.shape == (1, 2, 8)
        assert found.reached[0] > found.course[0, 0]
        assert isinstance(found.plot(course=True), Figure)
    dense, rows = build("dense", "torch")
    found = visualize_feature(dense, target=lambda out: out[:, 0] - out[:, 1], data=rows, steps=40)
    assert found.parametrisation == "pixels"
    assert found.reached[0] > found.course[0, 0]
    assert isinstance(found.plot(), Figure)
    hidden = visualize_feature(dense, layer="hidden2", unit=range(3), data=rows, steps=5)
    assert hidden.names == ("hidden2 0", "hidden2 1", "hidden2 2")


def test_nothing_of_the_model_changes_and_every_run_counts():
    model, x = build("cnn", "torch")
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.random.get_rng_state()
    wrapped = pellucid.wrap(model)
    for options in ({"target": [0, 1]}, {"layer": "conv2", "unit": [0, 3]}):
        spy = SpyAdapter(wrapped.adapter)
        found = visualize_feature(replace(wrapped, adapter=spy), data=x, steps=3, **options)
        assert tuple(found.evaluations) == tuple(spy.counts)
        assert found.evaluations.backward == 6
    with pytest.raises(TargetError):
        visualize_feature(model, data=x, steps=3, target=lambda out: out[:, 99])
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_dead_unit_says_so():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-100.0, 1.0]))
    found = visualize_feature(model, layer="1", unit=[0, 1], shape=(3,), norm=1.0, steps=3)
    assert len(found.warnings) == 1
    assert "1 0 does not react" in found.warnings[0]
    assert found.warnings[0] in str(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "3 outputs: name the one"),
        ({"target": []}, "one class or more"),
        ({"unit": 1}, "name it"),
        ({"layer": "conv2"}, "unit= or direction="),
        ({"layer": "conv2", "unit": 1, "target": 0}, "no target"),
        ({"layer": "conv2", "unit": 8}, "0 to 7"),
        ({"layer": "conv2", "unit": (1, 2)}, "0 to 7"),
        ({"layer": "conv2", "direction": [1.0, 2.0]}, "8 finite numbers"),
        ({"layer": "conv2", "direction": np.zeros(8)}, "nowhere"),
        ({"target": 0, "value_range": (1, 0)}, "low < high"),
        ({"target": 0, "value_range": 3}, "a pair"),
        ({"target": 0, "value_range": None}, "value_range="),
        ({"target": 0, "parametrisation": "wavelets"}, "one of"),
        ({"target": 0, "parametrisation": "maco"}, "data="),
        ({"target": 0, "norm": 1.0}, "pixels"),
        ({"target": 0, "steps": 0}, "steps"),
        ({"target": 0, "rate": 0.0}, "rate"),
        ({"target": 0, "jitter": -1}, "jitter"),
        ({"target": 0, "scale": 1.0}, "share"),
        ({"target": 0, "shape": None}, "does not say the shape"),
        ({"target": 0, "parametrisation": "pixels", "value_range": None}, "finite"),
    ],
)
def test_what_is_refused(options, message):
    model, _ = build("cnn", "torch")
    given = {"shape": (3, 12, 10), "value_range": (0, 1), "steps": 2} | options
    with pytest.raises(InputError, match=message):
        visualize_feature(model, **given)


def test_who_cannot_be_asked():
    table = rng.normal(size=(20, 2))
    forest = LogisticRegression().fit(table, table[:, 0] > 0)
    with pytest.raises(CapabilityError, match="follows gradients"):
        visualize_feature(forest, data=table)
    cnn, x = build("cnn", "torch")
    with pytest.raises(LayerError, match="conv2"):
        visualize_feature(cnn, layer="conv22", unit=0, data=x)
    with pytest.raises(TargetError):
        visualize_feature(cnn, target=7, data=x)
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(CapabilityError, match="no gradient"):
        visualize_feature(words, target=0, data=np.array([[1, 2, 3], [4, 5, 6]]), norm=1.0)


@pytest.mark.parametrize("framework", ["torch", "keras", "jax"])
@pytest.mark.parametrize("options", [{"target": [0, 2]}, {"layer": "conv", "unit": [0, 3]}])
def test_of_several_inputs_one_is_made_beside_the_others(framework, options):
    model, given = build("two_inputs", framework)
    wrapped = pellucid.wrap(model)
    batch = wrapped.accept(given)
    for part, name in enumerate(batch.names):
        if "layer" in options and batch.arrays[part].ndim < 4:
            continue
        found = visualize_feature(model, data=given, input=name, steps=12, seed=1, **options)
        assert (found.input_name, found.images.shape[1:]) == (name, batch.arrays[part].shape[1:])
        assert (found.reached > found.course[:, 0]).all()
        assert name in str(found)
        assert isinstance(found.plot(course=True), Figure)
        # What it reaches is what the model returns of it beside the first row's other input.
        rows = [np.repeat(a[:1], 2, axis=0) for a in batch.arrays]
        rows[part] = found.images
        if "target" in options:
            logits = wrapped.predict(wrapped.adapter.restore(rows))
            np.testing.assert_allclose(logits[[0, 1], [0, 2]], found.reached, rtol=1e-4)
        # The same, with the others said.
        one = wrapped.adapter.restore([a[:1] for a in batch.arrays])
        again = visualize_feature(
            model, data=given, held=one, input=part, steps=12, seed=1, **options
        )
        np.testing.assert_array_equal(again.images, found.images)
        other = wrapped.adapter.restore([a[1:2] for a in batch.arrays])
        apart = visualize_feature(
            model, held=other, input=part, steps=12, seed=1, value_range=(-1, 1), **options
        )
        assert apart.best is None
    with pytest.raises(InputError, match="2 inputs: name the one to make"):
        visualize_feature(model, data=given, **options)
    with pytest.raises(InputError, match="no input 'sound'"):
        visualize_feature(model, data=given, input="sound", **options)
    with pytest.raises(InputError, match="one sample"):
        visualize_feature(model, held=given, input=0, **options)


def test_frameworks_agree_on_one_of_several_inputs():
    expected = None
    for framework in ("torch", "keras", "jax", "tensorlayer"):
        model, given = build("two_inputs", framework)
        images = visualize_feature(model, target=1, data=given, input=0, steps=10).images
        images = np.moveaxis(images, 1, -1) if framework == "torch" else images
        expected = images if expected is None else expected
        np.testing.assert_allclose(images, expected, atol=1e-4, err_msg=framework)


def test_the_lines_of_a_course_are_named():
    model, x = build("cnn", "torch")
    wrapped = pellucid.wrap(model, class_names=["a cat", "$dog$", "a bird"])
    found = visualize_feature(wrapped, target=[0, 1], data=x, steps=3)
    legend = found.plot(course=True).axes[2].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a cat", "$dog$"]


def test_pictures_are_drawn_in_the_models_range():
    model, x = build("cnn", "torch")
    found = visualize_feature(model, target=[0, 1], data=x, value_range=(-4, 4), steps=3)
    assert found.pictures.shape == (2, 12, 10, 3)
    middle = np.moveaxis(found.images, 1, -1) / 8 + 0.5
    np.testing.assert_allclose(found.pictures, middle, atol=1e-6)
    for options in ({"course": True}, {"transparent": True, "theme": "dark"}, {"max_items": 1}):
        assert isinstance(found.plot(**options), Figure)


@pytest.mark.slow
def test_a_class_of_mobilenet_is_raised_above_every_photograph():
    from pellucid.demo.photos import demo_photos, load_photo
    from pellucid.demo.weights import preprocess
    from pellucid.testing.mobilenet_torch import build_mobilenet

    def shown(size):
        photos = np.stack([load_photo(p.path, size) for p in demo_photos()])
        return np.moveaxis(np.asarray(preprocess(photos)), -1, 1).astype(np.float32)

    model = pellucid.wrap(build_mobilenet())
    found = visualize_feature(
        model, target=[88, 779], data=shown(128), value_range=(-1, 1), steps=48
    )
    assert (found.reached > found.best).all(), str(found)
    # Of whole photographs, which the network was trained on, too.
    whole = pellucid.inside.embedding(model, shown(224), "output").vectors[:, [88, 779]]
    assert (found.reached > whole.max(axis=0)).all(), (str(found), whole.max(axis=0))


def test_an_objective_holds_no_copy_of_a_layer_and_reads_what_it_names():
    model = nn.Sequential(nn.Conv2d(1, 64, 1), nn.Flatten())
    x = np.random.default_rng(0).normal(size=(2, 1, 64, 64)).astype(np.float32)
    task = prepare(model, x, 0)
    tracemalloc.start()
    try:
        found = at_units(task, "0", [*range(64), (3, 5, 7)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8e6  # 65 × the layer's output are 68 MB
    with torch.no_grad():
        value = model[0](torch.from_numpy(x)).numpy()
    expected = np.concatenate([value.mean((2, 3)), value[:, 3, 5, 7][:, None]], axis=1)
    np.testing.assert_allclose(found.each(task.x), expected, rtol=1e-4, atol=1e-6)
    reached, slope = found.gradient(task.x, np.array([2, 64]))
    np.testing.assert_allclose(reached, expected[[0, 1], [2, 64]], rtol=1e-4, atol=1e-6)
    own = model[0].weight.detach().numpy()[:, 0, 0, 0]
    (slope,) = slope
    np.testing.assert_allclose(slope[0, 0], own[2] / 64**2, rtol=1e-4)
    assert slope[1, 0, 5, 7] == pytest.approx(own[3])
    assert np.count_nonzero(slope[1]) == 1
