"""Keras on its other backends: the numbers, layers and peeled ends of Keras on TensorFlow."""

import functools
import sys

import numpy as np
import pytest
from keras_backend import Job, answer, key, made, run_on
from test_matrix import (
    CAM_LAYERS,
    CAMS,
    CONTROLS,
    METHODS,
    OF_MAXIMUM,
    ON_PICTURES,
    cam_allowed,
    cam_evaluations,
    cam_reference,
    channels_last,
    columns,
    difference,
    has_pictures,
    logits_of,
    reference,
)
from test_mobilenet import BY_GRADIENT, gating, open_units_at
from test_surrogates import METHODS as DRAWN
from test_surrogates import drawn_options

from pellucid import explain, wrap
from pellucid.testing import build

BACKENDS = ("torch", "jax")
MODELS = [(name, style) for name, framework, style in columns() if framework == "keras"]
CAM_MODELS = [(name, style) for name, style in MODELS if (name, "keras") in CAM_LAYERS]
CAM_STYLES = {"sequential": "relu2", "nested": "base/relu#2"}
AS_ON_TENSORFLOW = ("layers", "saliency", "occlusion")
PICTURES = [(name, style) for name, style in MODELS if has_pictures(name)]
DRAWING = ("dense", "cnn")
"""Models on which methods that draw masks or coalitions are compared."""
SAMPLED = {
    **{method: functools.partial(drawn_options, method) for method in DRAWN},
    "kernel_shap": lambda name: {"budget": 40, "seed": 3} | grid_of(name),
    "permutation_shap": lambda name: {"budget": 40, "seed": 3} | grid_of(name),
    "partition_shap": lambda name: {"budget": 40, "seed": 3} | grid_of(name),
    "exact_shapley": lambda name: grid_of(name),
}
UNITS = "open units of "
MOBILENET = {
    "saliency": {},
    "gradient_x_input": {},
    # Point after point, in order: the units open at each are told to another backend.
    "integrated_gradients": {"steps": 2, "batch_size": 1},
    "smoothgrad": {"samples": 2, "batch_size": 1},
    "gradcam": {},
    # Whole runs: which of them are run in part instead is timed, on each backend for itself.
    "occlusion": {"window": 96, "stride": 64, "incremental": False},
}


def grid_of(name: str) -> dict:
    return {"features": "grid:3"} if has_pictures(name) else {}


