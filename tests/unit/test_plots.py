"""Pictures: the scale, the sign, the layouts, and that nothing global is touched."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from explanations import blob, make_explanation, table_explanation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from pellucid import plots
from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.image import image_map, picture_of
from pellucid.plots.scale import Scale, is_signed
from pellucid.plots.style import theme_of
from pellucid.reports.cells import column_of
from pellucid.reports.images import BEST
from pellucid.reports.items import Answer

HOSTILE = "$\\frac{<b>&\n" + "very long name " * 8


def draw(figure: Figure) -> np.ndarray:
    """Draw for real, since many faults of a figure show only then."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def signed_map(height: int = 24, width: int = 30) -> np.ndarray:
    return blob(height, width, 0.3, 0.3) - 0.5 * blob(height, width, 0.7, 0.7)


def two_inputs(weight: float, **changes) -> Explanation:
    """A photo whose |a| add up to 1 and a table whose |a| add up to `weight`."""
    photo = blob(12, 12, 0.2, 0.2)[None]
    a = make_explanation(photo / photo.sum(), name="photo", dims=("sample", "height", "width"),
                         inputs=np.zeros((1, 12, 12, 3)), **changes,
                         input_dims=("sample", "height", "width", "channel"))  # fmt: skip
    b = table_explanation([weight, 0.0], feature_names=("age", "size"), name="table")
    return replace(a, parts=(*a.parts, *b.parts))


def test_channels_are_reduced_by_sum_strength_or_the_strongest():
    values = np.array([[[1.0, -3.0], [2.0, 2.0]]])
    dims = ("height", "width", "channel")
    assert plots.reduce_channels(values, dims, "sum")[0].tolist() == [[-2.0, 4.0]]
    assert plots.reduce_channels(values, dims, "abs_sum")[0].tolist() == [[4.0, 4.0]]
    strongest, rest = plots.reduce_channels(values, dims, "max")
    assert strongest.tolist() == [[-3.0, 2.0]]
    assert rest == ("height", "width")
    first = np.moveaxis(values, -1, 0)
    assert plots.reduce_channels(first, ("channel", "height", "width"))[0].tolist() == [[-2.0, 4.0]]
    assert plots.reduce_channels(values, ("a", "b", "c"))[0] is values
    with pytest.raises(InputError, match="abs_sum"):
        plots.reduce_channels(values, dims, "mean")  # pyright: ignore[reportArgumentType]


def test_limit_ignores_outliers_and_survives_zeros_and_sparse_maps():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((100, 100))
    wild = noise.copy()
    wild[0, 0] = 1e9
    assert plots.limit([wild]) == pytest.approx(plots.limit([noise]), rel=0.02)
    assert plots.limit([np.zeros((5, 5))]) == 0.0
    assert plots.limit([]) == 0.0
    assert plots.limit([np.full((2, 2), np.nan)]) == 0.0
    patch = np.zeros((100, 100))
    patch[0, 0] = -2.0
    assert plots.limit([patch]) == 2.0
    assert plots.limit([np.full((3, 3), 4.0)]) == 4.0


def test_the_scale_is_symmetric_and_finite_whatever_comes():
    scale = Scale.of([signed_map()])
    assert scale.signed
    assert scale.bottom == -scale.top
    blue, grey, red = scale.colours(np.array([-scale.top, 0.0, scale.top]))[:, :3]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert np.ptp(grey) < 0.02
    for values in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.array([[np.inf, -1.0]])):
        assert np.isfinite(Scale.of([values]).overlay(values)).all()
    alpha = scale.overlay(np.array([0.0, scale.top / 2, scale.top, 10 * scale.top]))[:, 3]
    assert alpha[0] == 0
    assert alpha[1] == pytest.approx(alpha[2] / 2)
    assert alpha[3] == alpha[2] < 1
    with pytest.raises(InputError, match="above zero"):
        Scale.of([signed_map()], value=0.0)


def test_only_maps_with_nothing_below_zero_are_unsigned():
    assert not is_signed([np.abs(signed_map())])
    assert is_signed([np.abs(signed_map()), signed_map()])
    assert is_signed([np.zeros((2, 2))])


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("first", [True, False])
def test_pictures_of_any_layout_and_channel_count(channels: int, first: bool):
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((2, 12, 16, channels))
    values = rng.standard_normal((2, 12, 16, channels))
    dims = ("sample", "height", "width", "channel")
    if first:
        inputs, values = np.moveaxis(inputs, -1, 1), np.moveaxis(values, -1, 1)
        dims = ("sample", "channel", "height", "width")
    e = make_explanation(values, inputs=inputs, dims=dims)
    pixels = picture_of(e.parts[0], 1)
    assert pixels.shape == (12, 16, 3)
    assert pixels.dtype == np.uint8
    assert (pixels.min(), pixels.max()) == (0, 255)
    axis = 0 if first else -1
    assert np.allclose(image_map(e.parts[0], 1), e.parts[0].values[1].sum(axis=axis))
    draw(plots.side_by_side(e, 1))


