"""Conditional Shapley values: what is absent is as the data has it, given what is there."""

from typing import Any

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import MethodError

METHODS = ("exact_shapley", "kernel_shap", "permutation_shap", "partition_shap",
           "shapley_interactions")  # fmt: skip


def normal_rows(covariance, count=60, seed=0):
    """Rows whose mean is 0 and whose covariance is exactly this."""
    rows = np.random.default_rng(seed).normal(size=(count, len(covariance)))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T, bias=True))).T
    return rows @ np.linalg.cholesky(np.asarray(covariance)).T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rho", [0.0, 0.6, -0.9])
def test_two_normal_features_of_a_linear_model(method, rho):
    """φ₁ = β₁ x₁ + ½ ρ (β₂ x₁ − β₁ x₂), and the same with 1 and 2 exchanged."""
    one, two = 2.0, -3.0
    rows = normal_rows([[1, rho], [rho, 1]])
    x = np.array([[1.0, 2.0], [-0.5, 1.5], [0.0, 3.0]])
    e = explain(lambda z: z @ np.array([one, two]), x, method, background=rows,
                value_function="conditional")  # fmt: skip
    a, b = x.T
    expected = np.stack([one * a + rho / 2 * (two * a - one * b),
                         two * b + rho / 2 * (one * b - two * a)], axis=1)  # fmt: skip
    np.testing.assert_allclose(e.values, expected, atol=1e-6)
    assert e.gap is not None
    np.testing.assert_allclose(e.gap, 0, atol=1e-6)
    assert any("conditional Shapley values" in note for note in e.provenance["notes"])


def test_a_product_of_two_normal_features():
    """E[x₁ x₂ | x₁] = ρ x₁², and v(∅) = ρ."""
    rho = 0.7
    x = np.array([[1.0, 2.0], [-1.5, 0.5]])
    rows = normal_rows([[1, rho], [rho, 1]])
    e = explain(lambda z: z[:, 0] * z[:, 1], x, "exact_shapley", background=rows,
                value_function="conditional")  # fmt: skip
    a, b = x.T
    first = ((rho * a**2 - rho) + (a * b - rho * b**2)) / 2
    np.testing.assert_allclose(e.values[:, 0], first, atol=1e-6)
    np.testing.assert_allclose(e.values[:, 1], a * b - rho - first, atol=1e-6)


def test_a_feature_that_is_not_used_counts_for_what_it_tells():
    rows = normal_rows([[1, 0.8], [0.8, 1]])
    x = np.array([[1.0, 1.0]])
    for kind, expected in (("conditional", [[0.6, 0.4]]), ("marginal", [[1.0, 0.0]])):
        e = explain(lambda z: z[:, 0], x, "exact_shapley", background=rows, value_function=kind)
        np.testing.assert_allclose(e.values, expected, atol=1e-6)


def test_a_model_that_is_not_linear_against_draws_from_the_normal_distribution():
    """Every coalition's worth by 4 000 draws of the conditional distribution itself."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T / 4 + np.eye(4)
    x, middle = np.array([1.0, -1.0, 0.5, 2.0]), np.zeros(4)
    one = rng.normal(size=(4, 8)) / 2

    def net(z):
        return np.tanh(z @ one).sum(axis=1)

    worth = {}
    for code in range(16):
        kept = np.array([bool(code >> i & 1) for i in range(4)])
        draws = np.tile(x, (4000, 1))
        if not kept.all():
            there = covariance[np.ix_(kept, kept)]
            across = covariance[np.ix_(~kept, kept)] @ np.linalg.inv(there)
            mean = middle[~kept] + across @ x[kept]
            left = covariance[np.ix_(~kept, ~kept)] - across @ covariance[np.ix_(kept, ~kept)]
            draws[:, ~kept] = rng.multivariate_normal(mean, left, 4000)
        worth[code] = net(draws).mean()
    shares = [1 / 4, 1 / 12, 1 / 12, 1 / 4]
    truth = [
        sum(shares[bin(c).count("1")] * (worth[c | 1 << i] - worth[c])
            for c in range(16) if not c >> i & 1)
        for i in range(4)
    ]  # fmt: skip
    rows = normal_rows(covariance, count=2000)
    e = explain(net, x[None], "exact_shapley", background=rows, value_function="conditional")
    plain = explain(net, x[None], "exact_shapley", background=rows)
    np.testing.assert_allclose(e.values[0], truth, atol=0.05)
    assert np.abs(plain.values[0] - truth).max() > 0.2


def test_columns_that_repeat_each_other_and_groups():
    """A covariance that cannot be inverted; a group's columns are known together."""
    one = normal_rows([[1, 0.5], [0.5, 1]])
    rows = np.concatenate([one, one[:, :1]], axis=1)
    x = np.array([[1.0, 2.0, 1.0]])
    e = explain(lambda z: z @ np.array([1.0, 1.0, 1.0]), x, "exact_shapley", background=rows,
                value_function="conditional", features=[[0, 2]])  # fmt: skip
    # Of one feature of weight 2 and another of weight 1, at correlation ½.
    np.testing.assert_allclose(e.extras["unit_values"], [[2 - 0.75, 2 + 0.75]], atol=1e-6)
    alone = explain(lambda z: z @ np.array([1.0, 1.0, 1.0]), x, "exact_shapley", background=rows,
                    value_function="conditional")  # fmt: skip
    np.testing.assert_allclose(alone.values[0, 0], alone.values[0, 2], atol=1e-6)
    np.testing.assert_allclose(alone.values.sum(), e.values.sum(), atol=1e-6)


def test_a_sample_does_not_depend_on_its_batch():
    rows = normal_rows([[1, 0.5, 0], [0.5, 1, 0.2], [0, 0.2, 1]])
    x = np.random.default_rng(0).normal(size=(5, 3))
    options = {"background": rows, "value_function": "conditional"}

    def net(z):
        return np.tanh(z).prod(axis=1)

    whole = explain(net, x, "kernel_shap", **options)
    for size in (1, 7, 64):
        other = explain(net, x[2:3], "kernel_shap", batch_size=size, **options)
        np.testing.assert_allclose(other.values[0], whole.values[2], atol=1e-7)


def test_what_has_no_covariance():
    x, rows = np.ones((2, 3)), normal_rows(np.eye(3))
    gaps = rows.copy()
    gaps[0, 0] = np.nan
    model = wrap(lambda z: np.nan_to_num(z.reshape(len(z), -1)).sum(axis=1), missing_values=True)
    cases: Any = (
        ("needs background= rows", x, {"value_function": "conditional"}),
        ("one of", x, {"value_function": "causal", "background": rows}),
        ("no missing", x, {"value_function": "conditional", "background": gaps}),
        ("leaves some out", x, {"value_function": "conditional", "background": rows,
                                "features": np.array([0, 1, -1])}),
        ("one table", np.ones((2, 6, 6, 3)), {"value_function": "conditional",
                                              "background": np.ones((4, 6, 6, 3))}),
    )  # fmt: skip
    for message, given, options in cases:
        with pytest.raises(MethodError, match=message):
            explain(model, given, "exact_shapley", max_players=64, **options)


def test_whole_numbers_of_a_framework_have_no_covariance():
    """Those of a function are real numbers to it; a framework's own stay what they are."""
    model = wrap(lambda z: z.sum(1) * 1.0, framework="torch")
    rows = np.arange(12).reshape(4, 3)
    with pytest.raises(MethodError, match="real numbers"):
        explain(
            model, rows[:2], "exact_shapley", background=rows, value_function="conditional"
        )  # fmt: skip
