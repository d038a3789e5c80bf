"""Pictures of tables: what is drawn is what was found, on any axes, in both themes."""

from dataclasses import replace

import numpy as np
import pytest
from explanations import blob, make_explanation, table_explanation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import pellucid
from pellucid import effects, plots
from pellucid.errors import InputError
from pellucid.plain import readable
from pellucid.plots.columns import columns_of, value_ends
from pellucid.plots.scatter import partner
from pellucid.plots.segments import connected
from pellucid.plots.style import number, theme_of
from pellucid.reports.words import meaning

rng = np.random.default_rng(4)
NAMES = ("age", "$\\frac{<b>&", "a very long name of a column " * 3, "job")
OF_ROW = ("waterfall", "force", "bars")
OF_TABLE = ("importance", "beeswarm", "scatter", "heatmap", "decision")


def test_titles_say_the_rules_and_the_head():
    e = make_explanation(np.ones((1, 5), np.float32), method="lrp", dims=("sample", "feature"))
    for given, words in (
        ({"composite": "epsilon_plus"}, "lrp, epsilon_plus: "),
        ({"composite": {"dense": "pass"}}, "lrp, own rules: "),
        ({"rule": "reveal_cancel"}, "lrp, reveal_cancel: "),
        ({"head": 2}, "lrp, head 2: "),
        ({"heads": "max"}, "lrp, max of heads: "),
        ({}, "lrp: "),
    ):
        axes = plots.bars(replace(e, parameters=given))
        assert axes.get_title(loc="left").startswith(words)


def test_bars_of_attention_are_of_tokens():
    e = make_explanation(
        np.ones((1, 5), np.float32), method="attention_rollout", dims=("sample", "feature")
    )
    assert plots.top_features(e)[0].name == "token 0"
    assert any("token" in words for words in meaning(e))
    assert plots.top_features(replace(e, method="saliency"))[0].name == "feature 0"


def table(n: int = 30, **changes):
    values = rng.normal(size=(n, 4)) * [3.0, 2.0, 1.0, 0.5]
    inputs = rng.normal(size=(n, 4))
    inputs[:, 3] = rng.integers(0, 2, n)
    inputs[0, 0] = np.nan
    e = table_explanation(
        values, inputs=inputs, feature_names=NAMES, method="kernel_shap",
        baseline_score=np.full(n, 1.5), score=1.5 + values.sum(axis=1),
        stderr=np.full((n, 4), 0.1), **changes,
    )  # fmt: skip
    return replace(
        e, parts=(replace(e.parts[0], categories=(None, None, None, ("cook", "nurse"))),)
    )


def texts(axes: Axes) -> str:
    from matplotlib.text import Text

    figure = axes.get_figure(root=True)
    assert figure is not None
    return "\n".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))


