"""LIME: exact where theory says so, the same limit by every way of drawing, honest errors."""

from itertools import product

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import InputError, MethodError
from pellucid.explain import explain_each
from pellucid.explanation import Explanation
from pellucid.testing import build

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(300, 4)) * [1.0, 2.0, 0.5, 3.0] + [0.0, 1.0, 5.0, -2.0]


def network(inputs, seed=0):
    """A fixed random ReLU network in float64, three outputs."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(inputs, 24)) / 2, rng.normal(size=(24, 3))
    shift = rng.normal(size=24)
    return lambda z: np.maximum(z.reshape(len(z), -1) @ one + shift, 0) @ two


@pytest.mark.parametrize("options", [{}, {"sampling": "glime"}, {"budget": 200}], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("first", [False, True])
def test_a_model_linear_in_the_units_is_recovered(options, channels, first):
    """Garreau & von Luxburg 2020, prop. 3: a linear score gives each unit its own change."""
    x = RNG.random((2, 12, 8, channels)).cumsum(axis=1)
    w = RNG.normal(size=x.shape[1:])
    units = np.arange(12)[:, None] // 3 * 2 + np.arange(8) // 4
    expected = np.stack([[(a * w)[units == unit].sum() for unit in range(8)] for a in x])
    if first:
        model = wrap(_channels_first(w), framework="torch")
        given = np.moveaxis(x, -1, 1).astype(np.float32).copy()
    else:
        model, given = (lambda z: (z * w).sum(axis=(1, 2, 3))), x
    e = explain(model, given, "lime", features=units, baseline=0.0, **options)
    assert e.values.shape == (2, 12, 8)
    np.testing.assert_allclose(e.extras["unit_values"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(e.extras["local_prediction"], e.score, rtol=1e-4, atol=1e-4)
    assert e.stderr.max() < 1e-3 * np.abs(expected).max()
    assert e.extras["r2"].min() > 0.9999
    for sample in range(2):
        np.testing.assert_array_equal(e.values[sample], e.extras["unit_values"][sample][units])


def _channels_first(w):
    import torch

    tensor = torch.from_numpy(np.moveaxis(w, -1, 0).astype(np.float32).copy())
    return lambda z: (z * tensor).sum(dim=(1, 2, 3))


def slow_lime(f, x, width, euclidean):
    """Algorithm 1 over all masks, one at a time, by a general least-squares solver."""
    rows, scores, weights = [], [], []
    count = len(x)
    for mask in product([0.0, 1.0], repeat=count):
        z = np.array(mask)
        if euclidean:
            distance = np.sqrt(((1 - z) ** 2).sum())
        else:
            length = np.sqrt(z.sum()) * np.sqrt(count)
            distance = 1 - z.sum() / length if length else 1.0
        rows.append([1.0, *z])
        scores.append(f((x * z)[None])[0])
        weights.append(np.sqrt(np.exp(-(distance**2) / width**2)))
    root = np.sqrt(np.array(weights))
    found = np.linalg.lstsq(np.array(rows) * root[:, None], np.array(scores) * root, rcond=None)[0]
    return found[1:], found[0]


def test_all_masks_give_the_definition():
    model, x = network(8), RNG.normal(size=(2, 8))
    table = explain(model, x, "lime", target=1, baseline=0.0)
    assert (table.stderr == 0).all()
    series = explain(model, x[..., None], "lime", target=1, features="grid:8", baseline=0.0)
    for sample in range(2):
        for e, euclidean, width in ((table, True, 0.75 * np.sqrt(8)), (series, False, 0.25)):
            values, intercept = slow_lime(lambda z: model(z)[:, 1], x[sample], width, euclidean)
            np.testing.assert_allclose(e.values[sample].ravel(), values, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(e.extras["intercept"][sample], intercept, rtol=1e-5)


@pytest.mark.parametrize("sampling", ["uniform", "glime"])
@pytest.mark.parametrize("budget", [60, 300])
def test_standard_errors_are_calibrated(sampling, budget):
    """95 % intervals cover the value of all 2^M masks 90 to 99 % of the time, over 200 seeds."""
    model, x = network(10), RNG.normal(size=(3, 10, 1))
    options = {"target": 0, "features": "grid:10", "baseline": 0.0, "batch_size": 4000}
    truth = explain(model, x, "lime", budget=1025, **options)
    assert (truth.stderr == 0).all()
    inside = []
    for seed in range(200):
        e = explain(model, x, "lime", budget=budget, sampling=sampling, seed=seed, **options)
        inside.append(np.abs(e.values - truth.values) <= 1.96 * e.stderr)
    assert 0.90 <= np.mean(inside) <= 0.99, np.mean(inside)


def test_standard_errors_of_tables_are_calibrated():
    model = network(4)
    options = {"target": 0, "background": ROWS, "batch_size": 4000}
    truth = explain(model, ROWS[:3], "lime", budget=300_000, **options).values
    inside = []
    for seed in range(200):
        e = explain(model, ROWS[:3], "lime", budget=600, seed=seed, **options)
        inside.append(np.abs(e.values - truth) <= 1.96 * e.stderr)
    assert 0.90 <= np.mean(inside) <= 0.99, np.mean(inside)


def test_a_linear_model_of_a_table_gives_the_step_into_the_bin():
    """Columns are independent under π, so b_i = w_i (mean in x's bin − mean out of it)."""
    w = np.array([1.0, -2.0, 3.0, 0.0])
    x = ROWS[:5]
    e = explain(lambda z: z @ w, x, "lime", background=ROWS, budget=20_001)
    edges = np.quantile(ROWS, [0.25, 0.5, 0.75], axis=0)
    for sample, row in enumerate(x):
        same = (ROWS[:, None] > edges).sum(axis=1) == (row > edges).sum(axis=0)
        step = [ROWS[s, c].mean() - ROWS[~s, c].mean() for c, s in enumerate(same.T)]
        away = np.abs(e.values[sample] - w * step)
        assert (away <= 4 * e.stderr[sample] + 1e-6).all()
    assert e.evaluations.forward == 5 + 20_000, "one draw serves all rows"
    assert e.extras["conditions"].shape == (5, 4)


def test_a_table_as_numbers_gives_slopes_a_deviation():
    w = np.array([1.0, -2.0, 3.0, 0.0])
    e = explain(lambda z: z @ w, ROWS[:3], "lime", background=ROWS, discretizer=None)
    np.testing.assert_allclose(e.values, np.tile(w * ROWS.std(axis=0), (3, 1)), atol=1e-5)


def test_categories_and_groups_of_columns():
    """A one-hot group is one unit, drawn from real rows: no impossible combination is asked."""
    kinds = RNG.integers(0, 3, size=200)
    hot = np.eye(3)[kinds]
    rows = np.column_stack([RNG.normal(size=200), hot, RNG.integers(0, 4, size=200)])
    asked = []

    def model(z):
        asked.append(z.copy())
        return 2.0 * z[:, 2] + (z[:, 4] == 3)

    named = wrap(model, feature_names=["age", "red", "green", "blue", "rank"])
    x = np.array([[0.3, 0.0, 1.0, 0.0, 3.0]])
    e = explain(
        named, x, "lime", background=rows, features={"colour": ["red", "green", "blue"]},
        categorical=["rank"],
    )  # fmt: skip
    drawn = np.concatenate(asked)
    assert (drawn[:, 1:4].sum(axis=1) == 1).all()
    assert set(np.unique(drawn[:, 4])) <= {0.0, 1.0, 2.0, 3.0}
    np.testing.assert_allclose(e.extras["unit_values"][0], [2, 0, 1], atol=1e-6)  # colour first
    np.testing.assert_allclose(e.values[0], [0, 2, 2, 2, 1], atol=1e-6)
    assert "rank = 3" in e.extras["conditions"][0]


def test_words_of_a_data_frame_are_categories():
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame({
        "job": np.array(["nurse", "baker", "cook"])[RNG.integers(0, 3, 200)],
        "age": RNG.normal(40, 10, size=200),
    })  # fmt: skip

    def model(frame):
        return 2.0 * (frame["job"] == "baker").to_numpy()

    x = rows[rows["job"] == "baker"][:2]
    e = explain(model, x, "lime", background=rows, budget=300)
    assert [c[0] for c in e.extras["conditions"]] == ["job = baker"] * 2
    np.testing.assert_allclose(e.values, [[2, 0], [2, 0]], atol=1e-6)


def test_fresh_draws_have_the_same_limit():
    model, x = network(4), ROWS[:3]
    options = {"target": 0, "background": ROWS, "budget": 4001}
    shared = explain(model, x, "lime", **options)
    fresh = explain(model, x, "lime", fresh=True, **options)
    assert shared.evaluations.forward == 3 + 4000
    assert fresh.evaluations.forward == 3 + 12_000
    errors = np.hypot(shared.stderr, fresh.stderr)
    assert (np.abs(shared.values - fresh.values) <= 4 * errors).all()
    alone = explain(model, x[1:2], "lime", fresh=True, **options)
    np.testing.assert_allclose(alone.values[0], fresh.values[1], atol=1e-6)


def test_several_targets_share_the_copies():
    """One Gram matrix and one set of evaluations for all labels."""
    model, x = network(12), RNG.normal(size=(2, 12, 1))
    options = {"features": "grid:12", "baseline": 0.0, "budget": 101}
    together = explain_each(model, x, "lime", [0, 1, 2], parameters=options)
    assert {e.evaluations.forward for e in together} == {2 + 2 * 100}
    for target, e in enumerate(together):
        alone = explain(model, x, "lime", target=target, **options)
        np.testing.assert_allclose(e.values, alone.values, atol=1e-6)
    rows = {"background": ROWS, "budget": 500}
    tables = explain_each(network(4), ROWS[:2], "lime", [0, 2], parameters=rows)
    for target, e in zip([0, 2], tables, strict=True):
        alone = explain(network(4), ROWS[:2], "lime", target=target, **rows)
        np.testing.assert_allclose(e.values, alone.values, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "outputs"), [("dense", 3), ("sigmoid", 1), ("cnn", 3), ("two_inputs", 3)]
)
def test_superpixels_and_columns_of_every_kind_of_model(name, outputs):
    model, x = build(name, "torch")
    e = explain(model, x, "lime", budget=120, features=("grid:3", None) if "two" in name else None)
    parts = e.parts
    assert all(np.isfinite(p.values).all() and p.stderr is not None for p in parts)
    assert e.outputs.shape[1] == outputs


