"""Functional, Sequential, nested, subclassed, reloaded × every method: all run, all agree.

The grid on which the explainers of the Keras world fail (nested and subclassed models most of all).
One network in five styles has one set of numbers; single sigmoid, several inputs, a shared encoder
and a nested base are ordinary models.
"""

import functools

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.methods.registry import registered, takes_parameter
from pellucid.testing import STYLES, build

SMALL = {
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 2},
    "squaregrad": {"samples": 2},
    "vargrad": {"samples": 6, "noise": 0.3},
    "occlusion": {"window": 5, "stride": 5},
    "kernel_shap": {"budget": 50},
    "permutation_shap": {"budget": 50},
    "lime": {"budget": 50},
    "rise": {"budget": 50},
    "hsic": {"budget": 50},
    "partition_shap": {"budget": 50},
}
# These models do not attend: test_attention.py has one that does.
METHODS = sorted(
    n for n, c in registered().items() if c.modalities != {"table"} and not c.needs_attention
)
# What stands at a layer has one map, not one an input, and tables have no layer with a map.
ON_TABLES = [
    m for m in METHODS if not (registered()[m].modalities or registered()[m].always_at_layer)
]
OF_MAXIMUM = 1e-5


@functools.cache
def model_in(style: str, name: str = "cnn"):
    network, x = build(name, "keras", style=style)
    return wrap(network), x


def few_features(x):
    """So few that all coalitions can be tried: cells of images, columns of tables."""
    if isinstance(x, tuple):
        return tuple("grid:2" if leaf.ndim == 4 else None for leaf in x)
    return "grid:3" if x.ndim == 4 else None


def maps_of(model, x, method: str) -> list[np.ndarray]:
    options = dict(SMALL.get(method, {}))
    if takes_parameter(method, "features"):
        options["features"] = few_features(x)
    e = explain(model, x, method, **options)
    assert all(np.isfinite(p.values).all() for p in e.parts)
    return [p.values for p in e.parts]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("method", METHODS)
def test_every_style_gives_the_map_of_the_functional_model(method, style):
    expected = maps_of(*model_in("functional"), method)
    found = maps_of(*model_in(style), method)
    scale = max(np.abs(e).max() for e in expected)
    assert scale > 0
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=OF_MAXIMUM * scale)


@pytest.mark.parametrize("style", ["functional", "reloaded"])
@pytest.mark.parametrize("name", ["sigmoid", "shared", "two_inputs"])
@pytest.mark.parametrize("method", ON_TABLES)
def test_one_sigmoid_several_inputs_and_a_shared_encoder(method, name, style):
    model, x = model_in(style, name)
    leaves = x if isinstance(x, tuple) else (x,)
    found = maps_of(model, x, method)
    assert len(found) == len(leaves)
    for values, leaf in zip(found, leaves, strict=True):
        assert len(values) == len(leaf)
        assert np.any(values != 0)


def test_a_layer_inside_a_nested_base_is_found_by_name():
    model, x = model_in("nested")
    inner = explain(model, x, "gradcam", layer="base/conv2")
    assert inner.parameters["layer"] == "base/conv2"
    flat, _ = model_in("functional")
    outer = explain(flat, x, "gradcam", layer="conv2")
    np.testing.assert_allclose(inner.values, outer.values, atol=1e-5 * np.abs(outer.values).max())
