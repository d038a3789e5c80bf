"""Methods that draw masks: the same draws, and so the same numbers, in every framework.

The reference is a plain float64 function over `reference_forward`. That the numbers are those of
the papers is shown by slow forms in tests/unit/test_lime.py and its neighbours.
"""

import numpy as np
import pytest
from test_matrix import OF_MAXIMUM, STYLES_OF, channels_last, difference, logits_of, made

from pellucid import explain
from pellucid.testing import build

MODELS = ("dense", "sigmoid", "cnn", "residual", "two_inputs")
METHODS = {
    "lime": {"budget": 80},
    "rise": {"grid": 4, "budget": 80},
    "sobol": {"budget": 160},
    "hsic": {"budget": 80},
}


def features(method: str, name: str):
    if method == "rise" or name in {"dense", "sigmoid"}:
        return {}
    return {"features": ("grid:3", None) if name == "two_inputs" else "grid:4"}


def drawn_options(method: str, name: str) -> dict:
    return METHODS[method] | features(method, name) | {"seed": 3}


def compare(method: str, name: str, framework: str, options: dict, cell) -> None:
    base = explain(logits_of(name), build(name, "numpy")[1], method, seed=3, **options)
    if framework == "callable":
        model, x = logits_of(name), build(name, "numpy")[1]
    else:
        model, x = made(name, framework, STYLES_OF[framework](name)[0])
    e = explain(model, x, method, seed=3, **options)
    expected = tuple(channels_last(base))
    assert cell(method, framework, difference(channels_last(e), expected)) < OF_MAXIMUM
    scale = max(np.abs(v).max() for v in expected)
    for own, other in zip(e.parts, base.parts, strict=True):
        assert np.abs(own.stderr - other.stderr).max() < OF_MAXIMUM * scale
    assert e.evaluations == base.evaluations


@pytest.mark.parametrize("framework", ["callable", *STYLES_OF])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", list(METHODS))
def test_the_same_draws_in_every_framework(method, name, framework, cell):
    compare(method, name, framework, METHODS[method] | features(method, name), cell)


@pytest.mark.parametrize("framework", ["callable", *STYLES_OF])
@pytest.mark.parametrize("options", [{}, {"discretizer": None}], ids=str)
def test_lime_around_the_data_is_the_same_in_every_framework(options, framework, cell):
    width = build("dense", "numpy")[1].shape[1]
    rows = np.random.default_rng(3).normal(size=(40, width)).astype(np.float32)
    compare("lime", "dense", framework, {"background": rows, "budget": 300} | options, cell)


@pytest.mark.parametrize("framework", ["callable", *STYLES_OF])
@pytest.mark.parametrize("name", ["dense", "sigmoid"])
def test_the_same_tree_in_every_framework(name, framework, cell):
    """The last bits of a framework choose no question."""
    x = build(name, "numpy")[1]
    rows = np.random.default_rng(3).normal(size=(120, x.shape[1])).astype(np.float32)
    model = logits_of(name)
    if framework != "callable":
        model, x = made(name, framework, STYLES_OF[framework](name)[0])
    e, base = (
        explain(m, given, "surrogate_tree", background=rows)
        for m, given in ((model, x), (logits_of(name), build(name, "numpy")[1]))
    )
    found = difference(channels_last(e), tuple(channels_last(base)))
    assert cell("surrogate_tree", framework, found) < OF_MAXIMUM
    assert e.evaluations == base.evaluations
