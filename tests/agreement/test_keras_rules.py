"""Rules and attention on Keras's other backends, against the papers as on TensorFlow.

A few models, one way to build each: JAX takes seconds to compile what each of them runs.
"""

import functools

import numpy as np
import pytest
from keras_backend import Job, key, run_on
from test_attention_papers import METHODS as ATTENTION
from test_attention_papers import reference
from test_backward import expected
from test_lrp import epsilon_of
from test_lrp import expected as handed_down
from test_matrix import OF_MAXIMUM, difference

BACKENDS = ("torch", "jax")
MODELS = ("cnn", "residual", "vit")
LEFT_OUT = ("jax", "cnn")
RULES = {
    "guided_backprop": {},
    "deconvnet": {},
    "deeplift": {"baseline": "references"},
    "deep_shap": {"background": "references"},
    "lrp": {"composite": {"linear": "epsilon"}},
    "excitation_backprop": {"contrastive": False},
}
BY_RULE = [
    (method, name)
    for name in MODELS
    for method in RULES
    if not (name == "vit" and method == "excitation_backprop")  # values of any sign, as test_lrp.py
]
BY_ATTENTION = [(method, "vit") for method in ATTENTION]


def job(method: str, name: str) -> Job:
    options = dict(RULES.get(method, {}))
    if method == "lrp":
        options["epsilon"] = epsilon_of(name)
    return {"model": name, "style": "functional", "method": method, "options": options}


def wanted(method: str, name: str) -> tuple[np.ndarray, ...]:
    if method in ATTENTION:
        return (reference(method),)
    if method == "lrp":
        return handed_down(name, (("linear", "epsilon"),))
    if method == "excitation_backprop":
        return handed_down(name, (("linear", "z_plus"),), bias=False, whole=True, epsilon=1e-9)
    return expected(method, name)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All that a backend gives, in one process, when it is first asked for."""
    folder = tmp_path_factory.mktemp("rules")

    def run(backend: str) -> dict[str, np.ndarray]:
        pairs = [*BY_RULE, *BY_ATTENTION]
        return run_on(backend, [job(m, n) for m, n in pairs if (backend, n) != LEFT_OUT], folder)

    return functools.cache(run)


@pytest.mark.parametrize(
    ("method", "name", "backend"),
    [(*j, b) for j in (*BY_RULE, *BY_ATTENTION) for b in BACKENDS if (b, j[1]) != LEFT_OUT],
)
def test_the_papers_hold_on_every_backend(found, method, name, backend, cell):
    everything, done = found(backend), job(method, name)
    assert everything["backend"] == backend
    error = everything.get(key(done, "error"))
    assert error is None, str(error)
    away = difference([everything[key(done, 0)]], wanted(method, name))
    assert cell(method, f"keras on {backend}", away) < OF_MAXIMUM
