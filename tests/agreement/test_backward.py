"""Methods with other backward passes, on every framework, against a NumPy tape by the papers."""

import functools

import numpy as np
import pytest
from test_matrix import CAM_LAYERS, OF_MAXIMUM, channels_last, difference, leaves_of, targets
from test_matrix import columns as every_column
from test_matrix import made as built

from pellucid import explain, wrap
from pellucid.testing import to_layout
from pellucid.testing.oracles_backward import deeplift, multipliers
from pellucid.testing.oracles_reveal import reveal_cancel

STYLES = {"", "functional", "reloaded", "static", "dynamic"}
"""Ways to build a model that these tests take; the Keras grid takes all of them."""
GATED = ("guided_backprop", "deconvnet")
BACKGROUND = 3


def columns() -> list:
    """(model, framework, style), two ways at most for each model and framework."""
    return [column for column in every_column() if column[2] in STYLES]


@functools.cache
def references(name: str) -> tuple[np.ndarray, ...]:
    """Rows that differ from the samples everywhere, channels last."""
    draws = np.random.default_rng(5)
    return tuple(
        (0.3 * draws.normal(size=(5, *leaf.shape[1:]))).astype(np.float32)
        for leaf in leaves_of(name)
    )


def as_given(rows: tuple[np.ndarray, ...], framework: str):
    """Rows in a framework's layout, one array or one for each input."""
    return to_layout(rows if len(rows) > 1 else rows[0], framework)


@functools.cache
def expected(method: str, name: str) -> tuple[np.ndarray, ...]:
    x, b, t = leaves_of(name), references(name), targets(name)
    if method == "deeplift":
        return deeplift(name, x, b, t)
    if method == "reveal_cancel":
        return reveal_cancel(name, x, b, t)
    if method == "deep_shap":
        rows = [
            tuple(np.repeat(leaf[j : j + 1], 5, axis=0) for leaf in b) for j in range(BACKGROUND)
        ]
        each = [deeplift(name, x, row, t) for row in rows]
        return tuple(np.mean(parts, axis=0) for parts in zip(*each, strict=True))
    return multipliers(name, x, b, t, {"guided_backprop": "guided"}.get(method, method))


def is_complete(e) -> bool:
    """A gap under 1e-4, or under the rounding of what was added up.

    In one sample of the transformer parts of 10 in all add up to 0.01: there float32 itself leaves
    2e-7 · 10 / 0.01.
    """
    size = sum(np.abs(p.values).reshape(len(p.values), -1).sum(axis=1) for p in e.parts)
    rounding = 2 * np.finfo(np.float32).eps * size / np.abs(e.score - e.baseline_score)
    return bool((e.gap < np.maximum(1e-4, rounding)).all())


def test_the_tape_of_the_oracle_has_the_gradient_of_central_differences():
    from pellucid.testing import reference_gradient

    for name in ("cnn", "residual", "two_inputs", "vit"):
        x = leaves_of(name)
        found = multipliers(name, x, references(name), np.zeros(5, dtype=int), "gradient")
        wanted = reference_gradient(name, x if len(x) > 1 else x[0], 0)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        assert difference(list(found), wanted) < 1e-6


def predicted_apart(model) -> int:
    """Rows that run for the prediction alone: none where it comes out of the rules' own pass."""
    return 5 if wrap(model).adapter.compiles_functions else 0


@pytest.mark.parametrize(("name", "framework", "style"), columns())
@pytest.mark.parametrize("method", GATED)
def test_gated_gradients_agree_with_the_tape(method, name, framework, style, cell):
    model, x = built(name, framework, style)
    e = explain(model, x, method)
    found = cell(method, framework, difference(channels_last(e), expected(method, name)))
    assert found < OF_MAXIMUM
    assert e.evaluations == (5 + predicted_apart(model), 5, 0)
    assert any("no ReLU" in w for w in e.warnings) == (name == "vit")


@pytest.mark.parametrize(("name", "framework", "style"), columns())
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_deeplift_agrees_with_the_tape_and_adds_up(rule, name, framework, style, cell):
    if rule == "reveal_cancel" and style in {"reloaded", "dynamic"}:
        pytest.skip("one way to build each model is enough: the rescale rule is tried on all")
    model, x = built(name, framework, style)
    e = explain(model, x, "deeplift", rule=rule, baseline=as_given(references(name), framework))
    wanted = expected("deeplift" if rule == "rescale" else rule, name)
    found = cell("deeplift", framework, difference(channels_last(e), wanted))
    assert found < OF_MAXIMUM
    assert is_complete(e)
    assert e.evaluations == (10 + predicted_apart(model), 5, 0)


@pytest.mark.parametrize(("name", "framework", "style"), columns())
def test_deep_shap_agrees_with_the_tape_and_adds_up(name, framework, style, cell):
    model, x = built(name, framework, style)
    rows = as_given(tuple(leaf[:BACKGROUND] for leaf in references(name)), framework)
    e = explain(model, x, "deep_shap", background=rows)
    found = cell("deep_shap", framework, difference(channels_last(e), expected("deep_shap", name)))
    assert found < OF_MAXIMUM
    assert is_complete(e)
    assert e.evaluations == (5 + BACKGROUND + 5 * BACKGROUND, 5 * BACKGROUND, 0)


@pytest.mark.parametrize(
    ("name", "framework"), [key for key in CAM_LAYERS if key[0] in {"cnn", "residual"}]
)
def test_guided_gradcam_is_the_product_of_both(name, framework, cell):
    model, x = built(name, framework, "static" if framework == "tensorlayer" else "")
    layer = CAM_LAYERS[name, framework]
    product = explain(model, x, "guided_gradcam", layer=layer)
    (guided,) = channels_last(explain(model, x, "guided_backprop"))
    heat = explain(model, x, "gradcam", layer=layer).values[..., None]
    found = difference(channels_last(product), (guided * heat,))
    assert cell("guided_gradcam", framework, found) < OF_MAXIMUM