def test_a_regression_and_a_background_of_images():
    x = RNG.random((1, 6, 6, 1))
    rows = RNG.random((5, 6, 6, 1))
    e = explain(
        lambda z: z.sum(axis=(1, 2, 3)), x, "lime", features="grid:3", background=rows, budget=501
    )
    units = np.arange(6)[:, None] // 2 * 3 + np.arange(6) // 2
    away = (x - rows.mean(axis=0))[0, ..., 0]
    expected = [away[units == unit].sum() for unit in range(9)]
    np.testing.assert_allclose(e.extras["unit_values"][0], expected, atol=1e-6)
    assert e.evaluations.forward == 1 + 500


def test_conditions_are_saved(tmp_path):
    e = explain(lambda z: z @ np.ones(4), ROWS[:2], "lime", background=ROWS, budget=100)
    loaded = Explanation.load(e.save(tmp_path / "lime.zarr"))
    assert loaded.extras["conditions"].tolist() == e.extras["conditions"].tolist()
    assert "<=" in str(loaded.extras["conditions"][0][1])


def test_a_table_without_background_says_what_it_did():
    e = explain(lambda z: z @ np.ones(4), ROWS[:2], "lime")
    assert "no background= was given" in e.warnings[0]
    np.testing.assert_allclose(e.values, ROWS[:2], atol=1e-5)
    assert not explain(lambda z: z @ np.ones(4), ROWS[:2], "lime", baseline=0.0).warnings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "all"}, "'uniform', 'glime'"),
        ({"kernel_width": 0.0}, "kernel_width above 0"),
        ({"ridge": -1.0}, "ridge of 0 or more"),
        ({"budget": 10}, "budget of 13"),
        ({"background": ROWS, "sampling": "glime"}, "switched on and off"),
        ({"background": ROWS, "discretizer": "entropy"}, "quartile"),
        ({"background": ROWS, "categorical": ["a"]}, "number them from 0 to 3"),
        ({"background": ROWS[:1]}, "2 rows or more"),
        ({"background": ROWS, "baseline": 0.0}, "not both"),
        ({"background": ROWS[:, :2]}, "another shape"),
    ],
    ids=str,
)
def test_bad_options_are_explained(options, message):
    with pytest.raises((MethodError, InputError), match=message):
        explain(lambda z: z @ np.ones(4), ROWS[:2], "lime", **options)


