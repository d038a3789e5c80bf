"""Rules inside recurrent layers on Keras's other backends: the numbers of TensorFlow."""

import functools

import numpy as np
import pytest
from keras_backend import RECURRENT, Job, answer, key, run_on
from test_matrix import OF_MAXIMUM

RULES = {
    "deeplift": {},
    "deeplift by parts": {"rule": "reveal_cancel"},
    "lrp": {"composite": "epsilon", "epsilon": 1e-9},
}


def job(layer: str, name: str) -> Job:
    method = name.partition(" ")[0]
    return {"model": layer, "style": name, "method": method, "options": RULES[name] | {"target": 1}}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All that a backend gives, in one process."""
    folder = tmp_path_factory.mktemp("recurrent")
    jobs = [job(layer, name) for layer in RECURRENT for name in RULES]
    return functools.cache(lambda backend: run_on(backend, jobs, folder))


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("layer", RECURRENT)
@pytest.mark.parametrize("name", list(RULES))
def test_recurrent_layers_have_the_numbers_of_tensorflow(found, name, layer, backend):
    everything, done = found(backend), job(layer, name)
    error = everything.get(key(done, "error"))
    assert error is None, str(error)
    here, there = answer(done)["0"], everything[key(done, "0")]
    assert np.abs(there - here).max() < OF_MAXIMUM * np.abs(here).max()
