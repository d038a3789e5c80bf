"""Where a goal names no methods, those that are tried can run."""

import sys

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Goal, search, wrap
from pellucid.search.space import usual_space


def table(features: int = 6, count: int = 100) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, features)).astype(np.float32)


def network(features: int = 6) -> torch.nn.Module:
    torch.manual_seed(1)
    layers = torch.nn.Linear(features, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    return torch.nn.Sequential(*layers).eval()


def test_shapley_methods_take_part_with_a_hundred_rows_of_background():
    found = search(
        network(), table()[:8], Goal({"credibility": 1}, metrics=["C1"]), background=table(),
        batch_size=256,
    )  # fmt: skip
    shapley = [t for t in found.trail if t.method in {"kernel_shap", "permutation_shap"}]
    assert len(shapley) == 3
    assert all(t.samples for t in shapley)
    assert all(len(t.parameters["background"]) == 10 for t in shapley)
    assert all("background=(10, 6)" in t.name for t in shapley)
    assert any("10 of the 100 rows of the background" in r for r in found.remarks())
    assert not [t.reason for t in found.trail if "Error" in t.reason]


@pytest.mark.parametrize("features", [2, 6, 90, 500])
@pytest.mark.parametrize("count", [0, 7, 100])
def test_the_usual_budgets_hold_what_the_methods_need(features, count):
    rows = table(features, count) if count else None
    model, x = wrap(network(features), example=table(features, 2)), table(features, 2)
    for name, values in usual_space(model, "table", features, rows).space:
        for budget in values.get("budget", ()) if "shap" in name else ():
            given = values.get("background", (rows,))[0]
            own = {} if given is None else {"background": given}
            pellucid.explain(model, x[:1], name, budget=budget, **own)


def test_what_was_chosen_is_explained_again_with_the_rows_it_was_chosen_with(monkeypatch):
    monkeypatch.setattr(sys.modules["pellucid.search.space"], "FLAT", {"kernel_shap": {}})
    goal = Goal({"credibility": 1}, metrics=["C1"])
    found = search(network(), table()[:8], goal, background=table(), batch_size=256)
    assert found.chosen.startswith("kernel_shap")
    assert "pellucid.inputs.summarise(background, 10)" in found.reproduce()
    chosen = found.explainer.explain(table()[:2])
    names = {"model": network(), "x": table()[:2], "background": table()}
    exec(found.reproduce(), names)
    np.testing.assert_allclose(names["explanation"].values, chosen.values, rtol=1e-4, atol=1e-5)


def test_why_a_candidate_was_dropped_is_told_in_full():
    methods = [("kernel_shap", {"budget": 20}), "occlusion"]
    goal = Goal({"credibility": 1}, methods=methods, metrics=["C1"])
    found = search(network(), table()[:8], goal, background=table(), batch_size=64)
    reason = next(t.reason for t in found.trail if t.method == "kernel_shap")
    assert "pellucid.inputs.summarise(background, n) makes fewer rows." in reason
    assert reason in str(found)
