"""A tolerance ends the work of every sampling method, and the result says when and why."""

import numpy as np
import pytest

from pellucid import explain
from pellucid.errors import MethodError
from pellucid.methods.registry import registered

RNG = np.random.default_rng(5)
ONE, TWO = RNG.normal(size=(6, 24)), RNG.normal(size=24)
ROWS = RNG.normal(size=(200, 6))
X = RNG.normal(size=(4, 6))
SHAPLEY = ("kernel_shap", "permutation_shap", "partition_shap")
CASES = {
    "lime": ("lime", {"baseline": 0.0, "features": "grid:20"}, 20_000),
    "lime-glime": ("lime", {"baseline": 0.0, "features": "grid:20", "sampling": "glime"}, 20_000),
    "lime-table": ("lime", {"background": ROWS}, 20_000),
    "lime-fresh": ("lime", {"background": ROWS, "fresh": True}, 20_000),
    "rise": ("rise", {"ridge": 0.0}, 20_000),
    "rise-classic": ("rise", {"estimator": "classic"}, 20_000),
    "sobol": ("sobol", {}, 60_000),
    "hsic": ("hsic", {}, 3000),
}
SMALL = {"rise": 0.03, "lime": 0.03}
"""Tolerances that samples reach at different times."""


def net(z):
    return np.maximum(z @ ONE, 0) @ TWO


def series(z):
    return np.tanh(z[..., 0] @ np.linspace(-0.3, 0.5, 20)) + z[:, 3, 0]


def given(case):
    method, options, budget = CASES[case]
    if case in {"lime", "lime-glime"}:
        return series, np.random.default_rng(6).normal(size=(4, 20, 1)), method, options, budget
    return net, X, method, options, budget


def error_of(e):
    """The largest standard error, in units of what it is measured by."""
    values, errors = (a.reshape(len(a), -1) for a in (e.values, e.stderr))
    if e.parameters.get("estimator") == "classic":
        values = values - values.mean(axis=1, keepdims=True)
    return errors.max(axis=1) / np.abs(values).max(axis=1)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tolerance", [0.2, 0.06])
def test_it_stops_once_the_error_is_there(case, tolerance):
    model, x, method, options, budget = given(case)
    whole = explain(model, x, method, budget=budget, **options)
    e = explain(model, x, method, tolerance=tolerance, budget=budget, **options)
    copies = e.extras["copies"]
    assert (e.extras["stopped"] == "settled").all()
    assert not [w for w in e.warnings if w.startswith("not converged")]
    assert (error_of(e) <= tolerance * 1.001).all()
    assert copies.max() < budget / 2
    if case == "lime-table":  # one draw for all
        assert e.evaluations.forward == len(x) + copies.max()
    else:
        assert len(x) + copies.sum() <= e.evaluations.forward <= len(x) + copies.sum() + 1
    off = np.abs(e.values - whole.values).reshape(len(x), -1)
    combined = np.sqrt(e.stderr**2 + whole.stderr**2).reshape(len(x), -1)
    assert (off <= 5 * combined.max(axis=1, keepdims=True) + 1e-6).all()


