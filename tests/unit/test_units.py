"""Groups of columns and segments of pictures are one thing wherever a result is read."""

import numpy as np
import pytest

import pellucid
from pellucid.explanation import Explanation
from pellucid.plots.columns import columns_of
from pellucid.plots.image import image_map

HALVES = np.zeros((8, 8), dtype=int)
HALVES[:, 1:] = 1
"""A strip of 8 pixels, and the other 56."""


def table(method="exact_shapley", **options):
    model = pellucid.wrap(
        lambda a: a @ np.array([1.0, 2.0, -3.0, 0.5]), feature_names=["age", "wed", "kin", "pay"]
    )
    x = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, -1.0, 0.0]])
    return pellucid.explain(
        model, x, method, features={"family": ["wed", "kin"]}, baseline=0, **options
    )


def picture(method, **options):
    """A model that counts the strip for 8 and all others for 8."""
    weights = np.where(HALVES == 0, 1.0, 8 / 56)
    model = pellucid.wrap(lambda a: (a[..., 0] * weights).sum(axis=(1, 2)))
    return pellucid.explain(
        model, np.ones((1, 8, 8, 1)), method, features=HALVES, baseline=0, **options
    )


def test_a_group_of_columns_is_one_row_with_its_name():
    e = table()
    assert e.top(1).rows[0] == ("family", -5.0, "2, 3")
    assert [row[0] for row in e.importance()] == ["family", "age", "pay"]
    assert columns_of(e).names == ("family", "age", "pay")
    axes = e.plot(0, kind="waterfall").axes[0]
    assert next(t.get_text() for t in axes.get_yticklabels()) == "family = 2, 3"
    # The array keeps its shape and its sum.
    assert e.values.shape == (2, 4)
    np.testing.assert_allclose(e.values[0], [1, -2.5, -2.5, 2])


def test_groups_reach_shap_as_one_column():
    pytest.importorskip("shap")
    given = table().to_shap()
    assert given.feature_names == ["family", "age", "pay"]
    np.testing.assert_allclose(given.values[0], [-5, 1, 2])
    assert given.data[0, 0] == "2, 3"


def test_a_segments_colour_does_not_depend_on_its_area():
    shapley, lime = picture("exact_shapley"), picture("lime")
    for e in (shapley, lime):
        np.testing.assert_allclose(image_map(e.parts[0], 0), 8.0, rtol=1e-4)
        assert {row[0] for row in e.top(5)} == {"segment 0", "segment 1"}
        np.testing.assert_allclose([row[1] for row in e.top(5)], 8.0, rtol=1e-4)
    # The array of a method that shares out still adds up.
    assert shapley.values.sum() == pytest.approx(16.0)
    assert "whole segment" in shapley.plot(0).get_supxlabel()


def test_the_error_in_words_is_that_of_units():
    weights = np.arange(64.0).reshape(8, 8)
    model = pellucid.wrap(lambda a: np.tanh((a[..., 0] * weights).sum(axis=(1, 2)) / 300))
    e = pellucid.explain(model, np.ones((1, 8, 8, 1)), "permutation_shap", features="grid:4",
                         baseline=0, budget=70)  # fmt: skip
    expected = e.extras["unit_stderr"].mean()
    assert f"mean standard error {expected:.2g} of a unit's value" in str(e)


def test_units_are_saved_and_selected(tmp_path):
    for e in (table(), picture("exact_shapley")):
        again = Explanation.load(e.save(tmp_path / "e.zarr"))
        assert again.top(3).rows == e.top(3).rows
        assert again[-1].top(3).rows == e[-1].top(3).rows
