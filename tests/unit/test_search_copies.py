"""Two copies of one method are one method: no place in the list makes either of them better."""

import numpy as np
import pytest
import torch

from pellucid import Goal, explain, search, wrap
from pellucid.counting import Tally, tallied


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(6, 8, 3, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(32, 4),
    ).eval()  # fmt: skip


def data(count: int = 14) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 1, 8, 8)).astype(np.float32)


COPIED = [
    ("lrp", {}),
    ("gradcam", {}),
    ("occlusion", {"window": 2}),
    ("kernel_shap", {"budget": 80, "features": "grid:3"}),
    ("smoothgrad", {"samples": 4}),
]
"""With layers that are looked for, runs in part that are tried, and draws of a seed."""


@pytest.mark.parametrize("copied", COPIED, ids=lambda c: c[0])
@pytest.mark.parametrize("others", [(), ("layercam",)], ids=["alone", "after another"])
def test_two_copies_cost_the_same_and_none_of_them_wins(copied, others):
    goal = Goal(methods=[*others, copied, copied], metrics=["C1", "I1"])
    found = search(network(), data(), goal, batch_size=32)
    one, other = (t for t in found.trail if t.method == copied[0])
    assert one.evaluations == other.evaluations
    assert one.utility == other.utility
    if found.chosen in {one.name, other.name}:
        assert not found.winner
        assert found.verdict.startswith("No significant winner")


def test_what_a_candidate_costs_does_not_depend_on_who_comes_before():
    methods = [m for m in COPIED if m[0] != "smoothgrad"]
    costs = []
    for order in (methods, methods[::-1]):
        goal = Goal(methods=order, metrics=["I1"])
        found = search(network(), data(8), goal, batch_size=32)
        costs.append({t.name: t.evaluations for t in found.trail})
    assert costs[0] == costs[1]


@pytest.mark.parametrize("copied", COPIED, ids=lambda c: c[0])
def test_what_is_asked_of_a_model_once_is_all_that_the_first_explanation_takes_more(copied):
    model, x = wrap(network()), data(2)
    taken = []
    for _ in range(3):
        with tallied(Tally()) as tally:
            explain(model, x, copied[0], **copied[1])
        taken.append((tally.spent - tally.once, tally.once))
    assert taken[1] == taken[2]
    assert taken[0][0] == taken[1][0]
    assert taken[1][1] == 0