def drawn(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", OF_ROW + OF_TABLE)
def test_every_kind_draws_on_its_own_figure_or_given_axes(kind, theme):
    e = table()
    figure = e.plot(2, kind=kind, theme=theme)
    assert isinstance(figure, Figure)
    assert drawn(figure).std() > 1
    axes = Figure().add_subplot()
    assert e.plot(2, kind=kind, theme=theme, ax=axes) is axes
    assert "kernel_shap" in texts(axes)


@pytest.mark.parametrize("kind", OF_ROW + OF_TABLE)
def test_one_sample_one_column_and_zeros_are_drawn_too(kind):
    one = table_explanation([[2.0]], inputs=np.ones((1, 1)), baseline_score=np.zeros(1))
    zeros = table_explanation(np.zeros((4, 3)), inputs=np.zeros((4, 3)))
    for e in (one, zeros):
        if kind == "importance" and len(e) == 1:
            continue
        drawn(e.plot(0, kind=kind))


def test_a_waterfall_goes_from_the_base_to_the_score():
    e = table()
    axes = plots.waterfall(e, 5, k=2)
    bars = [p for p in axes.patches if p.get_height() > 0.5]
    values = e.parts[0].values[5]
    order = np.argsort(-np.abs(values))
    assert len(bars) == 3
    np.testing.assert_allclose([b.get_width() for b in bars[:2]], values[order[:2]], rtol=1e-5)
    top, bottom = bars[0], bars[-1]
    assert top.get_x() + top.get_width() == pytest.approx(e.score[5], rel=1e-5)
    assert bottom.get_x() == pytest.approx(1.5, rel=1e-4)
    assert "2 other columns" in texts(axes)
    assert "= nurse" in texts(plots.waterfall(e, int(np.argmax(e.parts[0].inputs[:, 3]))))
    assert "age = missing" in texts(plots.waterfall(e, 0))
    without = plots.waterfall(replace(e, baseline_score=None), 5)
    assert "less all shares" in texts(without)


def test_a_force_pushes_up_to_the_score_and_down_to_it():
    e = table()
    axes = plots.force(e, 5)
    ends = np.concatenate([p.get_xy()[:, 0] for p in axes.patches])
    values = e.parts[0].values[5].astype(float)
    assert ends.min() == pytest.approx(e.score[5] - values[values > 0].sum(), rel=1e-5)
    assert ends.max() == pytest.approx(e.score[5] - values[values < 0].sum(), rel=1e-5)
    assert "expected 1.5" in texts(axes)


def test_a_beeswarm_has_every_point_where_it_belongs_and_says_what_it_left_out():
    e = table()
    axes = plots.beeswarm(e, k=3)
    order = columns_of(e).order(3)
    clouds = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 30]
    for line, (cloud, column) in enumerate(zip(clouds, order, strict=True)):
        np.testing.assert_allclose(np.asarray(cloud)[:, 0], e.parts[0].values[:, column])
        assert np.abs(np.asarray(cloud)[:, 1] - line).max() < 0.5
    many = table_explanation(rng.normal(size=(2500, 2)), inputs=np.zeros((2500, 2)))
    assert "2000 of 2500 samples" in texts(plots.beeswarm(many))


def test_scatter_finds_the_column_that_works_with_another():
    x = rng.normal(size=(400, 3))
    values = np.stack([x[:, 0] * x[:, 2], x[:, 1], 0 * x[:, 2]], axis=1)
    e = table_explanation(values, inputs=x)
    assert partner(columns_of(e), 0) == 2
    axes = plots.scatter(e, "feature_0")
    assert "feature_2" in texts(axes)
    assert "feature_1" in texts(plots.scatter(e, 0, colour="feature_1"))
    assert "feature_2" not in texts(plots.scatter(e, 0, colour=None))
    by_word = plots.scatter(table(), "age", colour="job")
    assert {"cook", "nurse", "missing"} <= set(texts(by_word).split("\n"))
    assert "cook" in texts(plots.scatter(table(), "job"))
    with pytest.raises(InputError, match="No column 'size'"):
        plots.scatter(e, "size")


def test_paths_of_decisions_end_at_the_score():
    e = table()
    axes = plots.decision(e, samples=[4, 9], k=2)
    lines = next(c for c in axes.collections if len(c.get_paths()) == 2)
    ends = [p.vertices[-1, 0] for p in lines.get_paths()]
    np.testing.assert_allclose(ends, e.score[[4, 9]], rtol=1e-5)
    assert all(p.vertices[0, 0] == 1.5 for p in lines.get_paths())
    assert "(nurse)" in texts(plots.decision(e, samples=[int(np.argmax(e.parts[0].inputs[:, 3]))]))
    with pytest.raises(InputError, match="samples from 0 to 29"):
        plots.decision(e, samples=[30])


def test_a_map_of_samples_is_sorted_by_score_and_keeps_what_it_leaves_out():
    e = table()
    axes = plots.table_heatmap(e, k=2)
    image = np.asarray(axes.get_images()[0].get_array())
    assert image.shape[:2] == (3, 30)
    assert "in the order of f(x)" in texts(axes)
    with pytest.raises(InputError, match="sort"):
        plots.table_heatmap(e, sort="name")


def test_bars_say_the_conditions_that_lime_found():
    held = np.array([["2 < age <= 5", "job = cook"]])
    e = table_explanation([[1.0, -2.0]], extras={"conditions": held}, method="lime")
    words = texts(plots.bars(e, 0))
    assert "2 < age <= 5" in words
    assert "job = cook" in words


