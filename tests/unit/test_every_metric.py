"""Every metric there is: the same number in any batch, and maps that say nothing or are none."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from pellucid import evaluate, explain, register_method
from pellucid.methods.registry import unregister_method
from pellucid.standard import Scorecard, registered_metrics
from pellucid.testing import build

METRICS = sorted(registered_metrics())
ROWS = {"one": slice(4, 5), "seven": slice(1, 8), "all": slice(0, 9)}
OF_THE_CLOCK = {
    "speed": "seconds of samples that are explained one by one differ from run to run",
    "scalability": "slopes of seconds and of memory differ from run to run",
}
METHODS = [("integrated_gradients", {"steps": 8}), ("smoothgrad", {"samples": 4}),
           ("occlusion", {"window": 4, "stride": 4})]  # fmt: skip


def data(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 12, 10)).astype(np.float32)


def masks() -> np.ndarray:
    found = np.random.default_rng(2).uniform(size=(9, 12, 10)) < 0.3
    found[3] = False
    return found


@cache
def judged(rows: str) -> Scorecard:
    """The tiny CNN's explanations of these rows by every metric that no clock decides."""
    model, _ = build("cnn", "torch")
    asked = [m for m in METRICS if m not in OF_THE_CLOCK]
    return evaluate(
        model, data(9)[ROWS[rows]], METHODS, standard=asked, masks=masks()[ROWS[rows]],
        background=data(12), batch_size=16,
    )  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", ["one", "seven"])
def test_a_sample_s_score_does_not_depend_on_its_batch(metric, rows):
    if metric in OF_THE_CLOCK:
        pytest.skip(OF_THE_CLOCK[metric])
    part, whole = judged(rows), judged("all")
    for name in whole.scores:
        assert set(part.scores[name]) == set(whole.scores[name])
        for way, values in whole.scores[name].get(metric, {}).items():
            np.testing.assert_allclose(
                part.scores[name][metric][way], values[ROWS[rows]], rtol=1e-4, atol=1e-5,
                err_msg=f"{name} {way}",
            )  # fmt: skip
    assert metric in whole.scores["smoothgrad"]


def test_timed_metrics_explain_single_samples_and_leave_the_others_without_a_number():
    model, _ = build("cnn", "torch")
    card = evaluate(model, data(9)[:6], ["saliency"], standard=["speed"], batch_size=16)
    assert list(np.isnan(card.scores["saliency"]["speed"]["seconds"])) == [False] * 4 + [True] * 2
    assert "four are at most (saliency: 5 of 6)" in str(card)  # the cold start is of the first


BLANK = {
    "zeros": (0.0, "is 0 everywhere in 5 of 5 samples"),
    "flat": (1.0, "is the same everywhere in 5 of 5 samples"),
}


@pytest.fixture(scope="module")
def blank_methods():
    """Methods whose maps say nothing, so that metrics that ask again can be asked."""
    for name, (value, _) in BLANK.items():

        @register_method(name)
        def blank(model, x, target, value=value):
            return np.full(x.shape, value, np.float32)

    yield
    for name in BLANK:
        unregister_method(name)


@pytest.fixture(scope="module")
def blanks(blank_methods) -> Scorecard:
    """Maps of zeros, of ones, and one in which two samples hold NaN and infinity."""
    model, x = build("cnn", "torch")
    broken = explain(model, x, "saliency", batch_size=16)
    values = broken.values.copy()
    values[1, 0, 2, 3], values[3] = np.inf, np.nan
    parts = (replace(broken.parts[0], values=values),)
    given: dict[str, Any] = {**{n: n for n in BLANK}, "broken": replace(broken, parts=parts)}
    return evaluate(model, x, given, standard=METRICS, masks=masks()[:5], batch_size=16)


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_not_finite_has_no_score_and_the_rest_has_its_own(metric, blanks):
    model, x = build("cnn", "torch")
    if metric in OF_THE_CLOCK:
        assert metric in blanks.scores["broken"]  # a map that is none takes its time, too
        return
    card = evaluate(model, x, ["saliency"], standard=[metric], masks=masks()[:5], batch_size=16)
    for way, values in card.scores["saliency"][metric].items():
        found = blanks.scores["broken"][metric][way]
        assert np.isnan(found[[1, 3]]).all(), way
        rest = [0, 2, 4]
        np.testing.assert_allclose(found[rest], values[rest], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", list(BLANK))
def test_maps_that_say_nothing_get_a_number_within_its_limits_or_none(name, metric, blanks):
    own = blanks.metric(metric)
    ways = blanks.scores[name][metric]
    assert ways
    for way, values in ways.items():
        assert values.shape == (5,)
        known = values[~np.isnan(values)]
        assert np.isfinite(known).all(), way
        if way not in own.told:
            assert ((known >= own.limits[0]) & (known <= own.limits[1])).all(), way


def test_the_scorecard_says_why(blanks):
    text = str(blanks)
    for name, (_, words) in BLANK.items():
        assert f"{name} {words}: it orders nothing" in text
    assert (
        "broken holds values that are not finite in 2 of 5 samples: such a map has no score" in text
    )
    where = "where the map is 0 everywhere, or where a map is not finite"
    assert f"effective_fraction has no number {where} (zeros: 5 of 5, " in text
    assert "(2 without)" in text
    assert "pointing_game has no number where the mask is empty or full" in text


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_says_where_a_sample_has_no_number(metric):
    assert registered_metrics()[metric].without


def test_zeros_and_constants_never_beat_a_map_that_is_right(blanks):
    """Order alone gives them what chance gives, and correlation nothing."""
    for name in BLANK:
        for way in ("dataset", "blur"):
            np.testing.assert_array_equal(
                blanks.scores[name]["srg"][way], blanks.scores["constant"]["srg"][way]
            )
            assert (blanks.scores[name]["subset_correlation"][way] == 0).all()
        assert blanks.gates()[name]["controls"] is False


def test_a_derivative_that_is_not_finite_is_told_and_the_others_are_judged():
    import torch

    x = np.abs(np.random.default_rng(0).normal(size=(6, 5))).astype(np.float32)
    x[0, 0] = 0
    from pellucid import wrap

    model = wrap(lambda a: torch.sqrt(a).sum(1, keepdim=True), framework="torch")
    card = evaluate(model, x, ["saliency", "occlusion"], standard=["I1"])
    assert card.explanations == ("occlusion",)
    assert "saliency could not be made: saliency found NaN or infinity" in str(card)