def test_the_displayed_picture_wins_and_may_be_larger_than_the_map():
    display = np.random.default_rng(2).integers(0, 256, (1, 40, 60, 3), np.uint8)
    e = make_explanation(signed_map(20, 30)[None], dims=("sample", "height", "width"),
                         display=display, inputs=np.zeros((1, 20, 30, 3)))  # fmt: skip
    assert (picture_of(e.parts[0], 0) == display[0]).all()
    axes = plots.overlay(e)
    assert axes.images[0].get_extent() == axes.images[1].get_extent()
    draw(figure_of(axes))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_side_by_side_names_direction_target_scale_and_reduction(theme):
    e = make_explanation(np.repeat(signed_map()[None, ..., None], 3, -1), target_names=("tabby",))
    figure = plots.side_by_side(e, theme=theme)
    draw(figure)
    texts = " ".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))
    for words in ("towards", "away from", "tabby", "99th percentile", "sum over channels"):
        assert words in texts


@pytest.mark.parametrize("shape", [(24, 24), (20, 40), (40, 20)])
def test_no_title_is_cut(shape):
    figure = plots.side_by_side(
        make_explanation(signed_map(*shape)[None], dims=("sample", "height", "width"))
    )
    draw(figure)
    for axes in figure.axes:
        assert axes.title.get_window_extent().y1 <= figure.bbox.height


def test_an_all_zero_map_says_so():
    axes = plots.overlay(make_explanation(np.zeros((1, 8, 8, 3))))
    assert [t.get_text() for t in axes.texts] == ["all values are zero"]
    draw(figure_of(axes))
    broken = plots.heatmap(make_explanation(np.full((1, 8, 8, 3), np.nan)))
    assert "not finite" in broken.texts[0].get_text()
    draw(figure_of(broken))


def test_zeros_of_a_map_without_sign_have_a_bar_without_sign():
    zeros = {"dims": ("sample", "height", "width"), "values": np.zeros((1, 8, 8))}
    for method, parameters, signed in (
        ("gradcam", {"relu": True}, False),
        ("gradcam", {"relu": False}, True),
        ("saliency", {"absolute": True}, False),
        ("vargrad", {}, False),
        ("occlusion", {}, True),
    ):
        e = make_explanation(**zeros, method=method, parameters=parameters)
        figure = plots.side_by_side(e)
        assert ("away" in words_in(figure)) == signed
        figure = plots.grid({method: e})
        assert ("away" in words_in(figure)) == signed
        assert column_of(method, [Answer("Why?", e, 0)], BEST).signed == signed


def test_the_overlay_has_the_colours_of_its_bar():
    e = make_explanation(signed_map()[None], dims=("sample", "height", "width"))
    colour_map = theme_of("dark").colour_map(True)
    strongest, weakest = (colour_map(end)[:3] for end in (1.0, 0.0))
    for axes in (plots.overlay(e, theme="dark"), plots.series(series_of(2), theme="dark")):
        drawn = np.asarray(axes.images[-1].get_array())
        found = drawn[drawn[..., 3] == drawn[..., 3].max()][:, :3]
        assert all(
            np.allclose(c, strongest, atol=1e-2) or np.allclose(c, weakest, atol=1e-2)
            for c in found
        )
    caption = words_in(plots.grid(grid_rows(), theme="dark"))
    assert "Orange pushes" in caption
    assert "Red" not in caption
    assert "Red pushes" in words_in(plots.grid(grid_rows()))


def test_an_inner_layer_in_the_place_of_the_picture_says_so():
    for dims in (("sample", "height", "width"), ("sample", "step", "channel"), ("sample", "unit")):
        values = np.random.default_rng(0).standard_normal((1, *(8, 9)[: len(dims) - 1]))
        e = make_explanation(values, dims=dims, name="block.4", parameters={"layer": "block.4"})
        figure = plots.plot(e)
        assert isinstance(figure, Figure)
        assert 'output of layer "block.4"' in words_in(figure)
        assert "output of layer &#34;block.4&#34;" in e.to_html()
        if "height" in dims:
            assert 'output of layer "block.4"' in words_in(plots.grid({"a": e, "b": e}))
    own = make_explanation(values, dims=dims, name="input", parameters={"layer": "block.4"})
    assert "output of" not in words_in(figure_of(plots.bars(own)))