def test_importance_bars_are_what_importance_says():
    e = table()
    axes = plots.importance(e, k=2)
    widths = [p.get_width() for p in axes.patches]
    np.testing.assert_allclose(widths, [r[1] for r in e.importance().top(2)])
    assert "2 smaller ones left out" in texts(axes)


def test_segments_have_their_borders_and_only_they():
    units = np.repeat(np.repeat(np.arange(16).reshape(4, 4), 6, 0), 6, 1)
    worth = np.zeros(16)
    worth[[5, 10, 3]] = [2.0, -1.5, 0.5]
    dims = ("sample", "height", "width")
    inputs = rng.uniform(size=(1, 24, 24, 3))
    e = make_explanation(
        worth[units][None], inputs=inputs, dims=dims, input_dims=(*dims, "channel")
    )
    axes = e.plot(kind="segments", k=2, ax=Figure().add_subplot())
    picture = np.asarray(axes.get_images()[0].get_array())
    grey = np.ptp(picture, axis=-1) < 1e-6
    assert grey.sum() == 24 * 24 - 2 * 36
    # The border of a 6 by 6 block is four lines.
    assert len(axes.lines) == 8
    lengths = [np.ptp(line.get_xdata()) + np.ptp(line.get_ydata()) for line in axes.lines]
    assert lengths == [6.0] * 8
    towards = e.plot(kind="segments", k=3, towards_only=True, ax=Figure().add_subplot())
    assert len(towards.lines) == 8
    assert "all values are zero" in texts(
        plots.segments(replace(e, parts=(replace(e.parts[0], values=0 * e.parts[0].values),)))
    )
    smooth = make_explanation(
        blob(24, 24, 0.5, 0.4)[None], inputs=inputs, dims=dims, input_dims=(*dims, "channel")
    )
    with pytest.raises(InputError, match="not made of segments"):
        smooth.plot(kind="segments")


def test_connected_pieces_are_those_of_a_slow_search():
    values = rng.integers(0, 3, (17, 13)).astype(float)
    labels = connected(values)
    seen = -np.ones(values.shape, int)
    number = 0
    for start in np.ndindex(values.shape):
        if seen[start] >= 0:
            continue
        stack = [start]
        while stack:
            i, j = stack.pop()
            if seen[i, j] >= 0:
                continue
            seen[i, j] = number
            for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                inside = 0 <= a < 17 and 0 <= b < 13
                if inside and values[a, b] == values[i, j]:
                    stack.append((a, b))
        number += 1
    pairs = {(int(a), int(b)) for a, b in zip(labels.ravel(), seen.ravel(), strict=True)}
    assert len(pairs) == number == labels.max() + 1


def test_effects_are_drawn():
    pandas = pytest.importorskip("pandas", reason="words are columns of data frames")
    data = pandas.DataFrame({"a": rng.normal(size=40), "w": rng.choice(list("pqrst"), 40)})
    data["b"] = np.linspace(-1, 1, 40)

    def f(t):
        return t["a"].to_numpy() ** 2 * (1 + t["b"]) + (t["w"] == "p").to_numpy()

    pair = effects.ale(f, data, ("a", "b"), bins=4)
    axes = pair.plot()
    low, high = axes.collections[0].get_clim()
    assert low == -high == -np.abs(pair.values).max(), "none is in the middle of the colours"
    assert "together" in axes.figure.axes[1].get_ylabel()
    for found in (
        effects.ale(f, data, "a", bins=6),
        pair,
        effects.partial_dependence(f, data, "a"),
        effects.partial_dependence(f, data, "w"),
        effects.partial_dependence(f, data, ("a", "w")),
        effects.ice(f, data, "a"),
    ):
        for theme in ("light", "dark"):
            axes = found.plot(theme=theme)
            assert isinstance(axes, Axes)
            drawn(axes.get_figure(root=True))
        own = Figure().add_subplot()
        assert found.plot(ax=own) is own
    curves = effects.ice(f, data, "a")
    axes = curves.plot(centred=True)
    lines = next(c for c in axes.collections if len(c.get_paths()) == 40)
    assert all(p.vertices[0, 1] == 0 for p in lines.get_paths())
    with pytest.raises(InputError, match="surface"):
        effects.partial_dependence(f, data, ("a", "w")).plot(centred=True)
    assert "40 rows" in str(curves)


