"""Effects along columns: closed forms, scikit-learn's partial dependence, and what is refused."""

import numpy as np
import pandas
import polars
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier
from sklearn.inspection import partial_dependence as of_sklearn
from sklearn.linear_model import LinearRegression

from pellucid.effects import ale, ice, partial_dependence
from pellucid.errors import CapabilityError, InputError, TargetError

rng = np.random.default_rng(2)
N = 120
X = rng.normal(size=(N, 3))
X[:, 1] = 0.9 * X[:, 0] + np.sqrt(1 - 0.81) * X[:, 1]  # two columns that go together
TABLE = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(
    kind=rng.choice(["x", "y", "z"], N), dose=rng.integers(0, 4, N)
)
WORTH = {"x": 0.0, "y": 2.0, "z": -1.0}


def named(table):
    kind = np.array([WORTH[k] for k in table["kind"]])
    return 3 * table["a"] + table["b"] * table["c"] + kind * table["dose"]


def test_partial_dependence_is_scikit_learns():
    y = X[:, 0] ** 2 + X[:, 1]
    model = GradientBoostingRegressor(n_estimators=20, random_state=0).fit(X, y)
    peer = of_sklearn(model, X, [0], method="brute", kind="both", grid_resolution=15)
    found = partial_dependence(model, X, 0, grid=peer["grid_values"][0])
    np.testing.assert_allclose(found.values, peer["average"][0], rtol=1e-5)
    np.testing.assert_allclose(found.individual, peer["individual"][0], rtol=1e-5, atol=1e-6)
    assert found.evaluations.forward == N * 16
    two = of_sklearn(model, X, [(0, 1)], method="brute", grid_resolution=5)
    pair = partial_dependence(model, X, (0, 1), grid=two["grid_values"])
    np.testing.assert_allclose(pair.values, two["average"][0], rtol=1e-5)
    boosted = HistGradientBoostingClassifier(max_iter=5).fit(X, y > 1)
    peer = of_sklearn(
        boosted, X, [1], method="brute", response_method="decision_function", grid_resolution=8
    )
    found = partial_dependence(boosted, X, 1, grid=peer["grid_values"][0])
    np.testing.assert_allclose(found.values, peer["average"][0], rtol=1e-5, atol=1e-6)


def test_closed_forms_of_words_whole_numbers_and_pairs():
    rest = (3 * TABLE["a"] + TABLE["b"] * TABLE["c"]).mean()
    found = partial_dependence(named, TABLE, "kind")
    assert [found.categories[0][int(i)] for i in found.grid[0]] == ["x", "y", "z"]
    expected = rest + np.array([0.0, 2.0, -1.0]) * TABLE["dose"].mean()
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    spread = (3 * TABLE["a"] + TABLE["b"] * TABLE["c"] + 2 * TABLE["dose"]).std()
    assert found.stderr[1] == pytest.approx(spread / np.sqrt(N), rel=1e-4)
    found = partial_dependence(named, TABLE, "dose")
    assert found.grid[0].tolist() == [0, 1, 2, 3]  # all there are
    slope = TABLE["kind"].map(WORTH).astype(float)
    np.testing.assert_allclose(np.diff(found.values), slope.mean(), rtol=1e-4)
    curves = ice(named, TABLE, "dose")
    np.testing.assert_allclose(np.diff(curves.individual, axis=1)[:, 0], slope, atol=1e-4)
    np.testing.assert_allclose(curves.values, found.values)
    pair = partial_dependence(named, TABLE, ("b", "kind"), grid=([0.0, 1.0], ["z", "y"]))
    assert pair.values.shape == (2, 2)
    np.testing.assert_allclose(np.diff(pair.values, axis=0)[0], TABLE["c"].mean(), rtol=1e-3)
    of_polars = partial_dependence(named, polars.DataFrame(TABLE.to_dict("list")), "kind")
    np.testing.assert_allclose(of_polars.values, expected, rtol=1e-5)


def test_accumulated_effects_in_closed_form():
    """Of a linear model w·z from the mean on; of b·c with b along a: nothing, unlike of b."""
    w = np.array([2.0, -1.0, 0.5])
    model = LinearRegression().fit(X, X @ w)
    found = ale(model, X, 1, bins=10)
    assert found.evaluations.forward == 3 * N
    np.testing.assert_allclose(np.diff(found.values), w[1] * np.diff(found.grid[0]), rtol=1e-4)
    np.testing.assert_allclose(found.stderr, 0, atol=1e-5)
    # Centred over the data: each row in the middle of its bin.
    places = np.clip(np.searchsorted(found.grid[0], X[:, 1], side="left"), 1, 10)
    middle = (found.values[places] + found.values[places - 1]) / 2
    assert np.mean(middle) == pytest.approx(0, abs=1e-5)
    # f = (a − b)²: rows stay near a = b, so the local effect of a step is small where the
    # partial dependence, which moves a alone, is a parabola.
    apart = lambda x: (x[:, 0] - x[:, 1]) ** 2  # noqa: E731
    local = ale(apart, X, 0, bins=20)
    far = partial_dependence(apart, X, 0, grid=local.grid[0])
    assert np.ptp(local.values) < 0.5 * np.ptp(far.values)