@pytest.mark.parametrize("case", CASES)
def test_it_says_where_the_budget_did_not_do(case):
    model, x, method, options, _ = given(case)
    plain = explain(model, x, method, budget=333, **options)
    e = explain(model, x, method, budget=333, tolerance=1e-9, **options)
    assert (e.extras["stopped"] == "budget").all()
    assert any("sample(s) [0, 1, 2, 3]" in w for w in e.warnings)
    np.testing.assert_allclose(e.values, plain.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(e.stderr, plain.stderr, rtol=1e-4, atol=1e-6)
    assert "copies" not in plain.extras
    assert "stopped" not in plain.extras


@pytest.mark.parametrize("case", CASES)
def test_a_sample_stops_where_it_does_alone(case):
    model, x, method, options, budget = given(case)
    options = options | {"tolerance": SMALL.get(method, 0.1), "budget": budget}
    together = explain(model, x, method, batch_size=97, **options)
    assert len(set(together.extras["copies"])) > 1 or case == "hsic"
    for i in (0, 3):
        alone = explain(model, x[i : i + 1], method, **options)
        assert alone.extras["copies"][0] == together.extras["copies"][i]
        np.testing.assert_allclose(alone.values[0], together.values[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if not c.startswith("rise")])
def test_it_stops_once_the_order_of_the_top_is_settled(case):
    model, x, method, options, budget = given(case)
    e = explain(model, x, method, top=1, budget=budget, **options)
    values, errors = e.extras["unit_values"], e.extras["unit_stderr"]
    order = np.argsort(-np.abs(values), axis=1)[:, :2]
    first, second = np.take_along_axis(np.abs(values), order, axis=1).T
    apart = first - second >= 1.95 * np.take_along_axis(errors, order, axis=1).sum(axis=1)
    np.testing.assert_array_equal(e.extras["stopped"] == "settled", apart)
    assert apart.any()
    assert (e.extras["copies"][apart] < budget / 2).any()


def test_all_masks_leave_no_error_and_so_are_settled():
    x = np.ones((1, 6, 1))
    e = explain(
        lambda z: z.sum(axis=(1, 2)), x, "lime", features="grid:6", baseline=0.0, tolerance=1e-12
    )
    assert e.extras["stopped"].tolist() == ["settled"]
    assert e.extras["copies"].tolist() == [64]
    assert (e.stderr == 0).all()


@pytest.mark.parametrize("method", SHAPLEY)
def test_shapley_values_say_why_they_stopped(method):
    settled = explain(net, X, method, tolerance=0.9)
    assert (settled.extras["stopped"] == "settled").all()
    if method != "partition_shap":  # exact here
        x = RNG.normal(size=(1, 12))
        hard = explain(lambda z: np.tanh(z @ np.ones(12)), x, method, tolerance=1e-9, budget=200)
        assert hard.extras["stopped"].tolist() == ["budget"]
    assert "stopped" not in explain(net, X, method).extras


def test_samples_that_wait_are_kept_when_something_is_raised():
    calls = []

    def fails(z):
        calls.append(len(z))
        if sum(calls) > 900:
            raise RuntimeError("enough")
        return net(z)

    with pytest.raises(Exception, match="enough") as raised:
        explain(fails, X, "hsic", tolerance=1e-9, budget=500, batch_size=50)
    partial = raised.value.partial
    assert partial.values.shape == (4, 6), "a first look at each"
    assert any("not converged" in w for w in partial.warnings)


@pytest.mark.parametrize("bad", [{"tolerance": 0.0}, {"tolerance": -1}, {"top": 0}, {"top": 1.5}])
@pytest.mark.parametrize("method", ["lime", "sobol", "hsic"])
def test_precisions_that_cannot_be_are_refused(method, bad):
    with pytest.raises(MethodError, match=r"tolerance above 0|top to be a whole number"):
        explain(net, X, method, **bad)


@pytest.mark.parametrize(
    ("method", "asked", "why"),
    [
        ("rise", {"top": 2}, "smooth"),
        ("exact_shapley", {"tolerance": 0.1}, "exact"),
        ("tree_shap", {"tolerance": 0.1}, "exact"),
        ("occlusion", {"tolerance": 0.1}, "nothing is drawn"),
        ("shapley_interactions", {"tolerance": 0.1}, "budget"),
    ],
)
def test_methods_without_an_error_to_reach_say_why(method, asked, why):
    with pytest.raises(MethodError, match=f"takes no {next(iter(asked))}.*{why}"):
        explain(net, X, method, **asked)


def test_every_perturbation_method_takes_a_tolerance_or_says_why_not():
    for name, cls in registered().items():
        if cls.family == "perturbation":
            assert "tolerance" in cls.__dataclass_fields__ or "tolerance" in cls.refusals, name


SAMPLED = {
    "kernel_shap": {"budget": 200},
    "permutation_shap": {"budget": 400},
    "partition_shap": {"budget": 100},
    "shapley_interactions": {"budget": 2000},
    "lime": {"background": ROWS[:, [0, 1, 2, 3, 4, 5] * 2], "budget": 300},
    "rise": {"budget": 300},
    "sobol": {"budget": 400},
    "hsic": {"budget": 300},
    "feature_permutation": {"repeats": 4},
}


@pytest.mark.parametrize("method", SAMPLED)
def test_every_sampled_value_has_a_standard_error(method):
    """12 columns, so that no method looks at all there is."""
    x = np.random.default_rng(2).normal(size=(5, 12))
    e = explain(
        lambda z: np.tanh(z @ np.arange(1.0, 13.0) / 8) + z[:, 0] * z[:, 1],
        x, method, **SAMPLED[method],
    )  # fmt: skip
    assert e.stderr.shape == e.values.shape
    assert np.isfinite(e.stderr).all()
    assert (e.stderr.max(axis=1) > 0).all()


def test_every_method_that_draws_is_here():
    exact = {"exact_shapley", "tree_shap", "occlusion"}
    perturbing = {n for n, c in registered().items() if c.family == "perturbation"}
    assert set(SAMPLED) == perturbing - exact