def test_pictures_of_tables_refuse_pictures():
    picture = make_explanation(rng.normal(size=(2, 8, 8, 3)))
    for kind in ("waterfall", "beeswarm", "decision"):
        with pytest.raises(InputError, match="columns of a table"):
            picture.plot(kind=kind)
    assert drawn(picture.plot(kind="heatmap")).any()  # of a picture: the map
    with pytest.raises(InputError, match="kind is one of"):
        picture.plot(kind="violin")


def test_a_table_beside_a_picture_is_found():
    photo = make_explanation(
        blob(12, 12, 0.2, 0.2)[None], name="photo", dims=("sample", "height", "width"),
        inputs=np.zeros((1, 12, 12, 3)), input_dims=("sample", "height", "width", "channel"),
    )  # fmt: skip
    row = table_explanation([[2.0, -1.0]], feature_names=("age", "size"), name="table")
    both = replace(photo, parts=(*photo.parts, *row.parts))
    assert "age" in texts(both.plot(kind="waterfall", ax=Figure().add_subplot(), part=1))
    drawn(both.plot(kind="beeswarm"))
    drawn(both.plot(kind="waterfall"))


@pytest.mark.parametrize("kind", ["waterfall", "force", "decision"])
def test_values_that_do_not_add_up_are_not_drawn_as_a_sum(kind):
    model = pellucid.wrap(lambda a: a[:, 0] * a[:, 1] + a[:, 2])
    x = np.random.default_rng(0).normal(size=(12, 3))
    for method, options in (("lime", {"background": x}), ("occlusion", {"baseline": 5.0}),
                            ("feature_permutation", {})):  # fmt: skip
        e = pellucid.explain(model, x, method, **options)
        with pytest.raises(InputError, match="bars"):
            e.plot(0, kind=kind)
        drawn(e.plot(0))


def test_what_a_loss_rises_by_has_no_direction_and_lime_shows_its_line():
    model = pellucid.wrap(lambda a: a[:, 0] * a[:, 1] + a[:, 2])
    x = np.random.default_rng(0).normal(size=(12, 3))
    shuffled = pellucid.explain(model, x, "feature_permutation").plot(0).axes[0]
    assert "loss" in shuffled.get_xlabel()
    assert "needed →" in [t.get_text() for t in shuffled.get_legend().get_texts()]
    lime = pellucid.explain(model, x, "lime", background=x)
    words = lime.plot(3).axes[0].get_xlabel()
    assert f"r² {lime.extras['r2'][3]:.2f}" in words
    assert f"intercept {number(float(lime.extras['intercept'][3]))}" in words


def test_whole_numbers_are_whole_and_ends_of_bars_are_values_that_occur():
    assert [number(v) for v in (3103.0, 99999.0, -1200000.0, 12.34, 1e9, 3103.4)] == [
        "3103", "99999", "−1200000", "12.3", "1e+9", "3103",
    ]  # fmt: skip
    assert readable(99999.0) == "99999"
    assert readable(0.123456) == "0.1235"
    hours = np.array([7.0, 20, 38, 40, 40, 40, 50, 60])
    low, high = value_ends(hours)
    assert {low, high} <= set(hours)


def test_the_dark_theme_has_nothing_where_there_is_nothing_and_calls_colours_by_their_name():
    dark = theme_of("dark")
    middle = np.array(dark.colour_map(True)(0.5)[:3])
    assert np.abs(middle - to_rgb(dark.ground)).max() < 0.05
    axes = plots.force(table(), 5, theme="dark")
    assert "red" not in axes.get_xlabel()


def test_grey_points_are_explained():
    bars = plots.beeswarm(table()).child_axes
    assert any("grey" in axes.get_ylabel() for axes in bars)
