"""Batch invariance as a property: any data, with ties, zeros and copies, any part of the batch."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import evaluate
from pellucid.standard import Scorecard, registered_metrics

OF_THE_CLOCK = {"speed", "scalability"}
METRICS = sorted(set(registered_metrics()) - OF_THE_CLOCK)
METHODS = ["gradient_x_input", ("kernel_shap", {"budget": 20})]


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    layers = torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)
    return torch.nn.Sequential(*layers).eval()


@st.composite
def batches(draw):
    """Nine rows of five columns: plain, rounded so that values tie, with zeros or copied rows."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    x = generator.normal(size=(9, 5)).astype(np.float32)
    if draw(st.booleans()):
        x = np.round(x)
    x[draw(st.integers(0, 8))] *= draw(st.sampled_from([0.0, 1.0, 30.0]))
    x[draw(st.integers(0, 8))] = x[draw(st.integers(0, 8))]
    return x, generator.uniform(size=(9, 5)) < 0.4, draw(st.integers(0, 100))


@settings(max_examples=3, deadline=None, derandomize=True)
@given(batches(), st.integers(0, 2))
def test_any_part_of_any_batch_gets_the_scores_it_has_in_the_whole(given, start):
    x, masks, seed = given
    model = network(seed)
    background = np.random.default_rng(seed).normal(size=(12, 5)).astype(np.float32)

    def judged(rows: slice):
        return evaluate(
            model, x[rows], METHODS, standard=METRICS, masks=masks[rows], seed=seed,
            background=background, batch_size=50,
        )  # fmt: skip

    whole = judged(slice(0, 9))
    for count in (1, 7):
        rows = slice(start, start + count)
        part = judged(rows)
        for name, metric, way, values in numbers_of(whole):
            np.testing.assert_allclose(
                part.scores[name][metric][way], values[rows], rtol=1e-4, atol=1e-5,
                err_msg=f"{name} {metric} {way}, {count} rows",
            )  # fmt: skip


def numbers_of(card: Scorecard):
    """Each explanation, metric, way and its number of each sample."""
    for name, metrics in card.scores.items():
        assert set(metrics) == set(METRICS)
        for metric, ways in metrics.items():
            for way, values in ways.items():
                yield name, metric, way, values
