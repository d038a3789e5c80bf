"""The pictures of embeddings and of what features like most."""

from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

import pellucid
from pellucid.demo.photos import demo_photos, load_photo
from pellucid.demo.weights import imagenet_class_names, preprocess
from pellucid.plots.style import LIGHT, new_figure, settle
from pellucid.testing.mobilenet_torch import build_mobilenet

SEEN = 1200
CLASSES = [88, 779, 963]
"""Macaw, school bus, pizza."""


@cache
def digits() -> tuple[Any, np.ndarray, np.ndarray]:
    """The network of the page, rows it has not seen, and their classes."""
    pixels, classes = load_digits(return_X_y=True)
    pictures = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(32 * 16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(6):
        for rows in torch.randperm(SEEN).split(100):
            optimizer.zero_grad()
            scores = net(torch.from_numpy(pictures)[rows])
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(classes)[rows])
            loss.backward()
            optimizer.step()
    return net.eval(), pictures[SEEN:], classes[SEEN:]


def embedded() -> Any:
    """The same t-SNE twice: by class, and as thumbnails by right and wrong."""
    net, x, classes = digits()
    found = pellucid.inside.embedding(net, x, labels=classes, how="tsne", max_iter=500)
    figure = new_figure(11.4, 4.2, LIGHT)
    left, right = figure.subplots(1, 2)
    found.plot(ax=left)
    found.plot(ax=right, colour="correct", pictures=40)
    return settle(figure)


def neighbours() -> Any:
    """A digit that is taken for another, and those the network finds most like it."""
    net, x, classes = digits()
    found = pellucid.inside.embedding(net, x, labels=classes)
    return found.plot_neighbours(int(found.rows[~found.correct][0]), k=7)


def features() -> Any:
    """Three classes of MobileNetV2, beside what the eight demo photographs reach."""
    # The network averages over positions, so it takes smaller pictures, which are faster.
    photos = np.stack([load_photo(photo.path, 128) for photo in demo_photos()])
    x = np.moveaxis(np.asarray(preprocess(photos)), -1, 1).astype(np.float32)
    model = pellucid.wrap(build_mobilenet(), class_names=imagenet_class_names())
    found = pellucid.inside.visualize_feature(
        model, target=CLASSES, data=x, value_range=(-1, 1), steps=64
    )
    return found.plot(course=True)


PICTURES = {
    "embedding-digits.png": embedded,
    "embedding-neighbours.png": neighbours,
    "features-mobilenet.jpg": features,
}
