"""P9: DeepSHAP of ten classes against shap.DeepExplainer, in torch and in TensorFlow."""

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from harness import SETTLED, Case, Goal

from pellucid import wrap
from pellucid.explain import explain_each

ROWS, BACKGROUND, CLASSES = 10, 100, 10
GOAL = Goal(ratio=4)


@cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Rows and background of 28 by 28 pixels, channels last."""
    draws = np.random.default_rng(0)
    return tuple(draws.uniform(size=(n, 28, 28, 1)).astype(np.float32) for n in (ROWS, BACKGROUND))


REASON = (
    "in torch a third of the time or more goes into the backward of two convolutions, once for"
    " each class, sample and row of the background, which the peer does as well (one thread)"
)


def in_torch() -> Any:
    """Two convolutions with max-pools and two dense layers, as in shap's own example."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 20, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, CLASSES),
    ).eval()  # fmt: skip


def in_keras() -> Any:
    """The same network in Keras, with weights of its own."""
    import keras
    from keras import layers as L

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((28, 28, 1)), L.Conv2D(10, 5, activation="relu"), L.MaxPooling2D(2),
         L.Conv2D(20, 5, activation="relu"), L.MaxPooling2D(2), L.Flatten(),
         L.Dense(50, activation="relu"), L.Dense(CLASSES)]
    )  # fmt: skip


def apart(ours: np.ndarray, peer: np.ndarray) -> float:
    """The largest difference, of the largest value."""
    return float(np.abs(ours - peer).max() / np.abs(peer).max())


def _case(name: str, net: Any, x: Any, background: Any, given: Any) -> Case:
    import shap

    model, classes = wrap(net), list(range(CLASSES))

    def ours() -> np.ndarray:
        found = explain_each(model, x, "deep_shap", classes, parameters={"background": background})
        return np.stack([e.values for e in found], axis=-1)

    def peer() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(
                shap.DeepExplainer(net, given(background)).shap_values(
                    given(x), check_additivity=False
                )
            )

    return Case(
        name=f"DeepSHAP, 28² CNN, {CLASSES} classes, background {BACKGROUND}, {ROWS} rows, {name}",
        peer_name=f"shap.DeepExplainer, {name}",
        ours=ours, peer=peer, difference=apart, goal=GOAL,
        # Rules of TensorFlow are compiled the fourth time that a form and a shape are asked for.
        warm_ups=SETTLED + 4,
        reason=REASON,
    )  # fmt: skip


def p9() -> Iterator[Case]:
    """Torch first: TensorFlow loaded before it crashes."""
    import torch

    x, background = pictures()
    first = [np.moveaxis(a, -1, 1).copy() for a in (x, background)]
    yield _case("torch", in_torch(), *first, torch.from_numpy)
    yield _case("Keras on TensorFlow", in_keras(), x, background, lambda a: a)
