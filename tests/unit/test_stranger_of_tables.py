"""What somebody met who explained tables and pictures from the documentation alone."""

from dataclasses import replace

import numpy as np
import pandas
import pytest

import pellucid
from pellucid.errors import CapabilityError, InputError, MethodError, ModelError

ROWS = pandas.DataFrame(
    {"age": [20.0, 30, 40, 50, 60, 70], "job": ["nurse", "smith", "cook", "nurse", "cook", "smith"]}
)


def by_columns(frame):
    return frame["age"].to_numpy(float) / 10 + (frame["job"] == "nurse")


def kernel(x, **options):
    return pellucid.explain(by_columns, x, "kernel_shap", **options)


def test_a_row_as_a_dict_may_hold_a_category_that_x_does_not():
    row = dict(ROWS.iloc[0])
    x = ROWS.iloc[[1]]
    np.testing.assert_array_equal(
        kernel(x, baseline=row).values, kernel(x, baseline=ROWS.iloc[[0]]).values
    )
    fixed = x.assign(job=pandas.Categorical(x["job"], categories=["smith", "nurse"]))
    np.testing.assert_allclose(kernel(fixed, baseline=row).values, [[1, -1]], atol=1e-6)
    with pytest.raises(InputError, match="no category 'cook'"):
        kernel(fixed, baseline={"age": 1, "job": "cook"})
    with pytest.raises(InputError, match="no category 'SMITH'"):
        kernel(x, baseline={"age": 1, "job": "SMITH"})
    with pytest.raises(InputError, match="The row given as a dict by column has no 'job'"):
        kernel(x, baseline={"age": 1})


def test_what_is_wrong_with_a_background_is_said_of_the_background():
    with pytest.raises(InputError, match="background= has no rows"):
        kernel(ROWS, background=ROWS[:0])
    DenseData = type("DenseData", (), {})  # what shap.kmeans returns
    with pytest.raises(InputError, match=r"pellucid\.inputs\.summarise"):
        kernel(ROWS, background=DenseData())


def test_rows_of_polars_take_a_background_of_pandas():
    polars = pytest.importorskip("polars")

    def model(frame):
        return np.asarray(frame["age"]) / 10 + (np.asarray(frame["job"]) == "nurse")

    x = polars.DataFrame({name: ROWS[name].tolist() for name in ROWS})[:1]
    given = pellucid.explain(model, x, "kernel_shap", background=ROWS).values
    np.testing.assert_allclose(given, kernel(ROWS[:1], background=ROWS).values, atol=1e-6)


def test_a_word_among_numbers_is_told_with_its_column():
    x = ROWS.assign(age=[20, 30, "forty", 50, 60, 70])
    with pytest.raises(ModelError, match=r"'forty' \(in the column 'age'\)"):
        kernel(x, background=ROWS.astype({"age": object}))


def test_infinity_is_not_taken_for_what_is_missing():
    with pytest.raises(InputError, match="Infinity is no value") as raised:
        kernel(ROWS.assign(age=np.inf), background=ROWS)
    assert "missing_values" not in str(raised.value)


def test_one_feature_of_a_picture_is_told_about_grids():
    model = pellucid.wrap(lambda a: a.sum(axis=(1, 2, 3)))
    for method in ("kernel_shap", "lime"):
        with pytest.raises(MethodError, match="grid:7"):
            pellucid.explain(model, np.ones((1, 8, 8, 1)), method,
                             features=np.zeros((8, 8), int), baseline=0)  # fmt: skip


def test_truth_values_are_targets_where_the_classes_are_called_so():
    linear = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).normal(size=(40, 2))
    model = linear.LogisticRegression().fit(x, x[:, 0] > 0)
    for target in (True, False, np.bool_(True), [True, False]):
        e = pellucid.explain(model, x[:2], "kernel_shap", background=x[5:9], target=target)
        wanted = [target] * 2 if not isinstance(target, list) else target
        assert e.target_names == tuple(str(bool(t)) for t in wanted)


def test_classes_of_their_own_are_not_averaged_without_a_word():
    w = np.eye(3)
    x = np.eye(3) + 0.1
    mixed = pellucid.explain(lambda a: a @ w, x, "exact_shapley", baseline=0)
    one = pellucid.explain(lambda a: a @ w, x, "exact_shapley", baseline=0, target=1)
    assert "mixed" in str(mixed.importance())
    assert "mixed" not in str(one.importance())
    assert "mixed" in mixed.plot(kind="beeswarm").axes[0].get_title(loc="left")
    assert "mixed" in mixed.plot(kind="importance").axes[0].get_title(loc="left")
    with pytest.raises(InputError, match="Nearest: 'waterfall'"):
        one.plot(kind="waterfal")


