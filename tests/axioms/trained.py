"""Small networks that have learned something: digits by a CNN, income by an MLP."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import torch
from sklearn.datasets import load_digits
from torch import nn

ADULT = Path(__file__).parents[1] / "data" / "adult" / "adult-480.csv"
NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
WORDS = ("workclass", "marital-status", "occupation", "relationship", "sex")


class Trained(NamedTuple):
    """A network, the rows it learned from, and rows it has not seen with their classes."""

    model: nn.Module
    seen: np.ndarray
    x: np.ndarray
    classes: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of new rows that it gets right."""
        with torch.no_grad():
            found = self.model(torch.from_numpy(self.x)).argmax(1).numpy()
        return float((found == self.classes).mean())


@cache
def digits() -> Trained:
    """A CNN on 1 500 of scikit-learn's digits, 8 × 8 pixels of 0 to 1."""
    pixels, classes = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    return _fitted(net, x, classes, 1500, epochs=12, rate=3e-3)


@cache
def adult() -> Trained:
    """An MLP on 360 rows of Adult: five numbers, standardised, and five columns of words."""
    table = pandas.read_csv(ADULT)
    numbers = table[list(NUMBERS)].to_numpy(float)
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    words = pandas.get_dummies(table[list(WORDS)].fillna("?")).to_numpy(float)
    x = np.hstack([numbers, words]).astype(np.float32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(x.shape[1], 24), nn.ReLU(), nn.Linear(24, 2))
    classes = (table["income"] == ">50K").to_numpy(int)
    return _fitted(net, x, classes, 360, epochs=40, rate=3e-3)


def _fitted(
    net: nn.Module, x: np.ndarray, classes: Any, seen: int, *, epochs: int, rate: float
) -> Trained:
    optimizer = torch.optim.Adam(net.parameters(), rate)
    rows, labels = torch.from_numpy(x[:seen]), torch.from_numpy(np.asarray(classes)[:seen])
    generator = np.random.default_rng(0)
    for _ in range(epochs):
        for own in np.array_split(generator.permutation(seen), max(1, seen // 50)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(rows[own]), labels[own]).backward()
            optimizer.step()
    return Trained(net.eval(), x[:seen], x[seen:], np.asarray(classes)[seen:])