def test_the_error_of_an_accumulated_effect_is_that_of_new_data():
    """f = b·c along b: each step's mean is that of c in its bin, drawn anew in every table."""
    ends, errors = [], []
    for trial in range(120):
        x = np.random.default_rng([trial, 9]).normal(size=(200, 2))
        x[:, 0] = np.linspace(-1, 1, 200)  # the same bins every time
        found = ale(lambda t: t[:, 0] * t[:, 1], x, 0, bins=5)
        ends.append(found.values[-1])
        errors.append(found.stderr[-1])
    assert np.mean(errors) == pytest.approx(np.std(ends), rel=0.2)


def test_an_accumulated_pair_is_the_product_about_the_means():
    """f = b·c over all pairs of values: (b − mean)(c − mean), whatever else is added to f."""
    b, c = np.meshgrid(np.array([0.0, 1, 3, 4, 7]), np.array([-2.0, 0, 1, 5]), indexing="ij")
    x = np.stack([b.ravel(), c.ravel()], axis=1)
    found = ale(lambda t: t[:, 0] * t[:, 1] + t[:, 0] ** 3 - 5 * t[:, 1], x, (0, 1), bins=20)
    assert found.evaluations.forward == 5 * len(x)
    assert found.features == ("feature 0", "feature 1")
    means = []
    for edges, own in zip(found.grid, x.T, strict=True):
        places = np.clip(np.searchsorted(edges, own), 1, len(edges) - 1)
        means.append(((edges[places] + edges[places - 1]) / 2).mean())
    expected = np.multiply.outer(found.grid[0] - means[0], found.grid[1] - means[1])
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    np.testing.assert_allclose(found.stderr, 0, atol=1e-9)


def test_an_accumulated_pair_of_what_adds_up_is_nothing_though_columns_go_together():
    found = ale(lambda t: np.exp(t[:, 0]) + t[:, 1] ** 2 + t[:, 2], X, (0, 1))
    np.testing.assert_allclose(found.values, 0, atol=1e-5)  # X is of float32
    assert found.values.shape == (len(found.grid[0]), len(found.grid[1]))


def test_an_accumulated_pair_of_columns_that_go_together():
    """f = b·c with correlation r: b·c − r (b² + c²) / 2, as E[c | b] = r b is b's own effect."""
    r, generator = 0.4, np.random.default_rng(8)
    b = generator.normal(size=40_000)
    c = r * b + np.sqrt(1 - r**2) * generator.normal(size=len(b))
    found = ale(lambda t: t[:, 0] * t[:, 1], np.stack([b, c], axis=1), (0, 1), bins=40)
    inner = [np.abs(g) < 1.2 for g in found.grid]
    u, v = np.meshgrid(*(g[i] for g, i in zip(found.grid, inner, strict=True)), indexing="ij")
    expected = u * v - r * (u**2 + v**2) / 2
    np.testing.assert_allclose(found.values[np.ix_(*inner)], expected, atol=0.06)


def test_the_error_of_an_accumulated_pair_is_that_of_new_data():
    """f = b·c·d: the mean of d in each cell is drawn anew in every table."""
    ends, errors = [], []
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij"), -1).reshape(-1, 2)
    for trial in range(120):
        d = np.random.default_rng([trial, 10]).normal(size=(len(grid), 1)) + 1
        found = ale(lambda t: t.prod(axis=1), np.hstack([grid, d]), (0, 1), bins=3)
        ends.append(found.values[-1, -1])
        errors.append(found.stderr[-1, -1])
    assert np.mean(errors) == pytest.approx(np.std(ends), rel=0.2)


def test_missing_values_are_left_out_and_shown_to_the_model():
    table = TABLE[["a", "b"]].copy()
    table.loc[:9, "a"] = np.nan
    model = HistGradientBoostingClassifier(max_iter=5).fit(table, X[:, 1] > 0)
    assert np.isfinite(partial_dependence(model, table, "a").values).all()
    assert ale(model, table, "a", bins=5).evaluations.forward == N + 2 * (N - 10)
    table.loc[5:14, "b"] = np.nan
    pair = ale(model, table, ("a", "b"), bins=5)
    assert pair.evaluations.forward == N + 4 * (N - 15)
    assert np.isfinite(pair.values).all()


def test_what_is_refused():
    model = LinearRegression().fit(X, X @ np.eye(3))
    with pytest.raises(TargetError, match="3 outputs"):
        partial_dependence(model, X, 0)
    assert partial_dependence(model, X, 0, target=1).values.shape == (20,)
    for wrong in ("nothing", 7, True):
        with pytest.raises(InputError, match="No column"):
            partial_dependence(named, TABLE, wrong)
    with pytest.raises(InputError, match=r"Nearest: 'dose'"):
        ale(named, TABLE, "doze")
    with pytest.raises(InputError, match="need an order"):
        ale(named, TABLE, "kind")
    with pytest.raises(InputError, match="one value only"):
        ale(named, TABLE.assign(a=1.0), "a")
    with pytest.raises(InputError, match="No category 'w'"):
        partial_dependence(named, TABLE, "kind", grid=["w"])
    for grid in (1, [], [np.nan], [[1.0]]):
        with pytest.raises(InputError, match="Expected"):
            partial_dependence(named, TABLE, "a", grid=grid)
    with pytest.raises(InputError, match="two different"):
        partial_dependence(named, TABLE, ("a", "a"))
    with pytest.raises(InputError, match="takes two"):
        ice(named, TABLE, ("a", "b"))
    with pytest.raises(CapabilityError, match="one table"):
        ale(lambda x: x.sum(axis=(1, 2, 3)), np.ones((3, 4, 4, 1)), 0)