@pytest.mark.parametrize("discretizer", ["quartile", None])
def test_columns_of_no_unit_are_always_the_samples(discretizer):
    """A mask with −1: what the model sees there is x, and the line is of the other columns."""
    x, seen = ROWS[:3] + 10, []

    def model(z):
        seen.append(z.copy())
        return z @ np.array([1.0, 2.0, 3.0, 4.0])

    mask, options = np.array([0, -1, 1, 1]), {"discretizer": discretizer, "budget": 401}
    e = explain(model, x, "lime", background=ROWS, features=mask, **options)
    rows = np.concatenate(seen)
    assert {round(v, 6) for v in rows[:, 1]} == {round(v, 6) for v in x[:, 1]}
    assert e.extras["unit_values"].shape == (3, 2)
    assert (e.values[:, 1] == 0).all()
    assert e.evaluations.forward == 3 * 401
    assert not any("feature 1" in words for words in e.extras["conditions"].ravel())
    others = np.array([1.0, 3.0, 4.0])
    kept = [0, 2, 3]
    alone = explain(
        lambda z: z @ others, x[:, kept], "lime", background=ROWS[:, kept],
        features=np.array([0, 1, 1]), **options,
    )  # fmt: skip
    np.testing.assert_allclose(
        e.extras["unit_values"], alone.extras["unit_values"], rtol=1e-3, atol=1e-3
    )
    again = explain(model, x[1:2], "lime", background=ROWS, features=mask, **options)
    np.testing.assert_allclose(again.values[0], e.values[1], rtol=1e-5)