def test_bars_speak_of_shares_only_where_values_add_up():
    shares, effects = table_explanation([1.0, 2.0]), table_explanation([1.0, 2.0], gap=None)
    for kind in ("bars", "beeswarm", "scatter"):
        assert "share of the logit" in words_in(plots.plot(shares, kind=kind))
        words = words_in(plots.plot(effects, kind=kind))
        assert "effect on the logit" in words
        assert "share" not in words
    kept = table_explanation([1.0, 2.0], method="lrp")
    words = words_in(plots.plot(kept, kind="bars"))
    assert "relevance for the logit" in words
    assert "share of" not in words


def grid_rows(factor: float = 0.1):
    strong, weak = signed_map()[None], factor * signed_map()[None]
    make = lambda v, m: make_explanation(v, method=m, dims=("sample", "height", "width"))  # noqa: E731
    return {
        "ig": [make(strong, "ig"), make(weak, "ig")],
        "cam": [make(9 * abs(strong), "cam"), make(9 * abs(weak), "cam")],
    }


def strongest_alphas(figure: Figure) -> list[float]:
    """The greatest opacity of every overlay, in drawing order."""
    rgba = [image.get_array() for axes in figure.axes for image in axes.images]
    return [
        float(a[..., 3].max()) for a in rgba if a is not None and a.ndim == 3 and a.shape[2] == 4
    ]


def test_a_grid_shares_its_scale_along_a_method_unless_told_otherwise():
    full = pytest.approx(0.9)
    row = strongest_alphas(plots.grid(grid_rows()))
    assert row[0] == full
    assert row[1] < 0.2
    assert row[2] == full
    assert row[3] < 0.2
    assert strongest_alphas(plots.grid(grid_rows(), scale="panel")) == [full] * 4
    together = strongest_alphas(plots.grid(grid_rows(), scale="all"))
    assert together[2] == full
    assert together[0] < 0.2


@pytest.mark.parametrize("across", ["methods", "questions", "auto"])
@pytest.mark.parametrize("scale", ["row", "all", "panel"])
def test_grids_draw_in_every_layout_with_no_label_cut(across, scale):
    rows = {name + HOSTILE: row for name, row in grid_rows().items()}
    figure = plots.grid(rows, across=across, scale=scale, columns=["Why this?", HOSTILE])
    pixels = draw(figure)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])[:, :3]
    assert (edge == 255).mean() > 0.6
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is None or (box.x0 > -3 and box.y0 > -3)
        assert box is None or (box.x1 < width + 3 and box.y1 < height + 3)


def test_a_grid_takes_one_explanation_over_several_samples():
    values = np.stack([signed_map(), 0.2 * signed_map()])
    e = make_explanation(values, dims=("sample", "height", "width"), target_names=("a", "b"))
    figure = plots.grid({"ig": e}, sample=[0, 1])
    assert len(strongest_alphas(figure)) == 2
    named = plots.grid({"ig": {"Why a?": e}})
    assert any(axes.get_title() == "Why a?" for axes in named.axes)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ({}, {}, "at least one"),
        ({"a": grid_rows()["ig"], "b": grid_rows()["ig"][:1]}, {}, "as many"),
        (grid_rows(), {"columns": ["one"]}, "column titles"),
        (grid_rows(), {"scale": "none"}, "row, all, panel"),
        (grid_rows(), {"sample": 5}, "sample 5 of 1"),
    ],
)
def test_a_grid_that_cannot_be_drawn_says_why(rows, options, words):
    with pytest.raises(InputError, match=words):
        plots.grid(rows, **options)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_show_the_strongest_with_sign_and_error(theme):
    names = ("alcohol", HOSTILE, "ash")
    e = table_explanation([0.5, -2.0, 0.0], feature_names=names, stderr=np.full((1, 3), 0.1),
                          inputs=np.array([[13.0, 2.0, 1.0]]))  # fmt: skip
    axes = plots.bars(e, k=2, theme=theme)
    draw(figure_of(axes))
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels[1] == "alcohol = 13"
    assert len(labels) == 2
    assert [bool(p.get_hatch()) for p in axes.patches] == [True, False]


