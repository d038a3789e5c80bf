"""Keras on its other backends: the numbers, layers and peeled ends of Keras on TensorFlow."""

import functools

import numpy as np
import pytest
from keras_backend import Job, answer, key, run_on
from test_matrix import (
    CAM_LAYERS,
    CONTROLS,
    METHODS,
    OF_MAXIMUM,
    cam_reference,
    columns,
    difference,
    reference,
)

BACKENDS = ("torch", "jax")
MODELS = [(name, style) for name, framework, style in columns() if framework == "keras"]
CAM_MODELS = [
    (name, style) for name, style in MODELS if (name, "keras") in CAM_LAYERS and name != "vit"
]
CAM_STYLES = {"sequential": "relu2", "nested": "base/relu#2"}


def job(name: str, style: str, method: str) -> Job:
    options = METHODS.get(method, {})
    if method == "gradcam":
        options = {"layer": CAM_STYLES.get(style, CAM_LAYERS[name, "keras"])}
    return {"model": name, "style": style, "method": method, "options": options}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All that a backend gives; one process a backend, when it is first asked for."""
    methods = (*METHODS, *CONTROLS, "layers")
    jobs = [job(name, style, method) for name, style in MODELS for method in methods]
    jobs += [job(name, style, "gradcam") for name, style in CAM_MODELS]
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
@pytest.mark.parametrize(("name", "style"), CAM_MODELS)
def test_gradcam_agrees_with_the_paper_form(found, name, style, backend, cell):
    result = results(found, backend, job(name, style, "gradcam"))
    away = difference(maps(result), (cam_reference("gradcam", name, "keras"),))
    assert cell("gradcam", f"keras on {backend}", away) < OF_MAXIMUM
    assert tuple(result["evaluations"]) == (5, 5, 5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "style"), MODELS)
def test_all_else_is_as_on_tensorflow(found, name, style, backend, cell):
    for method in ("layers", *CONTROLS, *METHODS):
        done = job(name, style, method)
        here, there = answer(done), results(found, backend, done)
        assert here.keys() == there.keys()
        if maps(here):
            away = difference(maps(there), tuple(maps(here)))
            assert away < 2 * OF_MAXIMUM, method
            if method in CONTROLS:
                cell(method, f"keras on {backend}", away)
        for what in here.keys() - {str(i) for i in range(len(maps(here)))}:
            np.testing.assert_array_equal(there[what], here[what], err_msg=f"{method}, {what}")