def job(name: str, style: str, method: str) -> Job:
    options = (METHODS | ON_PICTURES).get(method, {})
    if name == "mobilenet":
        options = MOBILENET.get(method.removeprefix(UNITS), {})
    elif method in SAMPLED:
        options = SAMPLED[method](name)
    elif method in CAMS:
        options = {"layer": CAM_STYLES.get(style, CAM_LAYERS[name, "keras"]), "relu": False}
        if name == "vit":  # found by itself too, at the cost of a look at the tokens
            options |= {"grid": (4, 3), "tokens_before": 1}
    return {"model": name, "style": style, "method": method, "options": options}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All that a backend gives; one process a backend, when it is first asked for."""
    methods = (*METHODS, *CONTROLS, "layers")
    jobs = [job(name, style, method) for name, style in MODELS for method in methods]
    jobs += [job(name, style, method) for name, style in PICTURES for method in ON_PICTURES]
    jobs += [job(name, style, method) for name, style in CAM_MODELS for method in CAMS]
    jobs += [job(name, "functional", method) for name in DRAWING for method in SAMPLED]
    folder = tmp_path_factory.mktemp("keras")
    return functools.cache(lambda backend: run_on(backend, jobs, folder))


def results(found, backend: str, done: Job) -> dict[str, np.ndarray]:
    everything = found(backend)
    assert everything["backend"] == backend
    error = everything.get(key(done, "error"))
    assert error is None, str(error)
    start = key(done, "")
    return {k[len(start) :]: v for k, v in everything.items() if k.startswith(start)}


def maps(result: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [result[k] for k in sorted(result) if k.isdigit()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "style"), MODELS)
@pytest.mark.parametrize("method", list(METHODS))
def test_methods_agree_with_the_paper_form(found, method, name, style, backend, cell):
    result = results(found, backend, job(name, style, method))
    away = difference(maps(result), reference(name, method))
    assert cell(method, f"keras on {backend}", away) < OF_MAXIMUM


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "style"), PICTURES)
@pytest.mark.parametrize("method", list(ON_PICTURES))
def test_methods_on_pictures_agree_with_the_paper_form(found, method, name, style, backend, cell):
    result = results(found, backend, job(name, style, method))
    away = difference(maps(result), reference(name, method))
    assert cell(method, f"keras on {backend}", away) < OF_MAXIMUM


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "style"), MODELS)
@pytest.mark.parametrize("method", CONTROLS)
def test_controls_are_those_of_a_plain_function(found, method, name, style, backend, cell):
    result = results(found, backend, job(name, style, method))
    plain = explain(logits_of(name), build(name, "numpy")[1], method)
    away = difference(maps(result), tuple(channels_last(plain)))
    assert cell(method, f"keras on {backend}", away) < OF_MAXIMUM
    assert tuple(result["evaluations"]) == tuple(plain.evaluations)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "style"), CAM_MODELS)
@pytest.mark.parametrize("method", CAMS)
def test_class_activation_maps_agree_with_the_paper_form(found, method, name, style, backend, cell):
    result = results(found, backend, job(name, style, method))
    away = difference(maps(result), (cam_reference(method, name, "keras", relu=False),))
    assert cell(method, f"keras on {backend}", away) < cam_allowed(method, name, "keras")
    assert tuple(result["evaluations"]) == cam_evaluations(method, name, "keras")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "style"), MODELS)
def test_all_else_is_as_on_tensorflow(found, name, style, backend):
    """Layers and calls by path, peeled ends, evaluations."""
    for method in AS_ON_TENSORFLOW:
        done = job(name, style, method)
        here, there = answer(done), results(found, backend, done)
        assert here.keys() == there.keys()
        if maps(here):
            assert difference(maps(there), tuple(maps(here))) < 2 * OF_MAXIMUM, method
        for what in here.keys() - {str(i) for i in range(len(maps(here)))}:
            np.testing.assert_array_equal(there[what], here[what], err_msg=f"{method}, {what}")


@pytest.fixture(scope="module")
def photographed(tmp_path_factory):
    """MobileNetV2 on every backend with the convolutions of oneDNN, TensorFlow's default."""
    jobs = [job("mobilenet", "0", m) for m in (*MOBILENET, *(UNITS + b for b in BY_GRADIENT))]
    folder = tmp_path_factory.mktemp("photo")
    return functools.cache(lambda b: run_on(b, jobs, folder, TF_ENABLE_ONEDNN_OPTS="1"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", list(MOBILENET))
def test_mobilenet_agrees_with_keras_on_tensorflow(photographed, method, backend):
    done = job("mobilenet", "0", method)
    here, there = (results(photographed, b, done) for b in ("tensorflow", backend))
    away = difference(maps(there), tuple(maps(here)))
    sys.stderr.write(f"MobileNetV2, Keras on {backend}, {method}: {away:.1e} of the maximum\n")
    if method in {"gradcam", "occlusion"}:
        assert away < 1e-4
    else:  # a ReLU6 on its kink opens or closes by a rounding error; the next test shows it
        one, other = maps(here)[0], maps(there)[0]
        assert (np.abs(one - other) > 1e-4 * np.abs(one).max()).mean() < 0.15
        assert np.linalg.norm(one - other) < 0.03 * np.linalg.norm(one)
    assert here["explained"] == there["explained"] == "logit"
    assert tuple(here["evaluations"]) == tuple(there["evaluations"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", BY_GRADIENT)
def test_mobilenet_agrees_in_float32_where_the_same_units_are_open(photographed, method, backend):
    """TensorFlow's gradients, with the ReLU6 units open that the backend found open."""
    network, x = made("mobilenet", "0")
    model = wrap(network)
    shapes = [units.shape for units in open_units_at(model, model.accept(x).leaves)]
    packed = maps(results(photographed, backend, job("mobilenet", "0", UNITS + method)))
    theirs = []
    for row in packed:
        bits = np.unpackbits(row)[: sum(map(np.prod, shapes))].astype(bool)
        pieces = np.split(bits, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
        theirs.append([piece.reshape(s) for piece, s in zip(pieces, shapes, strict=True)])
    wanted, own = (
        maps(results(photographed, backend, job("mobilenet", "0", method))),
        tuple(maps(answer(job("mobilenet", "0", method)))),
    )
    gated = explain(gating(model, theirs), x, method, **MOBILENET[method])
    before, after = (difference(list(m), tuple(wanted)) for m in (own, (gated.values,)))
    sys.stderr.write(
        f"MobileNetV2, Keras on {backend}, {method}: {before:.1e}, with the same units open"
        f" {after:.1e}\n"
    )
    assert not theirs, "a gradient for each that was watched"
    assert after < 1e-5


@functools.cache
def drawn(name: str, method: str):
    return explain(logits_of(name), build(name, "numpy")[1], method, **SAMPLED[method](name))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("method", list(SAMPLED))
def test_methods_that_draw_have_the_same_draws(found, method, name, backend, cell):
    """Against a plain float64 function, as in test_surrogates.py and test_shapley_values.py."""
    result = results(found, backend, job(name, "functional", method))
    base = drawn(name, method)
    expected = tuple(channels_last(base))
    away = difference(maps(result), expected)
    assert cell(method, f"keras on {backend}", away) < OF_MAXIMUM
    scale = max(np.abs(v).max() for v in expected)
    for i, part in enumerate(base.parts):
        if part.stderr is not None:
            assert np.abs(result[f"stderr {i}"] - part.stderr).max() < OF_MAXIMUM * scale
    assert tuple(result["evaluations"]) == tuple(base.evaluations)