def corner(a):
    """What a function on pictures with channels first looks at."""
    return a[:, :, 5:15, 5:15].mean(axis=(1, 2, 3))


def test_channels_first_are_doubted_or_said():
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32))
    doubted = pellucid.explain(corner, x, "occlusion", baseline=0)
    assert any("channels='first'" in w for w in doubted.warnings)
    model = pellucid.wrap(corner, channels="first")
    e = pellucid.explain(model, x, "lime", features="grid:4", budget=200)
    assert e.values.shape == (1, 32, 32)
    assert not e.warnings
    fine = pellucid.explain(lambda a: a.mean(axis=(1, 2))[:, 0], np.moveaxis(x, 1, -1),
                            "occlusion", baseline=0)  # fmt: skip
    assert not fine.warnings
    with pytest.raises(InputError, match="channels"):
        pellucid.wrap(corner, channels="middle")


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((32, 32, 3), "pass x[None]"),
        ((16, 16, 1), "pass x[None]"),
        ((5, 28, 28), "pass x[..., None]"),
        ((5, 40, 6), None),
        ((4, 4, 3), None),
    ],
)
def test_what_is_read_as_series_is_said_and_doubted_where_it_looks_like_pictures(shape, advice):
    x = np.random.default_rng(0).normal(size=shape)

    def f(z):
        return z.mean(axis=tuple(range(1, z.ndim)))

    e = pellucid.explain(f, x, "occlusion", baseline=0, window=4)
    assert "x was read as series: sample × step × channel" in e.provenance["notes"]
    doubts = [w for w in e.warnings if "looks like" in w]
    if advice is None:
        assert not doubts
        return
    assert len(doubts) == 1
    assert advice in doubts[0]
    assert f"{shape[0]} series of {shape[1]} steps" in doubts[0]
    sure = pellucid.wrap(f, channels="last")
    assert not pellucid.explain(sure, x, "occlusion", baseline=0, window=4).warnings
    if shape[2] > 4:
        return
    one = pellucid.explain(pellucid.wrap(f, inputs=shape), x, "occlusion", baseline=0, window=8)
    assert one.parts[0].input_dims == ("sample", "height", "width", "channel")
    assert not one.warnings


def test_trees_that_shap_cannot_read_are_told_about_kernel_shap():
    lightgbm = pytest.importorskip("lightgbm")
    pytest.importorskip("shap")
    x = ROWS.assign(job=ROWS["job"].astype("category"))
    big = pandas.concat([x] * 20, ignore_index=True)
    model = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1)
    model.fit(big, big["job"] == "nurse")
    with pytest.raises(CapabilityError, match="kernel_shap"):
        pellucid.explain(model, x, "tree_shap", background=x)


def test_rounding_is_not_drawn_as_a_result():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(1, 8, 8, 1))
    model = pellucid.wrap(lambda a: 5 + 1e-12 * a.sum(axis=(1, 2, 3)))
    e = pellucid.explain(model, x, "lime", features="grid:4", baseline=0, budget=64)
    tiny = replace(e.parts[0], values=np.full_like(e.parts[0].values, 1e-12))
    e = replace(e, parts=(tiny,))
    figure = e.plot()
    words = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert "all values are zero (below rounding)" in words
    assert "all values are zero" in figure.get_supxlabel()
    model = pellucid.wrap(lambda a: a.sum(axis=(1, 2, 3)))
    words = pellucid.explain(model, x, "occlusion", baseline=0).plot().axes[1].texts
    assert not words


def test_superpixels_are_about_as_many_as_were_asked_for():
    pytest.importorskip("skimage")
    from pellucid.inputs.features import make_features

    x, y = np.mgrid[0:96, 0:96] / 96
    picture = np.stack([np.sin(9 * x) * y, np.cos(7 * y), x * y], axis=-1)[None]
    for wanted in (10, 30, 60):
        found = make_features(f"superpixels:{wanted}", picture, ("sample", "height", "width",
                                                                 "channel")).counts[0]  # fmt: skip
        assert abs(found - wanted) <= 0.2 * wanted
