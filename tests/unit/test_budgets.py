"""What is spent stays within what was allowed, and is foretold: every method with a budget."""

import numpy as np
import pytest

from pellucid import explain
from pellucid.errors import MethodError
from pellucid.methods.registry import registered

X = np.random.default_rng(0).normal(size=(1, 6))
ROWS = np.random.default_rng(1).normal(size=(5, 6))
SHAPLEY = ("kernel_shap", "permutation_shap", "partition_shap", "shapley_interactions")
CASES = [
    *((m, {}) for m in (*SHAPLEY, "lime", "rise", "sobol", "hsic", "occlusion")),
    *((m, {"background": ROWS}) for m in (*SHAPLEY, "lime")),
    ("lime", {"background": ROWS, "features": [[0, 1], [2, 3]], "fresh": True}),
    ("rise", {"estimator": "classic"}),
]


def f(z):
    return np.tanh(z).sum(axis=1) + z[:, 0] * z[:, 1] * z[:, 2]


def named(case):
    return f"{case[0]}-{'-'.join(case[1])}" if isinstance(case, tuple) else str(case)


@pytest.mark.parametrize("case", CASES, ids=named)
@pytest.mark.parametrize("budget", [401, 777, None])
def test_no_more_is_spent_than_allowed_and_as_foretold(case, budget):
    method, options = case
    told = []
    e = explain(
        f, X, method, budget=budget, **options,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    if budget is not None:
        assert e.evaluations.forward <= budget
    assert told[0][1] == told[-1][1], "the first total is the last"
    # A reference that all samples share is run besides.
    assert e.evaluations.forward - 1 <= told[-1][0] <= told[-1][1]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_same_budget_gives_the_same_again(case):
    """The budget a result records is the one that makes it again."""
    method, options = case
    e = explain(f, X, method, **options)
    if method != "occlusion":
        assert e.parameters["budget"] is not None
    again = explain(f, X, method, budget=e.parameters["budget"], **options)
    np.testing.assert_array_equal(e.values, again.values)


def test_shuffles_are_foretold():
    told = []
    e = explain(
        f, ROWS, "feature_permutation", budget=40, progress=lambda *now: told.append(now)
    )  # fmt: skip
    assert e.evaluations.forward <= 40 * len(ROWS)
    assert told[0][1] == told[-1][1] == told[-1][0] == e.evaluations.forward


def test_lime_counts_the_rows_of_the_background():
    pictures = np.random.default_rng(2).normal(size=(2, 9, 9, 1))

    def g(z):
        return z.sum(axis=(1, 2, 3))

    e = explain(
        g, pictures[:1], "lime", features="grid:3", background=pictures, budget=301
    )  # fmt: skip
    assert e.evaluations.forward == 301
    with pytest.raises(MethodError, match="45 for 9 features on 2 background rows, got 40") as no:
        explain(g, pictures[:1], "lime", features="grid:3", background=pictures, budget=40)
    assert "pellucid.inputs.summarise" in str(no.value)


def test_every_perturbation_method_with_a_budget_is_here():
    with_budget = {
        name
        for name, cls in registered().items()
        if cls.family == "perturbation" and "budget" in cls.__dataclass_fields__
    }
    assert with_budget == {m for m, _ in CASES} | {"feature_permutation"}
