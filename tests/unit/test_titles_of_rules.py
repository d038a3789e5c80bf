"""Every picture says by which rules its values were made, and where a plain gradient stood in."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from explanations import make_explanation, table_explanation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import nn

import pellucid
from pellucid import explain, plots
from pellucid.comparison import Comparison

rng = np.random.default_rng(3)
OF_TABLES = ("auto", "bars", "waterfall", "force", "importance", "beeswarm", "scatter", "heatmap",
             "decision")  # fmt: skip
OF_PICTURES = ("auto", "overlay", "heatmap", "side_by_side", "segments")
KINDS = [("table", k) for k in OF_TABLES] + [("picture", k) for k in OF_PICTURES]
KINDS += [("series", "auto"), ("two pictures", "auto"), ("two pictures", "heatmap")]
RULES = ({"composite": "epsilon_plus_flat"}, {"rule": "reveal_cancel"}, {"composite": {"c": "w"}})
WORDS = ("lrp, epsilon_plus_flat", "lrp, reveal_cancel", "lrp, own rules")


def result(what: str):
    """An explanation of one kind of input, of numbers that add up."""
    if what == "table":
        values = rng.normal(size=(6, 3))
        return table_explanation(
            values, inputs=rng.normal(size=(6, 3)), method="lrp",
            baseline_score=np.zeros(6), score=values.sum(axis=1),
        )  # fmt: skip
    if what == "series":
        dims = ("sample", "step", "feature")
        return make_explanation(rng.normal(size=(2, 9, 2)), method="lrp", dims=dims)
    dims = ("sample", "height", "width")
    squares = np.kron(rng.normal(size=(2, 3, 3)), np.ones((4, 4)))
    found = make_explanation(
        squares, method="lrp", dims=dims, inputs=rng.uniform(size=(2, 12, 12, 3)),
        input_dims=(*dims, "channel"),
    )  # fmt: skip
    second = replace(found.parts[0], name="second")
    return found if what == "picture" else replace(found, parts=(*found.parts, second))


def texts(drawn: Axes | Figure) -> str:
    """All that is written on a sheet, line ends as spaces."""
    figure = drawn.get_figure(root=True) if isinstance(drawn, Axes) else drawn
    assert figure is not None
    found = [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text)]
    return " ".join("\n".join(found).split())


@pytest.mark.parametrize(("what", "kind"), KINDS)
def test_every_kind_of_picture_says_the_rules_and_where_there_were_none(what, kind):
    plain = result(what)
    for given, words in zip(RULES, WORDS, strict=True):
        e = replace(plain, parameters=given)
        said = texts(e.plot(kind=kind))
        assert words in said
        assert "plain gradient" not in said
    on_axes = what != "two pictures" and kind != "side_by_side"
    e = replace(e, provenance={**e.provenance, "uncovered": ["i0e at head"]})
    sheets = [e.plot(kind=kind)]
    if on_axes:
        sheets.append(e.plot(kind=kind, ax=Figure().add_subplot()))
    for said in map(texts, sheets):
        assert "lrp, own rules, partly plain gradient" in said
        assert "plain gradient, for want of a rule, at i0e at head" in said


def test_the_title_that_axes_have_is_left_as_it_is():
    axes = Figure().add_subplot()
    axes.set_title("mine", loc="left")
    result("picture").plot(kind="overlay", ax=axes)
    assert texts(axes).count("lrp") == 0


@pytest.mark.parametrize("what", ["table", "picture", "series", "two pictures"])
@pytest.mark.parametrize("turned", [False, True])
def test_grids_and_comparisons_say_them_too(what, turned):
    plain = result(what)
    first = replace(plain, parameters=RULES[0])
    met = {**plain.provenance, "uncovered": ["i0e at head"]}
    second = replace(plain, parameters=RULES[1], provenance=met)
    options = {"across": "methods" if turned else "questions"}
    said = texts(Comparison({"lrp": first, "mine": second}, {}).plot(0, **options))
    assert "lrp, epsilon_plus_flat" in said
    assert "mine, reveal_cancel, partly plain gradient" in said
    assert "mine: plain gradient, for want of a rule, at i0e at head" in said
    alone = texts(plots.grid({"lrp": {"cat": first}}))
    assert "lrp, epsilon_plus_flat" in alone
    assert "plain gradient" not in alone
    told = texts(plots.grid({"epsilon_plus_flat of mine": first, "b": replace(first)}))
    assert "mine, epsilon_plus_flat" not in told, "a name that says it is not told twice"


class Hidden(nn.Module):
    """A layer behind a function that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(torch.special.i0e(self.first(x)))


def test_a_comparison_and_a_report_say_what_a_run_did():
    x = rng.normal(size=(2, 4)).astype(np.float32)
    model = pellucid.wrap(Hidden().eval())
    options: dict[str, Any] = {"composite": "epsilon", "on_uncovered": "gradient"}
    e = explain(model, x, "lrp", **options)
    said = texts(Comparison({"lrp": e}, {}).plot())
    assert "lrp, epsilon, partly plain gradient" in said
    assert "plain gradient, for want of a rule" in said
    assert "passed on their plain gradient" in e.to_html()
    report = pellucid.report(model, x, methods=[("lrp", options)], evaluate=False)
    assert "passed on their plain gradient" in report.to_html()
