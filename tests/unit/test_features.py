"""Units and their names, what hides them, and backgrounds that stand for larger ones."""

import numpy as np
import pytest

from pellucid import explain
from pellucid.arrays import resize
from pellucid.errors import CapabilityError, InputError, MethodError
from pellucid.inputs import WeightedRows, summarise
from pellucid.inputs.features import make_features, unit_names
from pellucid.inputs.fills import inpaint, unit_means

RNG = np.random.default_rng(4)
IMAGE, SERIES, TABLE = (
    ("sample", "height", "width", "channel"), ("sample", "step", "channel"), ("sample", "feature"),
)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3, 13])
def test_the_number_of_superpixels_can_be_asked_for(channels):
    """SLIC merges what is too small to stand alone, so the number is a wish."""
    x = resize(RNG.random((1, 8, 8, channels)), (60, 50), (1, 2))
    few, many = (make_features(f"superpixels:{n}", x, IMAGE).counts[0] for n in (12, 100))
    assert 2 <= few <= 24
    assert 40 <= many <= 200


def test_units_have_names():
    pieces = make_features("grid:4", np.zeros((1, 10, 2)), SERIES)
    assert pieces.names == ("steps 0 to 2", "steps 3 to 4", "steps 5 to 7", "steps 8 to 9")
    for unit in range(4):
        first, last = (int(w) for w in pieces.names[unit].split() if w.isdigit())
        assert (np.flatnonzero(pieces.units[0] == unit) == np.arange(first, last + 1)).all()
    cells = make_features("grid:2", np.zeros((1, 4, 4, 3)), IMAGE)
    assert cells.names == ("cell 0, 0", "cell 0, 1", "cell 1, 0", "cell 1, 1")
    assert cells.units[0, 0, 3] == 1
    table = make_features({"size": ["a", "b"]}, np.zeros((1, 3)), TABLE, columns=["a", "c", "b"])
    assert table.names == ("size", "c")
    assert unit_names([table]).tolist() == ["size", "c"]
    assert unit_names([cells, table]).tolist() == [*cells.names, "size", "c"]
    masked = make_features(np.array([0, 0, 1]), np.zeros((1, 3)), TABLE)
    assert unit_names([table, masked]) is None


@pytest.mark.parametrize("spec", ["grid:0", "superpixels:0", "grid:", "cells:3"])
def test_specs_that_mean_nothing_are_refused(spec):
    with pytest.raises(InputError, match="superpixels:80"):
        make_features(spec, np.zeros((1, 8, 8, 3)), IMAGE)


@pytest.mark.parametrize("first", [False, True])
def test_units_in_their_own_mean(first):
    x = RNG.random((2, 6, 4, 3)).astype(np.float32)
    units = np.arange(6)[:, None] // 3 * 2 + np.arange(4) // 2
    units[0, 0] = -1
    expected = x.copy()
    for sample in range(2):
        for unit in range(4):
            expected[sample][units == unit] = x[sample][units == unit].mean(axis=0)
    dims = ("sample", "channel", "height", "width") if first else IMAGE
    given = np.moveaxis(x, -1, 1).copy() if first else x
    found = unit_means(given, make_features(units, given, dims), dims)
    found = np.moveaxis(found, 1, -1) if first else found
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 13])
def test_holes_are_filled_from_around_them(channels):
    """A slope is continued over a hole, what is kept stays, and the layout does not matter."""
    slope = np.linspace(0, 1, 33, dtype=np.float32)
    x = np.broadcast_to(slope[None, None, :, None], (2, 30, 33, channels)).copy()
    kept = np.ones((2, 30, 33), dtype=bool)
    kept[0, 10:20, 12:20] = False
    kept[1] = False
    filled = inpaint(x, kept, IMAGE)
    assert (filled[kept] == x[kept]).all()
    assert np.abs(filled[0] - x[0]).max() < 0.05, "the hole is 0.25 wide"
    np.testing.assert_allclose(filled[1], x[1].mean(), rtol=1e-5)
    moved = inpaint(np.moveaxis(x, -1, 1).copy(), kept, ("sample", "channel", "height", "width"))
    np.testing.assert_array_equal(np.moveaxis(moved, 1, -1), filled)
    alone = inpaint(x[:1], kept[:1], IMAGE)
    np.testing.assert_array_equal(alone, filled[:1])


