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
from test_mobilenet import gradient_with, open_units

from pellucid import explain, wrap
from pellucid.testing import build

BACKENDS = ("torch", "jax")
MODELS = [(name, style) for name, framework, style in columns() if framework == "keras"]
CAM_MODELS = [(name, style) for name, style in MODELS if (name, "keras") in CAM_LAYERS]
CAM_STYLES = {"sequential": "relu2", "nested": "base/relu#2"}
AS_ON_TENSORFLOW = ("layers", "saliency", "occlusion")
PICTURES = [(name, style) for name, style in MODELS if has_pictures(name)]
MOBILENET = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 2},
    "smoothgrad": {"samples": 2},
    "gradcam": {},
    "occlusion": {"window": 96, "stride": 64},
}


def job(name: str, style: str, method: str) -> Job:
    options = (METHODS | ON_PICTURES).get(method, {})
    if name == "mobilenet":
        options = MOBILENET.get(method, {})
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
    jobs = [job("mobilenet", "0", m) for m in (*MOBILENET, "open_units")]
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
def test_mobilenet_agrees_in_float32_where_the_same_units_are_open(photographed, backend):
    """TensorFlow's gradient, with the ReLU6 units open that the backend found open."""
    network, x = made("mobilenet", "0")
    model = wrap(network)
    own = open_units(model, x)
    packed = results(photographed, backend, job("mobilenet", "0", "open_units"))
    theirs = [np.unpackbits(packed[str(i)], count=u.size) for i, u in enumerate(own)]
    units = [found.reshape(u.shape).astype(bool) for found, u in zip(theirs, own, strict=True)]
    flipped = sum(int((a != b).sum()) for a, b in zip(units, own, strict=True))
    (wanted,) = maps(results(photographed, backend, job("mobilenet", "0", "saliency")))
    before, after = (
        difference([gradient_with(model, x, these)], (wanted,)) for these in (own, units)
    )
    sys.stderr.write(
        f"MobileNetV2, Keras on {backend}: {flipped} units flipped, saliency {before:.1e},"
        f" without them {after:.1e}\n"
    )
    assert after < 1e-5
