"""Judging explanations: deletion and insertion of three methods on 64 samples."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from harness import Case, Counter, Goal
from torch_parts import Counted, digits, trained

from pellucid import evaluate, explain, wrap
from pellucid.standard import Case as Judged
from pellucid.standard import metric_named
from pellucid.standard.subject import Subject

COUNT, STEPS, BATCH = 64, 16, 32
BOTH = ("deletion", "insertion")
METHODS = {
    "saliency": {},
    "smoothgrad": {"samples": 8},
    "integrated_gradients": {"steps": 16, "baseline": "mean"},
}
"""On a smooth network and another baseline than zeros: no two positions are equal, so that the
order of removal is the same in both packages."""


def p15() -> Iterator[Case]:
    """Both curves in 16 steps of zeros; the peer calls deletion of −a what we call insertion."""
    x, counter = digits()[0][-COUNT:], Counter()
    net = Counted(trained("smooth"), counter).eval()
    with torch.no_grad():
        scores = net(x).numpy()
    target, full = scores.argmax(1), scores.max(axis=1)[:, None]
    model, pictures, whole = wrap(net), x.numpy(), target.tolist()
    made = {
        name: explain(model, x, name, target=whole, **options) for name, options in METHODS.items()
    }
    signed = [sign * e.values for e in made.values() for sign in (1, -1)]
    removed = [order_of_removal(maps) for maps in signed]

    def judged() -> np.ndarray:
        card = evaluate(model, x, made, standard=list(BOTH), target=whole, imputers=["zeros"])
        return np.stack([card.scores[name][score]["zeros"] for name in made for score in BOTH])

    def alike() -> np.ndarray:
        subject = Subject(model, x, target=whole, imputers=["zeros"])
        return np.stack([
            metric_named(score).function(Judged(subject, e))["zeros"]
            for e in made.values() for score in BOTH
        ])  # fmt: skip

    def peer() -> np.ndarray:
        curves = [np.asarray(flipped(net, pictures, target, m), np.float64) for m in signed]
        return np.stack([np.trapezoid(np.hstack([full, c]), dx=1 / STEPS, axis=1) for c in curves])

    def alone() -> None:
        with torch.inference_mode():
            for order in removed:
                for k in range(1, STEPS + 1):
                    for own, steps in zip(x.split(BATCH), order.split(BATCH), strict=True):
                        net((own * (steps >= k)).contiguous(memory_format=torch.channels_last))

    for name, ours, note in (
        ("judged beside three controls", judged, "six maps are judged, the peer judges three"),
        ("the metrics alone", alike, ""),
    ):
        yield Case(
            f"deletion and insertion, 3 methods, {COUNT} samples, CNN 32², {name}",
            "quantus, all samples at once", ours, peer,
            lambda a, b: float(np.abs(a - b).max() / np.abs(b).max()), counter,
            lambda a, b, note=note: note, Goal(ratio=3), alone,
            "the peer is a loop of the same evaluations in batches of 64, so that it has little"
            " beside the model to lose",
            memory=ours is alike,
        )  # fmt: skip


def flipped(net: torch.nn.Module, x: np.ndarray, target: np.ndarray, maps: np.ndarray) -> Any:
    """The peer's curves: f(x) after each step, the largest of `maps` removed first."""
    quantus = peer_package()
    metric = quantus.PixelFlipping(
        features_in_step=x[0].size // STEPS, perturb_baseline=0.0, abs=False, normalise=False,
        disable_warnings=True, display_progressbar=False,
    )  # fmt: skip
    return metric(
        model=net, x_batch=x, y_batch=target, a_batch=maps, device="cpu", channel_first=True,
        softmax=False, batch_size=len(x),
    )  # fmt: skip


def peer_package() -> Any:
    """Quantus, which loads TensorFlow, which Triton cannot follow: after all that needs Triton."""
    import quantus

    return quantus


def order_of_removal(maps: np.ndarray) -> torch.Tensor:
    """The step in which each position goes, 0 to 15, in the pictures' shape."""
    order = np.argsort(np.argsort(-maps.reshape(len(maps), -1), axis=1), axis=1)
    steps = order * STEPS // order.shape[1]
    return torch.from_numpy(steps.reshape(maps.shape))
