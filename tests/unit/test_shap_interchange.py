"""To shap and back: numbers kept, and shap's own plots draw them."""

import numpy as np
import pandas
import pytest
from explanations import make_explanation, table_explanation

from pellucid import Explanation, explain
from pellucid.errors import InputError, MissingExtraError

pytestmark = pytest.mark.filterwarnings("ignore::Warning:shap.*", "ignore::Warning:numba.*")
shap = pytest.importorskip("shap", reason="shap has no wheel here")
plt = pytest.importorskip("matplotlib.pyplot", reason="shap draws with pyplot")
rng = np.random.default_rng(0)
TABLE = pandas.DataFrame(
    {"age": rng.normal(size=12), "ward": rng.choice(["east", "west"], 12), "dose": np.arange(12)}
)


def f(table):
    return 2 * table["age"] + (table["ward"] == "east") * table["dose"]


def explained():
    return explain(f, TABLE[:6], "exact_shapley", background=TABLE[6:])


def test_shaps_own_plots_draw_ours():
    given = explained().to_shap()
    np.testing.assert_allclose(given.base_values + given.values.sum(1), f(TABLE[:6]), rtol=1e-5)
    assert given.data[0, 1] == TABLE["ward"][0]
    assert list(given.feature_names) == list(TABLE.columns)
    try:
        for draw, what in (
            (shap.plots.waterfall, given[0]),
            (shap.plots.bar, given),
            (shap.plots.beeswarm, given),
            (shap.plots.heatmap, given),
            (shap.plots.scatter, given[:, "age"]),
        ):
            draw(what, show=False)
            plt.close("all")
    finally:
        plt.close("all")


def test_there_and_back_again():
    e = explained()
    back = Explanation.from_shap(e.to_shap())
    np.testing.assert_allclose(back.values, e.values)
    np.testing.assert_allclose(back.score, e.score, rtol=1e-5)
    np.testing.assert_allclose(back.baseline_score, e.baseline_score, rtol=1e-5)
    assert back.parts[0].feature_names == e.parts[0].feature_names
    assert [row for *_, row in back.top(3, sample=1)] == [row for *_, row in e.top(3, sample=1)]
    back.plot(1, kind="waterfall")
    assert "made by shap" in back.provenance["notes"]
    assert "shap of 6 samples" in str(back)


def test_what_shap_itself_computed_comes_in(tmp_path):
    x = rng.normal(size=(20, 3))
    explainer = shap.explainers.Permutation(lambda a: a @ [1.0, -2.0, 0.0], x[:10], seed=0)
    found = explainer(x[10:], silent=True)
    e = Explanation.from_shap(found)
    expected = (x[10:] - x[:10].mean(axis=0)) * [1.0, -2.0, 0.0]
    np.testing.assert_allclose(e.values, expected, atol=1e-5)
    single = Explanation.from_shap(found[0])
    assert single.values.shape == (3,)
    again = Explanation.load(e.save(tmp_path / "shap.zarr"))
    np.testing.assert_array_equal(again.values, e.values)


def test_without_a_base_the_waterfall_still_ends_at_the_score():
    e = table_explanation([[1.0, 2.0]], score=np.array([5.0]), baseline_score=None)
    assert e.to_shap().base_values.tolist() == [2.0]


def test_what_does_not_fit(monkeypatch):
    two = make_explanation(np.zeros((1, 2), np.float32), dims=("sample", "feature"))
    from dataclasses import replace

    with pytest.raises(InputError, match="one input"):
        replace(two, parts=two.parts * 2).to_shap()
    outputs = shap.Explanation(np.zeros((2, 3, 4)), np.zeros((2, 4)), np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"choose one:[\s\S]*values\[\.\.\., 1\]"):
        Explanation.from_shap(outputs)
    monkeypatch.setitem(__import__("sys").modules, "shap", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[shap\]"):
        two.to_shap()
