"""Occlusion by runs of a part of the model: the numbers of whole runs, or whole runs."""

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import explain, wrap
from pellucid.running.partial import Partial
from pellucid.running.recorded import recorded

RNG = np.random.default_rng(0)


class Residual(nn.Module):
    """Two ways of different reach that meet again, in place where torch allows it."""

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(8),
            nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1),
        )  # fmt: skip
        self.short = nn.Conv2d(8, 8, 1, stride=stride)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        h = torch.relu(self.stem(x))
        out = self.one(h)
        out += self.short(h)
        h = torch.cat([out[:, :4], out[:, 4:].relu_()], dim=1)
        return self.head(h.mean(dim=(2, 3)))


def sequential(*layers, channels=8):
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)
    )  # fmt: skip


NETS = {
    "plain": lambda: sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 5), nn.GELU()
    ),
    "residual": Residual,
    "depthwise": lambda: sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8, padding="same"), nn.Hardswish(),
        nn.BatchNorm2d(8),
    ),
    "pooling": lambda: sequential(
        nn.Conv2d(3, 8, 3), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(2, 2, 1),
        nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(8, 8, 2),
    ),
    "strided": lambda: sequential(nn.Conv2d(3, 8, 5, stride=3, padding=2), nn.Tanh()),
    "leaving gaps": lambda: sequential(nn.Conv2d(3, 8, 2, stride=5), nn.Tanh()),
    "dilated": lambda: sequential(nn.ZeroPad2d((1, 2, 3, 0)), nn.Conv2d(3, 8, 3, dilation=3)),
    "looking everywhere": lambda: sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReflectionPad2d(2), nn.Conv2d(8, 8, 3)
    ),
    "two dense layers": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 11 * 9, 5), nn.ReLU(),
        nn.Linear(5, 4), nn.Softmax(dim=1),
    ),
}  # fmt: skip


def both(model, x, **options):
    options = {"window": 5, "stride": 4, "target": 1, "batch_size": 40} | options
    return [explain(model, x, "occlusion", incremental=how, **options) for how in (True, False)]


def agree(model, x, **options):
    part, whole = both(model, x, **options)
    assert not part.warnings
    assert part.evaluations.suffix > 0
    assert part.evaluations.forward <= 2 * len(x) + 4  # predicted, recorded, compared, baseline
    scale = np.abs(whole.values).max()
    assert scale > 1e-4
    np.testing.assert_allclose(part.values, whole.values, atol=1e-6 + 1e-5 * scale)
    assert part.score == pytest.approx(whole.score, rel=1e-5)
    return part


