"""What has a rule, what has none, and what happens then."""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.comparison import Comparison
from pellucid.errors import CapabilityError, CoverageError, InputError
from pellucid.methods.registry import registered, takes_parameter
from pellucid.testing import build

RULED = sorted(n for n, c in registered().items() if takes_parameter(n, "on_uncovered"))


class Cube(torch.autograd.Function):
    """A derivative of its own, which no rule sees."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, cotangent):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * cotangent


class Hidden(torch.nn.Module):
    """A ReLU, and then something that hides in a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.last(Cube.apply(torch.relu(self.first(x))))


X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
OPTIONS = {"deep_shap": {"background": np.zeros((2, 4), np.float32)}}
ON_TABLES = [m for m in RULED if not registered()[m].modalities]


def test_methods_that_have_rules():
    assert set(RULED) >= {
        "deeplift", "deep_shap", "guided_backprop", "deconvnet", "guided_gradcam"
    }  # fmt: skip


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras", "jax", "tensorlayer"])
@pytest.mark.parametrize("name", ["cnn", "vit", "two_inputs"])
def test_every_tiny_model_is_covered(framework, name):
    model, x = build(name, framework)
    found = wrap(model).coverage("deeplift", x)
    assert found.complete
    assert {"linear", "rescale"} <= {op.rule for op in found}
    assert len(found) > 5
    assert str(found).startswith(f"deeplift: all {len(found)} operations have a rule.")
    gated = wrap(model).coverage("guided_backprop", x)
    assert ("gate" in {op.rule for op in gated}) == (name != "vit")


@pytest.mark.parametrize("method", ON_TABLES)
def test_what_has_no_rule_is_named_and_refused(method):
    model = wrap(Hidden().eval())
    found = model.coverage(method, X)
    assert not found.complete
    (op,) = found.uncovered
    assert op.kind in {"custom_gradient", "untracked"}
    assert "1 of" in str(found)
    assert found.instead in str(found)
    assert "none" in str(found).splitlines()[2]
    with pytest.raises(CoverageError, match=f"{method} has no rule for .*\n.*{found.instead}"):
        explain(model, X, method, **OPTIONS.get(method, {}))
    assert np.isfinite(explain(model, X, found.instead).values).all(), "the one named works"


@pytest.mark.parametrize("method", ON_TABLES)
def test_the_gradient_in_place_of_a_rule_is_said_wherever_it_shows(method):
    e = explain(Hidden().eval(), X, method, on_uncovered="gradient", **OPTIONS.get(method, {}))
    assert e.parameters["on_uncovered"] == "gradient"
    assert len(e.provenance["uncovered"]) >= 1
    assert any("passed on their plain gradient" in w for w in e.warnings)
    assert "plain gradient" in e.plot().get_supxlabel()
    assert "on_uncovered='gradient'" in e.reproduce()
    covered = explain(build("dense", "torch")[0], build("dense", "torch")[1], "deeplift")
    assert "uncovered" not in covered.provenance
    assert "plain gradient" not in covered.plot().get_supxlabel()


@pytest.mark.parametrize("pictures", [False, True])
def test_the_picture_of_several_methods_says_it_too(pictures):
    net, x = Hidden(), X
    if pictures:
        net, x = torch.nn.Sequential(torch.nn.Flatten(), net), X.repeat(4, 1).reshape(2, 1, 4, 4)
        net[1].first = torch.nn.Linear(16, 5)
    found = {
        m: explain(net.eval(), x, m, **options)
        for m, options in (("guided_backprop", {"on_uncovered": "gradient"}), ("saliency", {}))
    }
    found = Comparison(found, {})
    (said,) = [s for s in found.plot().get_supxlabel().splitlines() if "plain gradient" in s]
    assert said.startswith("guided_backprop: plain gradient, for want of a rule, at ")


def test_what_lets_a_gradient_through_is_that_gradient():
    net = Hidden().eval()
    e = explain(net, X, "guided_backprop", target=1, on_uncovered="gradient")
    x = torch.from_numpy(X).requires_grad_()
    hidden = net.first(x)
    active = torch.relu(hidden).detach()
    down = torch.clamp(net.last.weight[1] * 3 * active**2, min=0) * (hidden > 0)
    np.testing.assert_allclose(e.values, (down @ net.first.weight).detach(), rtol=1e-5, atol=1e-6)


def test_without_x_the_model_s_own_shape_is_taken():
    keras_model, _ = build("cnn", "keras")
    assert wrap(keras_model).coverage("deeplift").complete
    two, _ = build("two_inputs", "keras")
    assert wrap(two).coverage("deeplift").complete
    with pytest.raises(InputError, match="coverage\\(method, x\\)"):
        wrap(lambda x: torch.relu(x), framework="torch").coverage("deeplift")


def test_methods_without_rules_and_models_without_operations():
    model, x = build("cnn", "torch")
    assert {op.rule for op in wrap(model).coverage("saliency", x)} == {"gradient"}
    assert {op.rule for op in wrap(model).coverage("occlusion", x)} == {"none needed"}
    function, z = build("dense", "numpy")
    with pytest.raises(CapabilityError, match="deeplift needs access to layers"):
        wrap(function).coverage("deeplift", z)
    with pytest.raises(InputError, match="on_uncovered"):
        explain(model, x, "deeplift", on_uncovered="ignore")


def test_nobody_s_markup_gets_into_the_table():
    model, x = build("dense", "torch")
    html = wrap(model).coverage("deeplift", x)._repr_html_()
    assert html.count("<tr>") == len(str(wrap(model).coverage("deeplift", x)).splitlines()) - 1


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras", "jax"])
def test_the_rule_of_the_first_and_the_last_layer_is_the_one_they_get(framework):
    model, x = build("cnn", framework)
    model = wrap(model)

    def rules(method, **options):
        weighted = [op for op in model.coverage(method, x, **options) if op.kind == "linear"]
        return [op.rule for op in weighted if op.rule != "plain"]

    presets = {
        "epsilon_plus_flat": ("flat", "z_plus", "epsilon"),
        "epsilon_gamma_box": ("box", "gamma", "epsilon"),
        "deep_taylor": ("w_square", "z_plus", "z_plus"),
    }
    for composite, (first, middle, last) in presets.items():
        found = rules("lrp", composite=composite)
        assert (found[0], found[-1]) == (first, last)
        assert set(found[1:-1]) <= {middle, last}
    own = rules("lrp", composite={"last": "norm", "first": "w_square", "linear": "gamma"})
    assert (own[0], *sorted(set(own[1:-1])), own[-1]) == ("w_square", "gamma", "norm")
    assert rules("excitation_backprop")[-1] == "alpha_beta"
    assert set(rules("excitation_backprop")[:-1]) == {"z_plus"}
    assert set(rules("excitation_backprop", contrastive=False)) == {"z_plus"}


def test_above_a_layer_no_other_layer_becomes_the_first():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    found = wrap(net).coverage("lrp", X, layer="1", composite="deep_taylor")
    assert [op.rule for op in found if op.kind == "linear"] == ["z_plus"]
    e = explain(net, X, "lrp", layer="1", composite="deep_taylor", target=1)
    alike = explain(net, X, "lrp", layer="1", composite={"linear": "z_plus"}, target=1)
    np.testing.assert_array_equal(e.values, alike.values)
