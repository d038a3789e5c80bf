"""Speed's parts, the controls by name, C7's second reading, and how they are drawn and written."""

import time

import numpy as np
import pytest

from pellucid import evaluate, register_method
from pellucid.methods.registry import unregister_method
from pellucid.standard import metric_named
from pellucid.standard.metric import metrics_named
from pellucid.testing import build

WEIGHTS = np.linspace(-1, 1, 12)
X = np.random.default_rng(0).uniform(0.5, 1.5, size=(9, 12))


def linear(rows):
    return np.asarray(rows) @ WEIGHTS


@pytest.fixture
def slow_at_first():
    """A method that takes 0.3 s the first time, and 10 ms a sample from then on."""
    called = []

    @register_method("slow_at_first")
    def slow(model, x, target):
        time.sleep(0.01 * len(x) + 0.3 * (not called))
        called.append(1)
        return np.asarray(x) * WEIGHTS

    yield "slow_at_first"
    unregister_method("slow_at_first")


def test_speed_has_percentile_throughput_and_the_true_first_time(slow_at_first):
    card = evaluate(linear, X, [slow_at_first], standard=["V1"])
    ways = {way: values[0] for way, values in card.scores[slow_at_first]["speed"].items()}
    assert list(ways) == ["seconds", "p95", "forwards", "throughput", "cold"]
    assert ways["cold"] > 0.3
    assert 0.01 <= ways["seconds"] <= ways["p95"] < 0.3
    assert 3 < ways["throughput"] <= 100
    better = {row["way"]: row["better"] for row in card.table()}
    assert better == {"seconds": "lower", "p95": "", "forwards": "lower", "throughput": "higher",
                      "cold": ""}  # fmt: skip


def test_the_controls_are_asked_for_by_their_identifier():
    card = evaluate(linear, X, {"exact": X * WEIGHTS}, standard=["C8"], imputers=["zeros"])
    assert [m.identifier for m in card.metrics] == ["C1", "C2"]
    assert card.gates()["exact"]["controls"] is True
    assert metrics_named(["C8", "C1"]) == metrics_named(["controls"])


def test_the_second_reading_of_parameter_dependence_is_no_part_of_the_gate():
    model, x = build("dense", "torch")
    card = evaluate(model, x, ["saliency"], standard=["C7"])
    ways = card.scores["saliency"]["parameter_dependence"]
    assert list(ways) == ["", "complexity_rise"]
    assert np.isfinite(ways["complexity_rise"]).any()
    median = np.median(ways[""])
    assert card.gates()["saliency"]["parameter_dependence"] == (median <= 0.2)
    assert metric_named("C7").cost == "2 explanations"


def test_a_panel_that_would_be_empty_is_not_drawn():
    card = evaluate(linear, X, ["occlusion"], standard=["I1", "I3"])
    titles = [a.get_title(loc="left") for a in card.plot().axes if a.axison]
    assert any("effective_fraction" in t for t in titles)
    assert not any("class_contrast" in t for t in titles)


def test_what_is_told_has_no_better_way_and_rounding_is_written_as_nothing():
    card = evaluate(linear, X, ["occlusion"], standard=["C3", "C5"])
    assert "input_stability (kept)  " in str(card)
    assert "input_stability (mean) ↓" in str(card)
    assert card.summary("occlusion", "C3").median < 1  # the gradient's own map would be 0
    exact = evaluate(linear, X, {"gradient": np.tile(WEIGHTS, (9, 1))}, standard=["C3"])
    assert 0 <= exact.summary("gradient", "C3").median < 1e-9
    assert "e-1" not in exact.to_html().split("<tbody>")[1].split("</tbody>")[0]
