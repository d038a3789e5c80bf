"""The table of methods: what there is, and what runs on a model."""

import re
from pathlib import Path

import numpy as np
import pytest

from pellucid import explain, methods, wrap
from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, InputError
from pellucid.methods.registry import registered
from pellucid.tables import MODALITIES, MethodTable
from pellucid.testing import build

BUILT_IN = {
    "saliency", "gradient_x_input", "integrated_gradients", "smoothgrad", "gradcam", "occlusion",
    "gradcam_plus_plus", "hirescam", "xgradcam", "layercam", "eigencam", "scorecam", "ablationcam",
    "random", "edges", "constant", "exact_shapley", "kernel_shap", "permutation_shap",
    "lime", "rise", "sobol", "hsic",
    "partition_shap", "shapley_interactions",
    "deeplift", "deep_shap", "guided_backprop", "deconvnet", "guided_gradcam",
    "lrp", "excitation_backprop",
}  # fmt: skip


def test_every_method_has_a_row_that_says_what_it_is():
    table = methods()
    assert set(table.names) >= BUILT_IN
    assert len(table) == len(set(table.names))
    tiers = {tier.name.lower() for tier in Tier}
    for row in table:
        if row["name"] not in BUILT_IN:
            continue
        assert row["needs"] in tiers
        assert row["cost"]
        assert row["what"].endswith(".")
        assert row["family"] in {"gradient", "cam", "backward", "perturbation", "controls"}
        assert row["source"] or row["family"] == "controls"
        assert (row["runs"], row["why"]) == (None, None)


CHEAP = {
    "integrated_gradients": {"steps": 2},
    "blur_integrated_gradients": {"steps": 2},
    "guided_integrated_gradients": {"steps": 4},
    "expected_gradients": {"samples": 4, "background": np.zeros((2, 3, 12, 10), np.float32)},
    "deep_shap": {"background": np.zeros((2, 3, 12, 10), np.float32)},
    "smoothgrad": {"samples": 2},
    "squaregrad": {"samples": 3},
    "vargrad": {"samples": 4},
    "occlusion": {"window": 6, "stride": 6},
    "exact_shapley": {"features": "grid:2"},
    "kernel_shap": {"features": "grid:3", "budget": 40},
    "permutation_shap": {"features": "grid:3", "budget": 40},
    "partition_shap": {"features": "grid:3", "budget": 40},
    "shapley_interactions": {"features": "grid:4", "budget": 300},
    "lime": {"features": "grid:3", "budget": 40},
    "rise": {"grid": 3, "budget": 40},
    "sobol": {"features": "grid:3", "budget": 60},
    "hsic": {"features": "grid:3", "budget": 40},
    "surrogate_tree": {"background": np.random.default_rng(0).normal(size=(30, 6))},
}


def test_the_table_of_the_readme_names_every_method_and_its_evidence():
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    lines = text.partition("\n## The methods\n")[2].partition("\n## ")[0].splitlines()
    cells = [line.split("|")[1:-1] for line in lines if line.startswith("| `")]
    said = {name: row[3] for row in cells for name in re.findall(r"`(\w+)`", row[0])}
    built_in = {n for n, c in registered().items() if c.__module__.startswith("pellucid.methods.")}
    assert said.keys() == built_in, "README's table of methods is not that of pellucid.methods()"
    pictures, table = build("cnn", "torch"), build("dense", "torch")
    for name in methods(model=pictures[0]).runnable:
        if name in said and not registered()[name].is_global:
            model, x = table if registered()[name].modalities == {"table"} else pictures
            e = explain(model, x[:2], name, **CHEAP.get(name, {}))
            assert ("`stderr`" in said[name]) == (e.stderr is not None), name
            assert ("`gap`" in said[name]) == (e.gap is not None), name


def test_rows_stand_by_family_and_name():
    order = [(row["family"], row["name"]) for row in methods()]
    assert order == sorted(order)


def test_by_kind_of_input():
    assert "gradcam" in methods("image").names
    assert "gradcam" in methods("series").names
    assert "gradcam" not in methods("table").names
    assert "saliency" in methods("table").names
    assert "gradcam" not in methods("array").names
    for kind in MODALITIES:
        assert "occlusion" in methods(kind).names


@pytest.mark.parametrize("kind", ["images", "", 3, ["image"]])
def test_kinds_that_are_none(kind):
    with pytest.raises(InputError, match=r"Expected modality to be one of .*'image'.*got"):
        methods(kind)