@pytest.mark.parametrize("method", ["lime", "hsic"])
def test_methods_hide_by_painting_in(method):
    """Of a flat picture nothing can be taken away, so nothing matters; with zeros all does."""
    x = np.full((1, 12, 12, 2), 0.5)

    def model(z):
        return z[:, :6, :6].sum(axis=(1, 2, 3))

    options = {"features": "grid:4", "budget": 200}
    painted = explain(model, x, method, baseline="inpaint", **options)
    black = explain(model, x, method, baseline=0.0, **options)
    assert np.abs(painted.values).max() < 1e-3 * np.abs(black.values).max() + 1e-9
    with pytest.raises(MethodError, match="images and series"):
        explain(lambda z: z.sum(axis=1), np.ones((1, 4)), method, baseline="inpaint")


def test_a_few_rows_stand_for_many():
    """Means over herded rows are nearer to the means over all than over as many chance rows."""
    rows = RNG.normal(size=(1500, 4)) @ RNG.normal(size=(4, 4))
    w = RNG.normal(size=(4, 200))

    def means(some):
        return np.tanh(some @ w).mean(axis=0)

    errors = [np.abs(means(RNG.permutation(rows)[:20]) - means(rows)).mean() for _ in range(20)]
    chosen = summarise(rows, 20)
    assert chosen.shape == (20, 4)
    assert len(np.unique(chosen, axis=0)) == 20
    assert {tuple(r) for r in chosen} <= {tuple(r) for r in rows}
    assert np.abs(means(chosen) - means(rows)).mean() < np.median(errors) / 2
    assert np.array_equal(summarise(rows, 20, at_most=100, seed=1),
                          summarise(rows, 20, at_most=100, seed=1))  # fmt: skip


def test_summaries_of_frames_gaps_and_pictures():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, np.nan, 3.0, 2.0], "b": [1.0, 2.0, 3.0, 2.0]})
    found = summarise(frame, 2)
    assert list(found.columns) == ["a", "b"]
    assert len(found) == 2
    assert summarise(RNG.random((9, 4, 4, 3)), 3).shape == (3, 4, 4, 3)
    assert len(summarise(np.ones((3, 2)), 9)) == 3
    for bad in (0, 1.5, True):
        with pytest.raises(InputError, match="count of 1 or more"):
            summarise(np.ones((3, 2)), bad)
    with pytest.raises(InputError, match="rows of numbers"):
        summarise(np.ones(3), 1)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("how", ["herding", "kmeans"])
def test_a_summary_of_a_frame_is_a_frame_of_its_kind_and_types(library, how):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    job = np.array(["cook"] * 30 + ["nurse"] * 30)
    columns = {"dose": RNG.normal(size=60), "job": job.tolist(), "age": np.arange(60)}
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    found = summarise(frame, 6, how=how)
    if how == "kmeans":
        np.testing.assert_allclose(found.weights.sum(), 1)
        found = found.rows
    assert type(found) is type(frame)
    if library == "pyarrow":
        assert found.schema == frame.schema
    else:
        assert list(found.dtypes) == list(frame.dtypes)
    words = found["job"].to_pylist() if library == "pyarrow" else list(found["job"])
    assert set(words) == {"cook", "nurse"}, "words count for how near rows are"
    ages = found["age"].to_pylist() if library == "pyarrow" else list(found["age"])
    assert [job[a] for a in ages] == words, "rows stay whole"

    def model(table):
        words = table["job"].to_pylist() if library == "pyarrow" else list(table["job"])
        return np.array([w == "nurse" for w in words], dtype=float)

    e = explain(model, frame[:3], "kernel_shap", background=summarise(frame, 4))
    gains = np.zeros((3, 3))
    gains[:, 1] = e.score - e.baseline_score
    np.testing.assert_allclose(e.values, gains, atol=1e-6)


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shapley", "lime", "deep_shap"])
def test_a_baseline_called_dataset_is_the_background(method):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    x, rows = torch.ones(2, 3), torch.randn(20, 3)
    one = explain(model, x, method, baseline="dataset", background=rows)
    other = explain(model, x, method, background=rows)
    np.testing.assert_array_equal(one.values, other.values)
    with pytest.raises(MethodError, match=r"pass them as background=rows"):
        explain(model, x, method, baseline="dataset")
    with pytest.raises(InputError, match="a row of the data, or its mean"):
        explain(model, x, "integrated_gradients", baseline="dataset")


