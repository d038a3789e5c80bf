"""A user's own method: five lines, and a full citizen."""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from pellucid import Explainer, Explanation, explain, methods, register_method, wrap
from pellucid.errors import CapabilityError, InputError, MethodError, ModelError
from pellucid.methods import registry
from pellucid.methods.base import Attribution, Method
from pellucid.task import Task
from pellucid.testing import build, from_layout


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Names that are registered in a test are gone after it."""
    before = dict(registry._REGISTERED)
    yield
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)


def five_lines() -> None:
    @register_method("my_gradient")
    def my_gradient(model, x, target, power=1.0, *, sign=True):
        """The gradient times a power of the input."""
        grad = model.gradient(x) * np.abs(x) ** power
        return grad if sign else np.abs(grad)


def test_it_explains_as_any_other():
    five_lines()
    net, x = build("cnn", "torch")
    e = explain(net, x, "my_gradient", target=2)
    gradient = explain(net, x, "saliency", target=2).values
    np.testing.assert_allclose(e.values, gradient * np.abs(x), rtol=1e-5, atol=1e-7)
    assert e.parameters == {"power": 1.0, "sign": True}
    assert e.evaluations == (10, 5, 0), "the prediction, and a forward and backward"
    assert e.data["values"].dims == ("sample", "channel", "height", "width")
    changed = explain(net, x, "my_gradient", target=2, power=2, sign=False)
    np.testing.assert_allclose(changed.values, np.abs(gradient * x**2), rtol=1e-5, atol=1e-7)
    assert changed.parameters == {"power": 2, "sign": False}


def test_it_is_the_same_on_keras_and_torch():
    five_lines()
    found = {}
    for framework in ("keras", "torch"):
        model, x = build("cnn", framework)
        e = explain(model, x, "my_gradient", power=0.5)
        found[framework] = from_layout(e.values, framework)
    np.testing.assert_allclose(found["keras"], found["torch"], rtol=1e-4, atol=1e-6)


def test_it_is_listed_compared_saved_and_drawn(tmp_path):
    five_lines()
    row = next(r for r in methods() if r["name"] == "my_gradient")
    assert row["family"] == "custom"
    assert row["what"] == "The gradient times a power of the input."
    assert "five_lines" in row["source"]
    net, x = build("cnn", "torch")
    explainer = Explainer(net, ["saliency", ("my_gradient", {"power": 2})])
    found = explainer.compare(x)
    assert sorted(found) == ["my_gradient", "saliency"]
    assert found["my_gradient"].parameters["power"] == 2
    loaded = Explanation.load(found["my_gradient"].save(tmp_path / "e.zarr"))
    assert np.array_equal(loaded.values, found["my_gradient"].values)
    assert loaded.plot() is not None
    plt.close("all")
    assert "my_gradient" in loaded.to_html()


def test_parameters_it_does_not_take():
    five_lines()
    with pytest.raises(
        MethodError, match=r"no parameter 'pover'.*'power'.*\n.*parameters: power, sign"
    ):
        explain(*build("dense", "torch"), "my_gradient", pover=2)
    with pytest.raises(MethodError, match="no parameter 'layer'"):
        explain(*build("dense", "torch"), "my_gradient", layer="head")
    with pytest.raises(MethodError, match=r"No method 'my_gradeint'.*'my_gradient'"):
        explain(*build("dense", "torch"), "my_gradeint")
    with pytest.raises(MethodError, match="no parameter 'pover'"):
        Explainer(build("dense", "torch")[0], [("my_gradient", {"pover": 2})])


def test_parameters_without_a_default_and_any_others():
    @register_method("needing")
    def needing(model, x, target, factor, **others):
        return x * factor + others.get("offset", 0)

    net, x = build("dense", "torch")
    with pytest.raises(MethodError, match="needing needs the parameter 'factor'"):
        explain(net, x, "needing")
    e = explain(net, x, "needing", factor=2, offset=1)
    np.testing.assert_allclose(e.values, 2 * x + 1, rtol=1e-6)
    assert e.parameters == {"factor": 2, "offset": 1}


def test_arguments_of_explain_reach_a_parameter_of_their_name():
    @register_method("taking")
    def taking(model, x, target, baseline=0.0, layer=None, budget=None, seed=0):
        assert model.seed == seed
        return np.full(x.shape, baseline + seed + (budget or 0)) + len(layer or "")

    net, x = build("dense", "torch")
    e = explain(net, x, "taking", baseline=0.5, seed=3, budget=10, layer="head")
    assert np.array_equal(e.values, np.full(x.shape, 17.5))
    assert e.parameters == {"baseline": 0.5, "layer": "head", "budget": 10}
    assert e.seed == 3


def test_what_the_method_is_given():
    seen = {}

    @register_method("looking")
    def looking(model, x, target):
        seen.update(x=x, target=target, layers=[c.path for c in model.layers()])
        seen["outputs"], seen["scores"] = model(x), model.score(x)
        seen["some"] = model.score(np.repeat(x[:2], 3, axis=0), rows=[0, 0, 0, 1, 1, 1])
        seen["gradient"] = model.gradient(x[1:3], rows=np.array([1, 2]))
        x *= 0
        return x

    net, x = build("dense_softmax", "torch")
    given = x.copy()
    e = explain(net, x, "looking", target=[2, 1, 0, 1, 2])
    assert np.array_equal(x, given), "what works in place works on a copy"
    assert np.array_equal(e.inputs, given)
    assert np.array_equal(seen["target"], [2, 1, 0, 1, 2])
    np.testing.assert_allclose(seen["outputs"], e.outputs, rtol=1e-5)
    np.testing.assert_allclose(seen["scores"], e.score, rtol=1e-5)
    np.testing.assert_allclose(seen["some"], np.repeat(e.score[:2], 3), rtol=1e-5)
    assert seen["gradient"].shape == (2, 6)
    assert "head" in seen["layers"]
    assert e.evaluations == (5 + 5 + 5 + 6 + 2, 2, 0)


def test_several_inputs_come_and_go_as_a_tuple():
    @register_method("both", several_inputs=True)
    def both(model, x, target, listed=False):
        grads = model.gradient(x)
        made = [g * a for g, a in zip(grads, x, strict=True)]
        return made if listed else tuple(made)

    net, x = build("two_inputs", "torch")
    expected = explain(net, x, "gradient_x_input")
    for listed in (False, True):
        e = explain(net, x, "both", listed=listed)
        for one, other in zip(e.values, expected.values, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_map_without_the_channel_axis():
    @register_method("flat")
    def flat(model, x, target, axis=1):
        return np.abs(model.gradient(x)).max(axis=axis)

    net, x = build("cnn", "torch")
    e = explain(net, x, "flat")
    assert e.values.shape == (5, 12, 10)
    assert e.data["values"].dims == ("sample", "height", "width")
    single = explain(net, x[0], "flat")
    assert single.values.shape == (12, 10)
    model, x = build("cnn", "keras")
    e = explain(model, x, "flat", axis=-1)
    assert e.data["values"].dims == ("sample", "height", "width")
    e.plot()
    plt.close("all")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: x[:2], r"shape \(5, 3, 12, 10\) or \(5, 12, 10\), got shape \(2, 3, 12, 10\)"),
        (lambda x: x[0], "got shape"),
        (lambda x: x.sum(), r"got shape \(\)"),
        (lambda x: x.mean(axis=(1, 2, 3)), r"got shape \(5,\)"),
        (lambda x: x.transpose(0, 2, 3, 1), r"got shape \(5, 12, 10, 3\)"),
        (lambda x: x[:, :, ::2], r"got shape \(5, 3, 6, 10\)"),
        (lambda x: (x, x), r"1 array\(s\), one an input, got 2"),
        (lambda x: None, r"got shape \(\)|array of numbers"),
        (lambda x: "map", "array of numbers"),
        (lambda x: {"map": x}, "array of numbers"),
        (lambda x: [x[0], x[0, 0]], "array of numbers"),
    ],
    ids=[
        "rows", "one", "number", "scores", "layout", "strided", "two", "none", "text", "dict",
        "ragged",
    ],
)  # fmt: skip
def test_maps_of_the_wrong_shape(returned, message):
    register_method("wrong")(lambda model, x, target: returned(x))
    with pytest.raises(MethodError, match=message) as caught:
        explain(*build("cnn", "torch"), "wrong")
    assert "wrong" in str(caught.value)


def test_native_tensors_and_other_dtypes_are_taken():
    register_method("native")(lambda model, x, target: torch.tensor(x, requires_grad=True) * 2)
    register_method("whole")(lambda model, x, target: np.ones(x.shape, dtype=np.int64))
    register_method("nested")(lambda model, x, target: x.tolist())
    net, x = build("dense", "torch")
    np.testing.assert_allclose(explain(net, x, "native").values, 2 * x)
    assert explain(net, x, "whole").values.dtype == np.float32
    np.testing.assert_allclose(explain(net, x, "nested").values, x)


def test_what_is_returned_is_copied():
    kept = []

    @register_method("keeping")
    def keeping(model, x, target):
        kept.append(np.ones(x.shape, dtype=np.float32))
        return kept[0]

    e = explain(*build("dense", "torch"), "keeping")
    kept[0][:] = 7
    assert (e.values == 1).all()


def test_nan_in_a_map():
    register_method("broken")(lambda model, x, target: x * np.where(x[:, :1] > 0, 1, np.nan))
    net, x = build("dense", "torch")
    x[:, 0] = [1, -1, 1, -1, 1]
    with pytest.raises(ModelError, match=r"NaN or infinity for input in the rows \[1, 3\]") as e:
        explain(net, x, "broken")
    assert "derivative" not in str(e.value)


def test_a_method_that_raises_is_named_and_leaves_the_others():
    @register_method("raising")
    def raising(model, x, target):
        return x / {}["gone"]

    net, x = build("dense", "torch")
    with pytest.raises(MethodError, match="raising raised KeyError: 'gone'") as caught:
        explain(net, x, "raising")
    assert isinstance(caught.value.__cause__, KeyError)
    found = Explainer(net, ["raising", "saliency"]).compare(x)
    assert list(found) == ["saliency"]
    assert "KeyError" in found.failures["raising"]


def test_asking_the_model_wrongly():
    asked = {}
    register_method("asking")(lambda model, x, target: asked["call"](model, x))
    net, x = build("dense", "torch")
    for call, message in (
        (lambda m, x: m.score(np.repeat(x, 2, axis=0)), "10 rows for 5 samples.*rows="),
        (lambda m, x: m.gradient(x, rows=[0, 1]), "for each of 5 rows"),
        (lambda m, x: m.score(x, rows=[0, 1, 2, 3, 9]), "from 0 to 4"),
        (lambda m, x: m(x[0]), r"rows of shape \(m, 6\), got \(6,\)"),
        (lambda m, x: m((x, x)), r"rows of shape \(m, 6\), got \(5, 6\), \(5, 6\)"),
        (lambda m, x: m.score(x[:0], rows=[]), r"got \(0, 6\)"),
    ):
        asked["call"] = call
        with pytest.raises(InputError, match=message):
            explain(net, x, "asking")
    asked["call"] = lambda m, x: m(x[:, :4])
    with pytest.raises(ModelError, match="RuntimeError"):
        explain(net, x, "asking")


def test_a_model_without_gradients_says_so():
    register_method("grad")(lambda model, x, target: model.gradient(x))
    register_method("score")(lambda model, x, target: x * model.score(x)[:, None])
    function, x = build("dense", "numpy")
    assert explain(function, x, "score").values.shape == x.shape
    with pytest.raises(CapabilityError, match=r"no gradients.*\n.*model.score"):
        explain(function, x, "grad")
    register_method("told", needs="differentiable")(lambda model, x, target: model.gradient(x))
    with pytest.raises(CapabilityError, match="told needs gradients"):
        explain(function, x, "told")


def test_what_decorating_returns_and_says():
    def plain(model, x, target):
        return x

    assert register_method("plain", family="mine", cost="0 F", source="me")(plain) is plain
    row = next(r for r in methods() if r["name"] == "plain")
    assert (row["family"], row["cost"], row["source"]) == ("mine", "0 F", "me")
    with pytest.warns(UserWarning, match=r"'plain' is now .*double; it was .*says.<locals>.plain"):
        register_method("plain")(double)
    net, x = build("dense", "torch")
    np.testing.assert_allclose(explain(net, x, "plain").values, 2 * x), "the last one counts"
    register_method("plain")(double)  # once more, as when a cell of a notebook is run again


def double(model, x, target):
    return 2 * x


def test_what_a_function_does_not_take_is_refused_before_it_runs():
    @register_method("of_tables", modalities="table")
    @register_method("of_one")
    def of_one(model, x, target):
        return np.zeros_like(x)

    calls = []

    def two(a, b):
        calls.append(1)
        return a.sum(axis=(1, 2, 3)) + b.sum(axis=1)

    _, x = build("two_inputs", "numpy")
    with pytest.raises(CapabilityError, match=r"of_one works on models with one input; .* has 2"):
        explain(two, x, "of_one")
    with pytest.raises(CapabilityError, match=r"of_tables works on inputs of the kinds table"):
        explain(lambda a: a.sum(axis=(1, 2, 3)), x[0], "of_tables")
    assert not calls
    assert "of_tables" in methods("table").names
    assert "of_tables" not in methods("image").names
    assert "of_one" not in methods(model=build("two_inputs", "keras")[0]).runnable
    with pytest.raises(MethodError, match=r"some of 'image', 'series', .*got \{'tables'\}"):
        register_method("of_none", modalities={"tables"})


@pytest.mark.parametrize("name", ["saliency", "occlusion", "random"])
def test_names_of_ours_are_taken(name):
    with pytest.raises(MethodError, match=rf"'{name}' is a built-in method"):
        register_method(name)


@pytest.mark.parametrize("name", ["my method", "2nd", "", "a-b", 3, None, lambda: 0])
def test_names_that_are_none(name):
    with pytest.raises(MethodError, match="identifier such as 'my_method', got"):
        register_method(name)


@dataclass(frozen=True)
class Whole(Method):
    """One number for all."""

    value: float = 1.0

    family = "mine"
    claims_completeness = True

    def attribute(self, task: Task) -> Attribution:
        values = tuple(np.full(a.shape, self.value, np.float32) for a in task.batch.arrays)
        return Attribution(values, baseline_score=np.zeros(task.count), warnings=("mine",))


def test_a_class_is_a_method_too(tmp_path):
    assert register_method("whole_class")(Whole) is Whole
    net, x = build("dense", "torch")
    e = explain(net, x, "whole_class", value=2, target=0)
    assert (e.values == 2).all()
    np.testing.assert_allclose(e.gap, np.abs(12 - e.score) / np.abs(e.score), rtol=1e-5)
    assert e.parameters == {"value": 2}
    own, of_the_gap = e.warnings
    assert own == "mine"
    assert "do not add up" in of_the_gap, "2 everywhere, whatever the score is"
    assert Explanation.load(e.save(tmp_path / "e.zarr")).method == "whole_class"
    with pytest.raises(MethodError, match=r"no parameter 'valeu'.*'value'"):
        explain(net, x, "whole_class", valeu=2)
    with pytest.raises(MethodError, match=r"whole_class's value to be a number, got '2'"):
        explain(net, x, "whole_class", value="2")


@dataclass(frozen=True)
class Grid(Method):
    """A map with axes of its own."""

    count: int = 1
    dims: bool = True

    def attribute(self, task: Task) -> Attribution:
        values = tuple(np.ones((task.count, 4, 2), np.float32) for _ in range(self.count))
        return Attribution(values, dims=(("sample", "row", "column"),) if self.dims else None)


def test_a_class_names_axes_of_its_own():
    register_method("grid")(Grid)
    net, x = build("dense", "torch")
    e = explain(net, x, "grid")
    assert e.data["values"].dims == ("sample", "row", "column")
    with pytest.raises(MethodError, match=r"1 array\(s\), one an input, got 2"):
        explain(net, x, "grid", count=2)
    with pytest.raises(MethodError, match=r"shape \(5, 6\), got shape \(5, 4, 2\)"):
        explain(net, x, "grid", dims=False)


def test_things_that_are_no_methods():
    class Thawed(Method):
        def attribute(self, task: Task) -> Attribution:
            raise AssertionError

    @dataclass
    class Mutable(Thawed):
        pass

    class Child(Whole):
        pass

    for thing in (Thawed, Mutable, Child):
        with pytest.raises(MethodError, match="must be a frozen dataclass"):
            register_method("thing")(thing)

    class Foreign:
        def __init__(self, model, x, target):
            pass

    for thing in (Foreign, 3, "method", None):
        with pytest.raises(MethodError, match="Expected a function"):
            register_method("thing")(thing)
    for function in (lambda: 0, lambda model, x: x, lambda *args: 0, max):
        with pytest.raises(MethodError, match=r"\(model, x, target\)|parameters"):
            register_method("thing")(function)
    for function in (
        lambda f, inputs, classes, x=1: inputs,
        lambda model, x, target, batch_size=3: x,
        lambda model, x, target, *, method="a": x,
    ):
        with pytest.raises(MethodError, match="which explain\\(\\) keeps for itself"):
            register_method("thing")(function)
    assert "thing" not in methods().names


def test_functions_of_every_kind():
    import functools

    class Doing:
        def __call__(self, model, x, target, factor=3):
            return factor * x

    def doing(model, x, target, factor=3):
        return factor * x

    net, x = build("dense", "torch")
    for function in (Doing(), functools.partial(doing, factor=3), Doing().__call__):
        register_method("doing")(function)
        np.testing.assert_allclose(explain(net, x, "doing").values, 3 * x)
        registry.unregister_method("doing")


# Plug-ins


class Point:
    """An entry point of an installed package."""

    def __init__(self, name: str, load) -> None:
        self.name, self.value, self.load = name, f"package:{name}", load


@pytest.fixture
def installed(monkeypatch):
    """Pretend that a package with these entry points is installed."""

    def install(*points: Point) -> None:
        def entry_points(*, group: str) -> list[Point]:
            return list(points) if group == "pellucid.methods" else []

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
        monkeypatch.setattr(registry, "entry_points", entry_points)
        monkeypatch.setattr(registry, "_ENTRY_POINTS_READ", [])

    return install


def test_installed_methods_are_found(installed):
    installed(Point("plugged", lambda: lambda model, x, target: 4 * x), Point("cls", lambda: Whole))
    net, x = build("dense", "torch")
    np.testing.assert_allclose(explain(net, x, "plugged").values, 4 * x)
    assert {"plugged", "cls"} <= set(methods().names)
    assert (explain(net, x, "cls").values == 1).all()


def test_a_plug_in_may_declare_what_it_works_on(installed):
    def load():
        return register_method("plugged", modalities={"table"})(double)

    installed(Point("plugged", load))
    assert "plugged" in methods("table").names
    assert "plugged" not in methods("image").names


def test_a_plug_in_does_not_displace_a_method_of_ours(installed):
    installed(Point("saliency", lambda: pytest.fail("not loaded")))
    assert methods().names.count("saliency") == 1


def test_a_plug_in_that_is_broken_costs_itself_only(installed):
    def fail():
        raise ImportError("No module named 'numba'")

    installed(
        Point("broken", fail),
        Point("not a name", lambda: lambda model, x, target: x),
        Point("plugged", lambda: lambda model, x, target: x),
    )
    with pytest.warns(RuntimeWarning) as warned:
        names = methods().names
    messages = [str(w.message) for w in warned]
    assert any("'broken' of the plug-in 'package:broken'" in m and "numba" in m for m in messages)
    assert any("'not a name'" in m for m in messages)
    assert "plugged" in names
    assert "broken" not in names
    assert methods().names == names, "warned of once"


def test_wrapped_models_are_seen_alike():
    five_lines()
    net, x = build("sigmoid", "torch")
    e = explain(wrap(net, output="probability"), x, "my_gradient")
    assert e.explained == "probability"