@pytest.mark.parametrize(
    ("name", "framework"),
    [("cnn", "torch"), ("cnn", "keras"), ("dense", "keras"), ("cnn", "numpy"), ("dense", "numpy")],
)
def test_what_is_said_to_run_runs_and_the_rest_does_not(name, framework):
    model, x = build(name, framework)
    for row in methods(model=model):
        if row["name"] not in BUILT_IN:
            continue
        options = {"smoothgrad": {"samples": 2}, "integrated_gradients": {"steps": 2}}
        if x[0].ndim == 3:
            few = {"features": "grid:2"}
            options |= {"exact_shapley": few, "shapley_interactions": few}
        if row["runs"]:
            assert row["why"] is None
            e = explain(model, x[:1], row["name"], **options.get(row["name"], {}))
            assert np.isfinite(e.values).all()
        else:
            assert row["name"] in row["why"]
            with pytest.raises(CapabilityError):
                explain(model, x[:1], row["name"])


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_whether_a_model_attends_a_run_shows(framework):
    model, x = build("cnn", framework)
    table = methods(model=model)
    rows = {row["name"]: row for row in table if row["family"] == "attention"}
    assert len(rows) == 4
    for name, row in rows.items():
        assert row["runs"] is (None if framework == "torch" else False)
        assert name in row["why"]
        assert name not in table.runnable
        with pytest.raises(CapabilityError, match=r"gradcam|occlusion"):
            explain(model, x[:1], name)
    assert str(table).splitlines()[0].split()[-1] == "runs"


def test_names_of_what_runs():
    function, _ = build("dense", "numpy")
    table = methods(model=function)
    assert table.runnable == [row["name"] for row in table if row["runs"]]
    assert {"occlusion", "random"} <= set(table.runnable)
    assert "saliency" in table.names
    assert "saliency" not in table.runnable
    assert set(methods(model=build("cnn", "torch")[0]).runnable) >= BUILT_IN
    with pytest.raises(InputError, match="made without one"):
        _ = methods().runnable
    assert MethodTable(()).runnable == []


def test_why_not():
    function, _ = build("dense", "numpy")
    rows = {row["name"]: row for row in methods(model=function)}
    assert rows["occlusion"]["runs"]
    assert rows["random"]["runs"]
    assert "gradients" in rows["saliency"]["why"]
    assert "layers" in rows["gradcam"]["why"]
    model, _ = build("dense", "keras")
    why = next(row["why"] for row in methods(model=wrap(model)) if row["name"] == "gradcam")
    assert "image" in why
    assert "table" in why


def test_a_thing_that_is_no_model():
    with pytest.raises(CapabilityError, match="function from arrays to arrays"):
        methods(model=3)


def test_text_and_html():
    table = methods("image", build("cnn", "numpy")[0])
    lines = str(table).splitlines()
    assert lines[0].split() == ["name", "family", "needs", "modalities", "cost", "source", "runs"]
    assert len(lines) == len(table) + 1
    assert all(line == line.rstrip() for line in lines)
    saliency = next(line for line in lines if line.startswith("saliency"))
    assert saliency.endswith("no")
    assert "runs" not in str(methods()).splitlines()[0]
    hostile = MethodTable(({**next(iter(table)), "name": "<b>"},))
    assert "<b>" not in hostile._repr_html_()
    assert hostile._repr_html_().count("<tr>") == 2
    assert str(MethodTable(()))


def test_what_each_method_s_docstring_says():
    """Formula or definition, what comes back, what it costs: the house's rule for a method."""
    for name in sorted(BUILT_IN):
        doc = registered()[name].__doc__
        assert ">>> explain(" in doc or ">>> bool(explain(" in doc or ">>>" in doc, name
        assert "Cost" in doc or "look at" in doc, name


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_what_a_run_would_cost(framework):
    """Told before anything is run, and kept: an upper bound where equal rows run once."""
    model, x = build("dense", framework)
    calls = []

    def watched(z):
        calls.append(len(z))
        return model(z)

    told = methods(model=watched if framework == "numpy" else model).expected(x)
    assert not calls
    assert {"occlusion", "exact_shapley", "kernel_shap", "partition_shap"} <= set(told)
    assert ("smoothgrad" in told) == (framework == "torch")
    for name, rows in told.items():
        e = explain(model, x, name)
        fewest = 0 if name == "partition_shap" else 0.5 * rows  # exact below its budget
        assert fewest < e.evaluations.forward <= rows, name
        assert e.provenance["expected_rows"] == rows
    with pytest.raises(InputError, match="depends on the model"):
        methods().expected(x)