def test_features_without_names_are_called_by_their_place():
    e = make_explanation(np.array([[[0.0, 1.0], [3.0, 0.0]]]), dims=("sample", "step", "channel"))
    assert [f.name for f in plots.top_features(e, k=2)] == [
        "step 1, channel 0",
        "step 0, channel 1",
    ]


def series_of(channels: int) -> Explanation:
    """A series whose later channels count for more."""
    x = np.random.default_rng(3).standard_normal((1, 50, channels))
    return make_explanation(
        x * np.arange(1, channels + 1), inputs=x, dims=("sample", "step", "channel")
    )


@pytest.mark.parametrize("channels", [1, 3, 8, 12])
def test_series_are_drawn_on_their_attributions(channels: int):
    figure = plots.plot(series_of(channels))
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    assert len(axes.lines) == min(channels, 8)
    assert len({str(line.get_color()) for line in axes.lines}) == len(axes.lines)
    draw(figure_of(axes))
    legend = axes.get_legend()
    assert (legend is None) == (channels == 1)
    if legend is not None:
        assert legend.get_window_extent().y1 < axes.get_window_extent().y0, "below, on nothing"
        assert legend.get_window_extent().y0 >= 0
        said = legend.get_title().get_text()
        assert said == ("8 of 12 channels: those of largest Σ|a|" if channels == 12 else "")
    if channels == 12:
        assert axes.lines[0].get_label() == "channel 4"


def test_plot_chooses_by_what_the_values_are():
    image = make_explanation(signed_map()[None], dims=("sample", "height", "width"))
    assert isinstance(plots.plot(image), Figure)
    own = Figure().add_subplot()
    assert plots.plot(image, ax=own) is own
    table = plots.plot(table_explanation([1.0, 2.0]))
    assert isinstance(table, Figure)
    assert table.axes[0].patches
    assert plots.plot(table_explanation([1.0]), ax=own) is own
    bars = plots.plot(image, kind="bars", k=4)
    assert isinstance(bars, Figure)
    assert len(bars.axes[0].patches) == 4
    with pytest.raises(InputError, match="kind is one of"):
        plots.plot(image, kind="pie")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="three panels"):
        plots.plot(image, kind="side_by_side", ax=own)
    with pytest.raises(InputError, match="no height and width"):
        plots.plot(table_explanation([1.0]), kind="overlay")
    with pytest.raises(InputError, match="sample 3 of 1"):
        plots.plot(image, 3)


def words_in(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))


def test_every_input_has_its_panel_and_its_share():
    figure = plots.plot(two_inputs(3.0))
    assert isinstance(figure, Figure)
    draw(figure)
    assert "table: 75 %" in words_in(figure)
    assert "photo: 25 %" in words_in(figure)
    picked = plots.plot(two_inputs(3.0), part=1)
    assert isinstance(picked, Figure)
    assert len(picked.axes) == 1
    only = plots.plot(two_inputs(3.0), kind="overlay")
    assert isinstance(only, Figure)
    assert only.axes[0].images
    with pytest.raises(InputError, match="part="):
        plots.plot(two_inputs(3.0), ax=Figure().add_subplot())
    for e in (two_inputs(3.0), two_inputs(0.0, method="gradcam")):
        draw(plots.grid({"a": e, "b": e}))


def test_a_class_map_draws_only_the_input_it_lies_on():
    figure = plots.plot(two_inputs(0.0, method="gradcam"))
    assert isinstance(figure, Figure)
    assert "map alone" in words_in(figure)


def test_methods_on_tables_and_series_stand_side_by_side():
    tables = {m: table_explanation([1.0, -2.0], method=m) for m in ("saliency", "occlusion")}
    figure = plots.grid(tables)
    draw(figure)
    assert "saliency, tabby" in words_in(figure)
    assert sum(bool(axes.patches) for axes in figure.axes) == 2
    values = np.random.default_rng(0).standard_normal((1, 20, 2))
    series = make_explanation(values, dims=("sample", "step", "channel"))
    draw(plots.grid({"ig": [series, series]}, columns=["a", "b"]))


def test_figures_show_in_notebooks_without_pyplot():
    figure = plots.plot(make_explanation(signed_map()[None], dims=("sample", "height", "width")))
    assert figure._repr_png_().startswith(b"\x89PNG")  # pyright: ignore


def test_drawing_never_loads_pyplot():
    code = (
        "import sys, numpy as np; sys.path.insert(0, 'tests/unit');"
        "from explanations import make_explanation; from pellucid import plots;"
        "e = make_explanation(np.ones((1, 8, 8, 3)));"
        "plots.plot(e).savefig('/dev/null', format='png'); plots.grid({'a': e});"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