@pytest.mark.parametrize("method", ["kernel_shap", "lime"])
def test_a_baseline_and_a_background_are_different_questions_and_say_so(method):
    x = np.array([[2.0, 3.0, 1.0]])
    rows = RNG.normal(size=(30, 3))
    one = explain(lambda z: z[:, 0] * z[:, 1], x, method, baseline=0.0)
    other = explain(lambda z: z[:, 0] * z[:, 1], x, method, background=rows)
    assert not np.allclose(one.values, other.values)
    assert any("30 background rows" in note for note in other.provenance["notes"])
    assert any("one reference" in note for note in one.provenance["notes"])


def test_k_means_finds_the_clusters_and_their_sizes():
    rows = np.concatenate(
        [RNG.normal(size=(60, 3)) * 0.1 + 5, RNG.normal(size=(30, 3)) * 0.1, [[-5.0, -5.0, -5.0]]]
    )
    found = summarise(rows, 3, how="kmeans")
    assert isinstance(found, WeightedRows)
    assert {tuple(r) for r in found.rows} <= {tuple(r) for r in rows}
    order = np.argsort(found.weights)
    np.testing.assert_allclose(found.weights[order], [1 / 91, 30 / 91, 60 / 91])
    np.testing.assert_allclose(found.rows[order].mean(axis=1), [-5, 0, 5], atol=0.2)
    again = summarise(rows, 3, how="kmeans")
    np.testing.assert_array_equal(again.rows, found.rows)
    assert len(summarise(np.ones((9, 2)), 4, how="kmeans")) == 1, "fewer rows differ"
    with pytest.raises(InputError, match="'herding' or 'kmeans'"):
        summarise(rows, 3, how="random")
    with pytest.raises(InputError, match="weight above 0 for each of the 2 rows"):
        WeightedRows(rows[:2], np.array([1.0, 0.0]))


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shap", "partition_shap"])
@pytest.mark.parametrize("kind", ["marginal", "conditional"])
def test_a_weighted_row_counts_as_often_as_it_stands_for(method, kind):
    """A background with weights gives what the rows repeated give."""
    rows, x = RNG.normal(size=(6, 3)), RNG.normal(size=(2, 3))
    times = np.array([1, 4, 2, 3, 1, 5])
    net = lambda z: np.tanh(z).prod(axis=1) + z[:, 0] ** 2  # noqa: E731
    weighted = explain(net, x, method, background=WeightedRows(rows, times), value_function=kind)
    repeated = explain(net, x, method, background=rows.repeat(times, axis=0), value_function=kind)
    np.testing.assert_allclose(weighted.values, repeated.values, atol=1e-6)
    np.testing.assert_allclose(weighted.baseline_score, repeated.baseline_score, atol=1e-6)
    assert weighted.evaluations.forward < repeated.evaluations.forward / 2
    assert any("each row by its weight" in note for note in weighted.provenance["notes"])


def test_methods_that_count_rows_alike_refuse_weights():
    rows = WeightedRows(RNG.normal(size=(6, 3)), np.arange(1, 7))
    for method in ("lime", "expected_gradients"):
        with pytest.raises((MethodError, InputError, CapabilityError)):
            explain(lambda z: z.sum(axis=1), np.ones((2, 3)), method, background=rows)
