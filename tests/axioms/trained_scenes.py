"""Pictures whose answer lies in a known place, and small networks that have learned to give it."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from pellucid.testing import known_answer

SIDE = 16
RING = np.pad(np.zeros((2, 2), bool), 1, constant_values=True)
CROSS = np.eye(4, dtype=bool) | np.eye(4, dtype=bool)[::-1]
SHAPES = np.stack([RING, CROSS])
COLOURS = 3


class Scene(NamedTuple):
    """A network, new pictures of it, where what it answers by lies, and how often it is right."""

    model: nn.Module
    x: np.ndarray
    masks: np.ndarray
    accuracy: float


class About(nn.Module):
    """A network of a picture and a question with one question asked, a function of the picture."""

    def __init__(self, net: nn.Module, colour: int) -> None:
        super().__init__()
        self.net, self.colour = net, colour

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        question = torch.eye(COLOURS)[[self.colour]].expand(len(x), COLOURS)
        wide = question[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.net(torch.cat([x, wide], 1))


@cache
def questions() -> tuple[Scene, ...]:
    """A red, a green and a blue ring or cross: which is it that has this colour, one a question.

    After CLEVR-XAI (Arras et al. 2022, section 3): what counts is the object asked about. Theirs
    are rendered scenes, words and a relation network; here objects of 4 × 4 pixels in noise of
    16 × 16 and a CNN that sees the question as three more channels.
    """
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2 * COLOURS, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip
    x, shapes, _ = _coloured(1500, seed=0)
    asked = np.random.default_rng(2).integers(COLOURS, size=len(x))
    wide = np.eye(COLOURS, dtype=np.float32)[asked][:, :, None, None]
    both = np.concatenate([x, np.broadcast_to(wide, x.shape)], axis=1)
    fit(net, both, shapes[np.arange(len(x)), asked], steps=400)
    x, shapes, masks = _coloured(24, seed=1)
    models = [About(net, colour).eval() for colour in range(COLOURS)]
    return tuple(Scene(m, x, masks[:, c], _right(m, x, shapes[:, c])) for c, m in enumerate(models))


def _coloured(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, the shape of each colour, and where each is `(n, colours, height, width)`."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 0.3, (count, COLOURS, SIDE, SIDE))
    shapes = generator.integers(2, size=(count, COLOURS))
    masks = np.zeros(x.shape, bool)
    for picture, kinds, own in zip(x, shapes, masks, strict=True):
        for colour, cell in enumerate(generator.permutation(4)[:COLOURS]):
            row, column = 8 * np.array(divmod(int(cell), 2)) + generator.integers(5, size=2)
            inside = np.s_[colour, row : row + 4, column : column + 4]
            lit = SHAPES[kinds[colour]]
            picture[inside][lit] = generator.uniform(0.8, 1, lit.sum())
            own[inside] = True
    return x.astype(np.float32), shapes, masks


@cache
def two_labelings() -> dict[str, Scene]:
    """The same pictures, an object pasted on stripes, labelled by the object and by the stripes.

    After BAM (Yang and Kim 2019, section 4): of two networks of one form the first has to look at
    the object, the second has no reason to. Masks are the object in both.
    """
    x, objects, stripes, _ = _pasted(1200, seed=0)
    new, new_objects, new_stripes, masks = _pasted(48, seed=1)
    found = {}
    for name, labels, new_labels in (
        ("object", objects, new_objects), ("scene", stripes, new_stripes)
    ):  # fmt: skip
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 2),
        )  # fmt: skip
        fit(net, x, labels, steps=400)
        found[name] = Scene(net, new, masks, _right(net, new, new_labels))
    return found


def _pasted(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    objects, stripes = generator.integers(2, size=(2, count))
    x = generator.uniform(0, 0.2, (count, 1, SIDE, SIDE))
    masks = np.zeros((count, SIDE, SIDE), bool)
    ways = np.indices((SIDE, SIDE))
    for number, picture in enumerate(x[:, 0]):
        picture += 0.4 * ((ways[stripes[number]] + generator.integers(4)) % 4 < 2)
        row, column = generator.integers(SIDE - 3, size=2)
        inside = np.s_[row : row + 4, column : column + 4]
        picture[inside] = SHAPES[objects[number]] * generator.uniform(0.8, 1, (4, 4))
        masks[number][inside] = True
    return x.astype(np.float32), objects, stripes, masks


@cache
def stacked_digits(*, radius: float = 0.0) -> Scene:
    """A digit and a block that is the same in all pictures, one over the other: which digit?

    After BlockMNIST (Shah et al. 2021, section 4.1), of scikit-learn's digits of 8 × 8 pixels.
    With a `radius` the network is trained on the worst pictures in a ball of that size (projected
    gradients in ℓ2, five steps). Masks are the block of the digit.
    """
    pixels, classes = load_digits(return_X_y=True)
    digits = (pixels / 16).astype(np.float32).reshape(-1, 8, 8)
    null = np.pad(np.pad(np.ones((2, 2), np.float32), 1), 1, constant_values=1.0)
    null = np.pad(null, 1)
    above = np.random.default_rng(0).integers(2, size=len(digits)).astype(bool)
    x = np.stack([np.vstack([d, null] if a else [null, d])
                  for d, a in zip(digits, above, strict=True)])  # fmt: skip
    masks = np.repeat(np.stack([above, ~above], axis=1), 8, axis=1)[:, :, None]
    masks = np.broadcast_to(masks, x.shape)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    worst = None if not radius else lambda *given: _worst(net, *given, radius=radius)
    fit(net, x[:1400], classes[:1400], steps=800, rate=2e-3, change=worst)
    new = slice(1400, 1500)
    return Scene(net, x[new], masks[new], _right(net, x[1400:], classes[1400:]))


def _worst(net: nn.Module, x: torch.Tensor, y: torch.Tensor, *, radius: float) -> torch.Tensor:
    """The pictures moved where the loss rises most, within `radius`."""
    moved = torch.zeros_like(x)
    for _ in range(5):
        moved.requires_grad_(True)
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(net(x + moved), y), moved)
        step = slope / (slope.flatten(1).norm(dim=1)[:, None, None] + 1e-12)
        moved = (moved + 0.4 * radius * step).detach()
        size = moved.flatten(1).norm(dim=1)[:, None, None] + 1e-12
        moved = moved * torch.clamp(radius / size, max=1)
    return x + moved


@cache
def tetrominoes(name: str) -> Scene:
    """A network that has learned the sign of one of the problems of XAI-TRIS, not set by hand."""
    seen, new = (known_answer(name, "torch", seed=s, count=n) for s, n in ((0, 2000), (1, 40)))
    torch.manual_seed(0)
    layers = [nn.Linear(64, 2)]
    if "linear" not in name:
        layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)]
    net = nn.Sequential(nn.Flatten(), *layers)
    labels = [(p.score(np.moveaxis(p.x, 1, -1)) > 0).astype(int) for p in (seen, new)]
    fit(net, seen.x, labels[0], steps=1000, rate=5e-3)
    assert new.masks is not None
    return Scene(net, new.x, new.masks, _right(net, new.x, labels[1]))


def fit(
    net: nn.Module, x: np.ndarray, labels: Any, *, steps: int, rate: float = 3e-3,
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> None:  # fmt: skip
    """Adam on 64 rows a step; `change` makes others of them."""
    optimizer, generator = torch.optim.Adam(net.parameters(), rate), np.random.default_rng(0)
    rows, classes = torch.from_numpy(x), torch.from_numpy(np.asarray(labels))
    for _ in range(steps):
        own = torch.from_numpy(generator.integers(len(classes), size=64))
        given = rows[own] if change is None else change(rows[own], classes[own])
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(given), classes[own]).backward()
        optimizer.step()
    net.eval()


def _right(net: nn.Module, x: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        return float((net(torch.from_numpy(x)).argmax(1).numpy() == labels).mean())
