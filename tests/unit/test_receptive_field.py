"""Receptive fields as measured, against the closed form of stacked convolutions and pools."""

from dataclasses import replace

import equinox
import jax
import keras
import numpy as np
import pytest
import torch

import pellucid
from pellucid.errors import InputError
from pellucid.inside.preparing import with_layers
from pellucid.methods.inside.receptive import lines_seen
from pellucid.testing import build
from pellucid.testing.spy import SpyAdapter

FRAMEWORKS = ("torch", "keras", "jax", "tensorlayer")


def closed_form(stack):
    """Size, stride and middle of the first field of (kernel, stride, padding, dilation) each.

    Araujo, Norris, Sim 2019, eq. 2 and 3: r += (k − 1) j, start += ((k − 1)/2 − p) j, j *= s.
    """
    size, jump, start = 1, 1, 0.0
    for kernel, stride, padding, dilation in stack:
        reach = (kernel - 1) * dilation
        size, start = size + reach * jump, start + (reach / 2 - padding) * jump
        jump *= stride
    return size, jump, start


STACKS = [
    [(3, 1, 0, 1)],
    [(3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1)],
    [(5, 2, 2, 1), (3, 2, 1, 1), (3, 1, 1, 1)],
    [(3, 1, 1, 2), (3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1), (2, 2, 0, 1)],
    [(3, 1, 1, 1)] * 8,
]


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_stacks_of_convolutions_and_pools(stack):
    torch.manual_seed(0)
    modules, channels = [], 2
    for kernel, stride, padding, dilation in stack:
        if kernel == 2:
            modules.append(torch.nn.MaxPool2d(2))
            continue
        modules += [torch.nn.Conv2d(channels, 6, kernel, stride, padding, dilation),
                    torch.nn.ReLU()]  # fmt: skip
        channels = 6
    size, stride, start = closed_form(stack)
    length = max(30, 2 * size + 8)
    last = str(len(modules) - 1)
    model = torch.nn.Sequential(
        *modules, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 2)
    ).eval()
    x = np.random.default_rng(0).normal(size=(1, 2, length, length - 3)).astype(np.float32)
    found = pellucid.inside.receptive_field(model, x, last)
    assert found.size == (size, size)
    assert found.stride == (stride, stride)
    assert found.start == (start, start)
    assert not any(found.whole)
    middle = tuple(p // 2 for p in found.places)
    for (low, high), unit in zip(found.box(middle), middle, strict=True):
        assert (low + high) / 2 == start + stride * unit


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework(framework):
    """conv 3, pool 2, conv 3 of the tiny network: 8 rows in steps of 2."""
    model, x = build("cnn", framework)
    first = pellucid.inside.receptive_field(model, x, "conv1")
    assert (first.axes, first.size, first.stride) == (("height", "width"), (3, 3), (1, 1))
    pooled = pellucid.inside.receptive_field(model, x, "pool")
    assert (pooled.size, pooled.stride, pooled.start) == ((4, 4), (2, 2), (0.5, 0.5))
    second = pellucid.inside.receptive_field(model, x, "relu#2")
    size, stride, start = closed_form([(3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1)])
    assert (second.size, second.stride, second.start) == ((size,) * 2, (stride,) * 2, (start,) * 2)
    whole = pellucid.inside.receptive_field(model, x, "head")
    assert whole.whole == (True, True)
    assert whole.size == (12, 10)


def test_attention_sees_all_and_a_series_has_steps():
    found = pellucid.inside.receptive_field(*build("vit", "torch"), "block1.attention")
    assert found.whole == (True, True)
    patch = pellucid.inside.receptive_field(*build("vit", "torch"), "patch")
    assert (patch.size, patch.stride, patch.start) == ((2, 2), (2, 2), (0.5, 0.5))
    model = keras.Sequential(
        [
            keras.Input((40, 3)),
            keras.layers.Conv1D(4, 5, name="five"),
            keras.layers.Conv1D(4, 3, dilation_rate=2, padding="causal", name="causal"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(1, 40, 3)).astype(np.float32)
    steps = pellucid.inside.receptive_field(model, x, "causal")
    assert (steps.axes, steps.size, steps.stride) == (("step",), (9,), (1,))
    assert steps.box((10,)) == ((6, 14),)


def test_the_input_that_is_meant_and_what_is_refused():
    model, x = build("two_inputs", "torch")
    found = pellucid.inside.receptive_field(model, x, "conv")
    assert found.size == (3, 3)
    table = pellucid.inside.receptive_field(model, x, "table")
    assert np.isnan(table.size).all() or table.size == (0, 0)
    with pytest.raises(InputError, match="part=1"):
        pellucid.inside.receptive_field(model, x, "table", part=1)
    with pytest.raises(InputError, match="rows and columns"):
        pellucid.inside.receptive_field(*build("dense", "torch"), "hidden1")
    with pytest.raises(InputError, match="1 or more"):
        pellucid.inside.receptive_field(*build("cnn", "torch"), "conv1", draws=0)
    with pytest.raises(InputError, match="place within"):
        found.box((99, 0))


def test_words_data_and_the_picture():
    model, x = build("cnn", "torch")
    found = pellucid.inside.receptive_field(model, x, "relu#2", draws=2)
    assert str(found) == (
        "receptive field of relu#2: height 8 of 12, stride 2; width 8 of 10, stride 2;"
        " 18 evaluations"
    )
    assert found.to_dict()["size"] == [8.0, 8.0]
    assert found.spent == sum(found.evaluations) == 18
    axes = found.plot((3, 2))
    box = axes.patches[-1]
    assert (box.get_width(), box.get_height()) == (8, 8)


def siamese():
    """A convolution shared by two pictures, and the pictures: `right` is run first."""
    keras.utils.set_random_seed(0)
    left, right = (keras.Input((8, 8, 1), name=name) for name in ("left", "right"))
    conv = keras.layers.Conv2D(3, 3, name="conv")
    after = keras.layers.Concatenate()([conv(left), keras.layers.Conv2D(2, 3, name="own")(right)])
    scores = keras.layers.Dense(2, name="dense")(keras.layers.Flatten()(after))
    model = keras.Model([left, right], scores)
    rng = np.random.default_rng(0)
    return model, [rng.uniform(size=(2, 8, 8, 1)).astype(np.float32) for _ in range(2)]


def test_the_input_that_a_layer_depends_on_is_the_one_measured_and_drawn():
    model, x = siamese()
    for layer, part, name in (("conv", 0, "left"), ("own", 1, "right")):
        found = pellucid.inside.receptive_field(model, x, layer)
        assert (found.part, found.input_name, found.size) == (part, name, (3, 3))
        assert f"in the input {name}" in str(found)
        np.testing.assert_array_equal(found.pictures, x[part])
        other = pellucid.inside.receptive_field(model, x, layer, part=1 - part)
        assert "nothing of 8" in str(other)
        assert not other.plot().patches
    maps = pellucid.inside.activations(model, x, ["own", "dense"])
    assert maps["own"].inputs == ("right",)
    assert maps["dense"].inputs == ("left", "right")
    assert [axes.get_title(loc="left") for axes in maps.plot().axes[:2]] == [
        "input left", "input right",
    ]  # fmt: skip
    (photo, tiles) = pellucid.inside.activations(model, x, "own").plot(sample=1).axes
    assert photo.get_title(loc="left") == "input right"
    assert "of right" in tiles.get_title(loc="left")
    shown = np.asarray(photo.images[0].get_array())[..., 0].astype(float).ravel()
    assert np.corrcoef(shown, x[1][1].ravel())[0, 1] > 0.999


class Cancelling(torch.nn.Module):
    """Each place is itself; the first channel also holds a sum that is zero but for rounding."""

    def forward(self, x):
        sums = x.sum(dim=(2, 3), keepdim=True) + 1000
        near = (sums / 3 - sums / 7) * 5.25 - sums
        return torch.cat([near.expand(-1, -1, *x.shape[2:]), x + 1000], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_measured_by_the_whole_layer(dtype):
    model = torch.nn.Sequential(
        Cancelling(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(2, 2)
    )
    model = model.to(dtype).eval()
    x = torch.randn(1, 1, 9, 9, generator=torch.Generator().manual_seed(0)).to(dtype) * 1000
    found = pellucid.inside.receptive_field(model, x, "0")
    assert found.size == (1, 1)


def test_half_precision_has_its_own_rounding():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(),
                                torch.nn.Linear(4 * 49, 2)).bfloat16().eval()  # fmt: skip
    x = torch.randn(1, 1, 9, 9).bfloat16()
    assert pellucid.inside.receptive_field(model, x, "0").size == (3, 3)


def test_whole_numbers_that_are_all_the_same_are_refused():
    model = torch.nn.Sequential(
        torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(6 * 3 * 4, 2)
    ).eval()
    x = np.full((1, 6, 3), 3)
    with pytest.raises(InputError, match="two different values"):
        pellucid.inside.receptive_field(model, x, "0")
    x[0, 0, 0] = 8
    assert pellucid.inside.receptive_field(model, x, "0", draws=9).axes == ("step",)


def mobile_stack():
    """(kernel, stride) of the convolutions below the 14 x 14 maps of MobileNetV2."""
    return [(3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 1), (3, 1), (3, 2), (3, 1), (3, 1)]


def in_torch(sizes):
    torch.manual_seed(0)
    parts = []
    for i, (kernel, stride) in enumerate(sizes):
        conv = torch.nn.Conv2d(3 if i == 0 else 6, 6, kernel, stride, kernel // 2)
        parts += [conv, torch.nn.ReLU6()]
    end = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 2)]
    return torch.nn.Sequential(*parts, *end).eval(), (3, 224, 224), [str(2 * i) for i in range(10)]


def in_keras(sizes):
    keras.utils.set_random_seed(0)
    parts = [keras.Input((224, 224, 3))]
    for i, (kernel, stride) in enumerate(sizes):
        # Keras pads "same" to the right of an even side; the closed form has torch's padding.
        parts += [
            keras.layers.ZeroPadding2D(kernel // 2),
            keras.layers.Conv2D(6, kernel, stride, activation="relu6", name=f"conv{i}"),
        ]
    parts += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential(parts), (224, 224, 3), [f"conv{i}" for i in range(10)]


class InEquinox(equinox.Module):
    convs: list
    head: equinox.nn.Linear

    def __call__(self, x):
        for conv in self.convs:
            x = jax.nn.relu6(conv(x))
        return self.head(x.mean(axis=(1, 2)))


def in_jax(sizes):
    keys = iter(jax.random.split(jax.random.key(0), 11))
    convs = [
        equinox.nn.Conv2d(3 if i == 0 else 6, 6, kernel, stride, kernel // 2, key=next(keys))
        for i, (kernel, stride) in enumerate(sizes)
    ]
    model = InEquinox(convs, equinox.nn.Linear(6, 2, key=next(keys)))
    return jax.vmap(model), (3, 224, 224), [f"convs/{i}" for i in range(10)]


@pytest.mark.parametrize("made", [in_torch, in_keras, in_jax])
def test_at_224_pixels_it_takes_few_evaluations(made):
    sizes = mobile_stack()
    model, shape, names = made(sizes)
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    wrapped = pellucid.wrap(model)
    for depth in (1, 4, 7, 10):
        spy = SpyAdapter(wrapped.adapter)
        found = pellucid.inside.receptive_field(replace(wrapped, adapter=spy), x, names[depth - 1])
        size, stride, start = closed_form([(k, s, k // 2, 1) for k, s in sizes[:depth]])
        assert (found.size, found.stride, found.start) == ((size,) * 2, (stride,) * 2, (start,) * 2)
        assert found.by_gradients
        assert found.spent == sum(spy.counts) <= 40


class Odd(torch.nn.Module):
    """A part that is no window sliding evenly, between two convolutions."""

    def __init__(self, part, channels=4):
        super().__init__()
        self.before = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.part, self.after = part, torch.nn.Conv2d(channels, 3, 1)
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.after(self.part(self.before(x))).mean(dim=(2, 3)))


class Turned(torch.nn.Module):
    def forward(self, x):
        return x.flip(2)


class Untold(torch.nn.Module):
    """A neighbour is seen by rounding, for which there is no gradient."""

    def forward(self, x):
        return x + 3 * x.detach().roll(3, dims=2).round()


class Blocks(torch.nn.Module):
    """Every second place sees what its left neighbour sees."""

    def forward(self, x):
        return x[:, :, ::2].repeat_interleave(2, dim=2)


ODD = {
    "adaptive pooling": Odd(torch.nn.AdaptiveAvgPool2d((11, 9))),
    "upsampling": Odd(torch.nn.Upsample(scale_factor=2)),
    "interpolation": Odd(torch.nn.Upsample(scale_factor=1.5, mode="bilinear")),
    "transposed": Odd(torch.nn.ConvTranspose2d(4, 4, 3, 2, 1)),
    "dilated": Odd(torch.nn.Conv2d(4, 4, 3, padding=3, dilation=3)),
    "shuffled": Odd(
        torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, 2, 1), torch.nn.PixelShuffle(2)), 1
    ),
    "turned": Odd(Turned()),
    "blocks": Odd(Blocks()),
    "maxima": Odd(torch.nn.MaxPool2d(3, 2, ceil_mode=True)),
}


@pytest.mark.parametrize("name", [*ODD, "untold"])
def test_gradients_find_what_changing_each_line_finds(name):
    torch.manual_seed(1)
    model = ODD.get(name, Odd(Untold())).eval()
    x = np.random.default_rng(0).normal(size=(1, 1, 24, 20)).astype(np.float32)
    found = pellucid.inside.receptive_field(model, x, "after")
    changed = lines_seen(with_layers(model, x), "after", 0, (2, 3), ((2,), (3,)), draws=8)
    for intervals, own in zip(found.intervals, changed, strict=True):
        np.testing.assert_array_equal(intervals, own.intervals)
    assert found.by_gradients == (name != "untold")


def test_tokens_are_measured_one_by_one():
    model, x = build("vit", "torch")
    found = pellucid.inside.receptive_field(model, x, "block1.attention")
    assert found.by_gradients
    assert found.spent <= 40
