"""ResNets in Flax (NNX and Linen) and in Equinox with random weights: every method.

Slow, but everything it needs is in the ordinary test environment.
"""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_method import check_every_method
from flax import nnx

from pellucid import wrap

pytestmark = pytest.mark.slow
WIDTHS = (16, 32, 64, 128)
"""Channels of the four stages of two blocks each: a ResNet18 a quarter as wide."""


class NnxBlock(nnx.Module):
    def __init__(self, given: int, made: int, stride: int, rngs: nnx.Rngs) -> None:
        def conv(given: int, size: int, stride: int) -> nnx.Conv:
            return nnx.Conv(given, made, (size, size), stride, use_bias=False, rngs=rngs)

        self.conv1, self.norm1 = conv(given, 3, stride), nnx.BatchNorm(made, rngs=rngs)
        self.conv2, self.norm2 = conv(made, 3, 1), nnx.BatchNorm(made, rngs=rngs)
        self.down = conv(given, 1, stride) if given != made or stride != 1 else None

    def __call__(self, x):
        h = self.norm2(self.conv2(nnx.relu(self.norm1(self.conv1(x)))))
        return nnx.relu(h + (x if self.down is None else self.down(x)))


class NnxResNet(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, WIDTHS[0], (7, 7), 2, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(WIDTHS[0], rngs=rngs)
        blocks, given = [], WIDTHS[0]
        for stage, made in enumerate(WIDTHS):
            for index in range(2):
                stride = 2 if stage and not index else 1
                blocks.append(NnxBlock(given, made, stride, rngs))
                given = made
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(given, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), "SAME")
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


class LinenBlock(nn.Module):
    made: int
    stride: int

    @nn.compact
    def __call__(self, x, train: bool = False):
        def normed(x, name: str):
            return nn.BatchNorm(use_running_average=not train, name=name)(x)

        steps = (self.stride, self.stride)
        h = nn.relu(normed(nn.Conv(self.made, (3, 3), steps, name="conv1")(x), "norm1"))
        h = normed(nn.Conv(self.made, (3, 3), name="conv2")(h), "norm2")
        if x.shape != h.shape:
            x = nn.Conv(self.made, (1, 1), steps, name="down")(x)
        return nn.relu(h + x)


class LinenResNet(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Conv(WIDTHS[0], (7, 7), (2, 2), name="stem")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for stage, made in enumerate(WIDTHS):
            for index in range(2):
                stride = 2 if stage and not index else 1
                x = LinenBlock(made, stride, name=f"block{2 * stage + index}")(x, train)
        return nn.softmax(nn.Dense(10, name="head")(x.mean(axis=(1, 2))))


class EqxBlock(eqx.Module):
    conv1: eqx.nn.Conv2d
    norm1: eqx.nn.GroupNorm
    conv2: eqx.nn.Conv2d
    norm2: eqx.nn.GroupNorm
    down: eqx.nn.Conv2d | None

    def __init__(self, given: int, made: int, stride: int, key) -> None:
        keys = jax.random.split(key, 3)
        self.conv1 = eqx.nn.Conv2d(given, made, 3, stride, 1, key=keys[0])
        self.conv2 = eqx.nn.Conv2d(made, made, 3, 1, 1, key=keys[1])
        self.norm1, self.norm2 = eqx.nn.GroupNorm(8, made), eqx.nn.GroupNorm(8, made)
        straight = given == made and stride == 1
        self.down = None if straight else eqx.nn.Conv2d(given, made, 1, stride, key=keys[2])

    def __call__(self, x):
        h = self.norm2(self.conv2(jax.nn.relu(self.norm1(self.conv1(x)))))
        return jax.nn.relu(h + (x if self.down is None else self.down(x)))


class EqxResNet(eqx.Module):
    stem: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    blocks: list[EqxBlock]
    head: eqx.nn.Linear

    def __init__(self, key) -> None:
        keys = jax.random.split(key, 10)
        self.stem = eqx.nn.Conv2d(3, WIDTHS[0], 7, 2, 3, key=keys[0])
        self.pool = eqx.nn.MaxPool2d(3, 2, 1)
        self.blocks, given = [], WIDTHS[0]
        for stage, made in enumerate(WIDTHS):
            for index in range(2):
                stride = 2 if stage and not index else 1
                self.blocks.append(EqxBlock(given, made, stride, keys[2 * stage + index + 1]))
                given = made
        self.head = eqx.nn.Linear(given, 10, key=keys[9])

    def __call__(self, x):
        x = self.pool(jax.nn.relu(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


def images(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 64, 64, 3)).astype(np.float32)


def in_nnx():
    net = NnxResNet()
    net.train()
    for _ in range(20):  # moving statistics of noise
        net(jnp.asarray(images(8, seed=2)))
    state = nnx.state(net)
    return net, images(2), "blocks/7", lambda: jax.tree.leaves(nnx.to_pure_dict(state))


def in_linen():
    module = LinenResNet()
    given = module.init(jax.random.key(0), images(1))
    for _ in range(20):
        _, moved = module.apply(given, images(8, seed=2), train=True, mutable=["batch_stats"])
        given = {**given, **moved}
    return (module.apply, given), images(2), "block7", lambda: jax.tree.leaves(given)


def in_equinox():
    net = EqxResNet(jax.random.key(0))
    x = np.ascontiguousarray(np.moveaxis(images(2), -1, 1))
    read = lambda: jax.tree.leaves(eqx.filter(net, eqx.is_array))  # noqa: E731
    return jax.vmap(net), x, "blocks/7", read


@pytest.mark.parametrize("made", [in_nnx, in_linen, in_equinox])
def test_every_method(made):
    model, x, last, read = made()
    wrapped = wrap(model)
    calls = wrapped.layers(x)
    assert len(calls) > 30
    found = check_every_method(
        wrapped, x, lambda: {str(i): np.array(a) for i, a in enumerate(read())}
    )
    chosen = wrapped.predict(x).argmax(axis=1)
    for e in found.values():
        assert e.explained == ("logit" if made is in_linen else "output"), "a softmax is taken off"
        assert (np.asarray(e.target) == chosen).all()
    e = found["gradcam"]
    assert e.parameters["layer"].startswith(last), "a part of the last block, or all of it"
    assert e.extras["grid"].shape == (2, 2, 2)
    grid = e.extras["grid"].reshape(2, -1)
    assert (grid > 0).any(axis=1).all(), "a class activation map that shows nothing"
    assert found["saliency"].values.shape == x.shape
