"""What certifies is another imputer than the race's, and no finalist's own baseline."""

import numpy as np
import pytest
from test_search_copies import data, network

from pellucid import Goal, evaluate, explain, search
from pellucid.methods.registry import make_method
from pellucid.standard.references import own_imputer

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(12, 3)).astype(np.float32)


def linear(x):
    return np.asarray(x) @ WEIGHTS


def rows(count: int = 14) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 12)).astype(np.float32)


@pytest.mark.parametrize(
    ("method", "parameters", "expected"),
    [
        ("integrated_gradients", {"baseline": "blur"}, "blur"),
        ("integrated_gradients", {}, "zeros"),
        ("occlusion", {"baseline": 0.0}, "zeros"),
        ("occlusion", {"baseline": np.zeros((1, 8, 8))}, "zeros"),
        ("occlusion", {"baseline": 0.5}, None),
        ("kernel_shap", {}, "zeros"),
        ("kernel_shap", {"background": np.ones((3, 12))}, "dataset"),
        ("expected_gradients", {"background": np.ones((3, 12))}, "dataset"),
        ("lime", {}, None),
        ("saliency", {}, None),
    ],
)
def test_the_imputer_that_is_a_method_s_own_baseline(method, parameters, expected):
    assert own_imputer(method, make_method(method, parameters).parameters()) == expected


def test_the_front_is_certified_by_what_is_nobody_s_baseline():
    goal = Goal(
        {"credibility": 1}, methods={"occlusion": {"baseline": ["blur", "zeros"], "window": 2}},
        metrics=["C1"], budget=60000,
    )  # fmt: skip
    found = search(network(), data(), goal, batch_size=64)
    assert found.imputers == ("dataset",)
    assert found.certificate.imputers == ("mean",)
    assert found.certificate.favoured == ()


def test_a_table_is_certified_by_what_the_chosen_one_does_not_hide_with():
    def chosen(baselines, **options):
        goal = Goal({"credibility": 1}, methods={"occlusion": {"baseline": baselines}},
                    metrics=["C1"], budget=60000)  # fmt: skip
        return search(linear, rows(), goal, batch_size=64, **options)

    assert chosen(["zeros"]).certificate.imputers == ("mean",)
    assert chosen(["mean"]).certificate.imputers == ("zeros",)
    both = chosen(["mean", "zeros"])
    own = both.trial(both.chosen).parameters["baseline"]
    assert both.certificate.imputers != (own,)
    assert both.certificate.favoured
    assert both.chosen not in both.certificate.favoured
    assert any("that favours it" in remark for remark in both.remarks())


def test_where_no_other_is_given_the_certificate_and_the_remarks_say_so():
    goal = Goal({"credibility": 1}, methods=["occlusion", "constant"], metrics=["C1"])
    found = search(linear, rows(), goal, imputers=["dataset", "zeros"], batch_size=64)
    assert found.certificate.imputers == ("zeros",)
    assert found.certificate.favoured == ("occlusion",)
    assert "the own baseline of occlusion" in str(found)
    assert any("zeros certifies and is what occlusion hides" in n for n in found.remarks())
    given = search(linear, rows(), goal, imputers=["dataset", "zeros", "mean"], batch_size=64)
    assert given.certificate.imputers == ("mean",)


def test_a_scorecard_says_where_a_map_is_judged_with_its_own_baseline_alone():
    def told(imputers, method=("occlusion", {"baseline": "mean"}), standard=("C1",)):
        card = evaluate(
            linear, rows(6), [method], imputers=imputers, standard=list(standard), batch_size=64
        )
        return [r for r in card.remarks() if "its own baseline" in r]

    assert told(["mean"]) == [
        "occlusion is judged with its own baseline, mean, alone: that favours it. Give another"
        " imputer too."
    ]
    assert told(["zeros"]) == told(["mean", "zeros"]) == told(["mean"], standard=["I1"]) == []
    compared = explain(linear, rows(6), "kernel_shap", background=rows(4), budget=400)
    assert told(["dataset"], compared)