@pytest.mark.parametrize("name", NETS)
def test_the_numbers_are_those_of_whole_runs(name):
    torch.manual_seed(1)
    net = NETS[name]().eval()
    agree(net, torch.rand(2, 3, 23, 20, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("window", [1, (2, 7), 11, 20])
def test_windows_of_any_size(window):
    torch.manual_seed(2)
    x = torch.rand(1, 3, 23, 20, generator=torch.Generator().manual_seed(0))
    stride = window if window != 1 else 1
    agree(Residual().eval(), x, window=window, stride=stride, baseline="mean")


def test_series_and_volumes():
    torch.manual_seed(3)
    series = nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 8, 3),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    agree(series, torch.rand(1, 2, 41, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_other_frameworks(backend):
    """Channels last, padding of SAME, and what each framework makes of an activation."""
    model = {"tensorflow": keras_net, "jax": jax_net}[backend]()
    agree(model, RNG.random((1, 23, 20, 3)).astype(np.float32), stride=5)


def keras_net():
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend here")
    layers = keras.layers
    keras.utils.set_random_seed(0)
    given = keras.Input((23, 20, 3))
    h = layers.Conv2D(8, 3, strides=2, padding="same")(layers.ZeroPadding2D(1)(given))
    h = short = layers.ReLU(6.0)(layers.BatchNormalization()(h))
    h = layers.MaxPool2D(3, 1, padding="same")(layers.DepthwiseConv2D(3, padding="same")(h))
    h = layers.AveragePooling2D(2)(layers.Add()([h, short]))
    h = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(h))
    return keras.Model(given, h)


def jax_net():
    jax = pytest.importorskip("jax")
    weights = [RNG.normal(size=s).astype(np.float32) / 5 for s in ((3, 3, 3, 8), (8,), (8, 4))]

    def net(x):
        h = jax.lax.conv_general_dilated(
            x, weights[0], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        h = jax.nn.gelu(h + weights[1])
        h = jax.lax.reduce_window(h, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
        return jax.nn.relu(h).mean(axis=(1, 2)) @ weights[2]

    return wrap(net, framework="jax")


class Odd(nn.Module):
    """Ways of working that runs in part cannot follow."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.conv, self.head = way, nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        h = self.conv(x)
        if self.way == "by hand":
            h = torch.from_numpy(np.maximum(h.detach().numpy(), 0))
        elif self.way == "a branch":
            h = h.relu() if float(h[:, :, :4, :4].mean()) > self.bound else h.abs()
        elif self.way == "written into":
            h[:, :, 3:9] = 0.5
        elif self.way == "added to":
            h += 1.5
        elif self.way == "moved":
            h[:, :, 0:5] = h[:, :, 5:10].clone()
        elif self.way == "clamped":
            h[h < 0] = 0
        elif self.way == "across rows":
            h = (
                h.transpose(0, 1)
                .reshape(8, -1)
                .softmax(dim=0)
                .reshape(8, len(x), -1, x.shape[-1] - 2)
            )
            h = h.transpose(0, 1)
        return self.head(h.mean(dim=(2, 3)))

    bound = 0.0


@pytest.mark.parametrize("way", ["by hand", "a branch", "across rows"])
def test_what_cannot_be_followed_is_run_whole(way):
    torch.manual_seed(5)
    net = Odd(way).eval()
    x = torch.rand(1, 3, 23, 20, generator=torch.Generator().manual_seed(0))
    if way == "a branch":  # the sample takes one way, the copies covered in that corner the other
        with torch.no_grad():
            Odd.bound = float(net.conv(x)[:, :, :4, :4].mean()) - 1e-4
    for _ in range(2):  # the second time by what was found out the first time
        part, whole = both(net, x, batch_size=1)
        np.testing.assert_array_equal(part.values, whole.values)
        if not part.evaluations.suffix:
            assert "No incremental inference" in part.warnings[0]


@pytest.mark.parametrize("way", ["written into", "added to", "moved", "clamped"])
def test_writes_into_a_tensor_are_followed_up_to_them(way):
    torch.manual_seed(5)
    net = Odd(way).eval()
    x = torch.rand(1, 3, 23, 20, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        agree(net, x, batch_size=1)


def test_comparisons_are_followed_too():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)

        def forward(self, x):
            h = self.conv(x)
            return self.head((h * (h > 0)).mean(dim=(2, 3)))

    torch.manual_seed(6)
    agree(Gated().eval(), torch.rand(1, 3, 23, 20, generator=torch.Generator().manual_seed(0)))


def test_a_halo_one_place_short_would_be_seen(monkeypatch):
    """The comparison with whole runs is what falls back, so it has to see small mistakes."""
    from pellucid.running import partial

    right = partial.reached
    monkeypatch.setattr(
        partial,
        "reached",
        lambda boxes, sliding, shape: _shorter(right(boxes, sliding, shape)),
    )
    torch.manual_seed(1)
    x = torch.rand(1, 3, 23, 20, generator=torch.Generator().manual_seed(0))
    part, whole = both(NETS["plain"]().eval(), x)
    assert "differed from a whole one" in part.warnings[0]
    np.testing.assert_allclose(part.values, whole.values, atol=1e-6)


def _shorter(boxes):
    from dataclasses import replace

    return replace(boxes, size=(boxes.size[0] - 1, boxes.size[1]))


def test_small_inputs_are_run_whole_and_large_ones_in_part():
    torch.manual_seed(1)
    net = NETS["plain"]().eval()
    small = explain(net, torch.rand(1, 3, 23, 20), "occlusion", target=1)
    assert small.evaluations.suffix == 0
    big = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    options = {"target": 1, "window": 8, "stride": 8}
    model = wrap(net)
    first = explain(model, big, "occlusion", **options)
    again = explain(model, big, "occlusion", **options)
    assert first.evaluations == (1 + 1 + 3 + 1, 0, 144)  # predicted, recorded, compared, baseline
    assert again.evaluations == (3, 0, 144)
    assert "incremental inference" in " ".join(again.provenance["notes"])
    np.testing.assert_array_equal(first.values, again.values)
    within = explain(model, big, "occlusion", budget=146, **options)
    assert within.evaluations.forward == 146
    np.testing.assert_allclose(within.values, first.values, atol=1e-6)


def test_a_part_that_costs_little_says_so():
    """The share that is computed is that of the reach: a box of 8 and its halo, of 96 x 96."""
    torch.manual_seed(1)
    adapter = wrap(NETS["plain"]().eval()).adapter
    x = adapter.accept(torch.rand(1, 3, 96, 96))
    found = recorded(adapter, lambda given, see: adapter.run(given, intercept=see), x)
    starts = np.array([[0, 0], [40, 40], [88, 88]])
    run = Partial(adapter, found, 0, (2, 3), starts, (8, 8))
    convolutions = 27 * 8 * 96**2, 200 * 8 * 92**2
    ours = 27 * 8 * 10**2, 200 * 8 * 14**2
    assert run.share == pytest.approx(sum(ours) / sum(convolutions), rel=0.2)
    assert run.cost == pytest.approx(sum(convolutions), rel=0.2)


def test_memory_running_out_falls_back_to_whole_runs():
    torch.manual_seed(1)
    net, x = NETS["plain"]().eval(), torch.rand(1, 3, 23, 20)

    class Short(nn.Module):
        """Has no room for more than 12 rows at once."""

        def forward(self, z):
            return net(_room(z))

    def _room(z):
        if len(z) > 12:
            raise MemoryError
        return z

    part, whole = both(Short().eval(), x, batch_size="auto")
    np.testing.assert_allclose(part.values, whole.values, atol=1e-6)
