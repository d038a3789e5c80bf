"""Tables of whole numbers and truth values are explained as the same tables of real numbers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from pellucid import explain
from pellucid.effects import ale, ice, partial_dependence
from pellucid.errors import InputError
from pellucid.inputs.features import Features
from pellucid.inputs.fills import inpaint, unit_means

KINDS = ["int32", "uint8", "bool"]
TABLE = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1], [1, 1, 1]])
HALVES = [[0.5, 0.25, 0.0], [0.75, 0.5, 1.0]]
METHODS = {
    "kernel_shap": {"background": HALVES},
    "exact_shapley": {"background": HALVES},
    "permutation_shap": {"background": HALVES},
    "partition_shap": {"background": HALVES},
    "shapley_interactions": {"background": HALVES},
    "lime": {"background": HALVES, "discretizer": None, "budget": 40},
    "occlusion": {"baseline": [0.5, 0.5, 0.25]},
    "rise": {"baseline": 0.5},
    "sobol": {"baseline": 0.5},
    "hsic": {"baseline": 0.5},
    "feature_permutation": {},
}


def f(z):
    return z[:, 0] * z[:, 1] + 2.0 * z[:, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_what_it_gives_of_real_numbers(method, kind):
    whole = explain(f, TABLE.astype(kind), method, **METHODS[method])
    real = explain(f, TABLE.astype(float), method, **METHODS[method])
    np.testing.assert_array_equal(whole.values, real.values)
    np.testing.assert_array_equal(whole.score, real.score)
    if real.baseline_score is not None:
        np.testing.assert_array_equal(whole.baseline_score, real.baseline_score)


@pytest.mark.parametrize("kind", KINDS)
def test_every_effect_gives_what_it_gives_of_real_numbers(kind):
    table = TABLE.astype(kind)
    straight = partial_dependence(lambda z: z[:, 0] * 1.0, table, 0, grid=[0.25, 0.5, 0.9])
    np.testing.assert_allclose(straight.values, [0.25, 0.5, 0.9], rtol=1e-6)
    for effect in (partial_dependence, ice, ale):
        whole, real = effect(f, table, 0), effect(f, TABLE.astype(float), 0)
        np.testing.assert_array_equal(whole.values, real.values)


def test_a_background_between_whole_numbers_by_hand():
    e = explain(
        lambda z: z[:, 0] + z[:, 1] * 1.0, [[3, 4]], "kernel_shap",
        background=[[0.5, 0.5], [0.75, 0.75]],
    )  # fmt: skip
    np.testing.assert_allclose(e.values, [[2.375, 3.375]])
    np.testing.assert_allclose(e.baseline_score, [1.25])


@pytest.mark.parametrize("kind", KINDS)
def test_scikit_learn_sees_real_numbers(kind):
    model = LinearRegression().fit(TABLE, TABLE @ [1.0, 2.0, -1.0])
    e = explain(model, TABLE.astype(kind), "kernel_shap", background=HALVES)
    mean = np.mean(HALVES, axis=0)
    np.testing.assert_allclose(e.values, (TABLE - mean) * [1, 2, -1], atol=1e-6)
    np.testing.assert_allclose(e.baseline_score, mean @ [1, 2, -1], atol=1e-6)


def test_a_function_that_looks_rows_up_by_number_gets_whole_ones():
    worth = np.array([0.0, 3.0, 5.0, 9.0])
    calls = []

    def looked_up(ids):
        calls.append(ids.dtype)
        return worth[ids].sum(axis=1)

    e = explain(looked_up, [[1, 3]], "exact_shapley", baseline=0)
    np.testing.assert_allclose(e.values, [[3.0, 9.0]])
    assert set(calls[1:]) == {np.dtype(np.int64)}
    with pytest.raises(InputError, match=r"takes whole numbers only"):
        explain(looked_up, [[1, 3]], "exact_shapley", background=[[0.5, 0.5]])


class Lookup(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.worth = torch.nn.Embedding(10, 1)

    def forward(self, ids):
        return self.worth(ids).sum(dim=1)


def test_a_model_of_whole_numbers_is_asked_about_no_others():
    """A framework's own whole numbers stay; what they do not hold is an error, not cut off."""
    model = Lookup()
    ids = torch.tensor(np.arange(24).reshape(12, 2) % 10)
    halves = [[0.5, 0.5], [1.0, 2.0]]
    for given in ({"method": "kernel_shap"}, {"method": "lime", "budget": 20}):
        with pytest.raises(InputError, match=r"does not hold 0.5 of the background"):
            explain(model, ids, background=halves, **given)
    with pytest.raises(InputError, match=r"does not hold .* of neighbours drawn"):
        explain(model, ids, "lime", background=ids, discretizer=None, budget=20)
    with pytest.raises(InputError, match=r"does not hold 0.5 of the grid"):
        partial_dependence(model, ids, 0, grid=[0.5])
    points = partial_dependence(model, ids, 0, grid=4).grid[0]
    np.testing.assert_array_equal(points, np.rint(points))


def test_means_of_whole_numbers_are_rounded_not_cut_off():
    x = np.array([[0, 1, 1, 1]], dtype=np.uint8)
    units = Features(np.zeros((1, 4), dtype=np.int64))
    np.testing.assert_array_equal(unit_means(x, units, ("sample", "time")), np.ones((1, 4)))
    picture = np.full((1, 4, 4, 1), 7, dtype=np.uint8)
    kept = np.ones((1, 4, 4), dtype=bool)
    kept[0, 1:3, 1:3] = False
    dims = ("sample", "height", "width", "channel")
    np.testing.assert_array_equal(inpaint(picture, kept, dims), picture)
