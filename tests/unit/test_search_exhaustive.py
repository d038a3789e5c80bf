"""A race finds no worse than judging everything on every sample, at a third of the evaluations."""

import numpy as np
import pytest
from adult_model import adult_and_model

from pellucid import Goal, Model, search, wrap
from pellucid.counting import Tally, tallied
from pellucid.demo import demo_model
from pellucid.search.judging import judge
from pellucid.search.samples import half_of
from pellucid.search.space import Candidate, candidates
from pellucid.search.utility import axis_utilities, mean_interval, weighted


def everything(model: Model, x, goal: Goal, *, imputer: str, background=None, batch_size=64):
    """The utility of every candidate on every sample, `{name: (n,)}`, and the rows that took."""
    batch = model.accept(x)
    count = len(batch)
    rows = None if background is None else model.accept(background, more=True).arrays
    half = half_of(
        model, batch, np.arange(count), target=None, masks=None, background=rows,
        imputers=[imputer], seed=0, batch_size=batch_size,
    )  # fmt: skip
    metrics = goal.asked(masks=False)
    given = None if rows is None else half.model.adapter.as_given(rows)
    tally = Tally()

    def scores(candidate):
        record = judge(
            candidate, half, 0, count, metrics=metrics, goal=goal, limit=None, measured=False
        )
        assert not record.error, (candidate.name, record.error)
        return record

    with tallied(tally):
        anchor = scores(Candidate("anchor", "model", "random", {}))
        found = {}
        for candidate in candidates(goal.methods, ["model"], given):
            own = scores(candidate)
            each = own.evaluations / count
            axes = axis_utilities(own.scores, anchor.scores, metrics, each, count)
            found[candidate.name] = weighted(axes, goal.weights)
    return found, tally.spent


def compare(model, x, goal, *, imputer, background=None, batch_size=64):
    """Search and judge everything; print both and hold one against the other."""
    whole, rows = everything(
        wrap(model), x, goal, imputer=imputer, background=background, batch_size=batch_size
    )
    found = search(model, x, goal, background=background, batch_size=batch_size)
    means = {name: float(np.mean(values)) for name, values in whole.items()}
    best = max(means, key=lambda name: means[name])
    loss = whole[best] - whole[found.chosen]
    low, high = mean_interval(loss, seed=0)
    told = (
        f"{found}\neverything: {rows} evaluations, best {best} {means[best]:.3f}; chosen"
        f" {found.chosen} {means[found.chosen]:.3f}, behind by {np.mean(loss):.4f} [{low:.4f},"
        f" {high:.4f}]; the search took {found.spent / rows:.2f} of it\n"
        + ", ".join(f"{name} {means[name]:.3f}" for name in sorted(means, key=means.__getitem__))
    )
    print(told)  # noqa: T201 - the figures are what the test is for
    assert found.spent <= found.budget
    assert found.spent <= rows / 3
    assert found.chosen == best or low <= 0, told
    return found


def test_adult_within_a_third_of_everything():
    table, model = adult_and_model()
    methods = {
        "lime": {"budget": [100, 300, 1000]},
        "kernel_shap": {"budget": [160, 320]},
        "permutation_shap": {"budget": [320]},
        "random": {},
        "edges": {},
    }
    goal = Goal(
        {"credibility": 2, "speed": 0.5}, methods=methods, metrics=["C1", "C2"], budget=28_000
    )
    compare(model, table[400:448], goal, imputer="dataset", background=table[:5])


@pytest.mark.slow
def test_mobilenet_on_sixteen_photographs_within_a_third_of_everything(sixteen_photos):
    network = demo_model()
    model = wrap(network.model, class_names=network.class_names, preprocess=network.preprocess)
    methods = {
        "saliency": {},
        "gradient_x_input": {},
        "integrated_gradients": {"steps": [8, 16]},
        "smoothgrad": {"samples": 8, "noise": [0.1, 0.2]},
        "lrp": {},
        "guided_backprop": {},
        "gradcam": {},
        "guided_gradcam": {},
        "layercam": {},
        "occlusion": {"window": [32, 56], "stride": 32},
        "random": {},
        "edges": {},
        "constant": {},
    }
    goal = Goal(methods=methods, metrics=["C1", "C2", "I1"])
    compare(model, sixteen_photos, goal, imputer="dataset", batch_size=32)
