"""Methods of attention agree with their papers in every framework, to 1e-5 of the maximum."""

import functools

import numpy as np
import pytest
from test_matrix import OF_MAXIMUM, columns, difference, leaves_of, made, targets

from pellucid import explain
from pellucid.testing import oracles_attention, oracles_cam
from pellucid.testing.tiny_weights import weights_and_inputs

METHODS = tuple(oracles_attention.ORACLES)


@functools.cache
def tokens(method: str) -> np.ndarray:
    """What the paper gives each token of each sample, the class token's first."""
    weights, images = weights_and_inputs("vit", 0)[0], leaves_of("vit")[0]
    oracle = oracles_attention.ORACLES[method]
    return np.stack(
        [oracle(weights, image, t) for image, t in zip(images, targets("vit"), strict=True)]
    )


@functools.cache
def reference(method: str) -> np.ndarray:
    """Those of the patches, enlarged to the pictures."""
    grids = tokens(method)[:, 1:].reshape(-1, 4, 3)
    return np.stack([oracles_cam.enlarged(grid, (8, 6)) for grid in grids])


@pytest.mark.parametrize(("framework", "style"), [c[1:] for c in columns() if c[0] == "vit"])
@pytest.mark.parametrize("method", METHODS)
def test_methods_of_attention_agree_with_the_paper_form(method, framework, style, cell):
    model, x = made("vit", framework, style)
    e = explain(model, x, method)
    assert cell(method, framework, difference([e.values], (reference(method),))) < OF_MAXIMUM
    assert difference([e.extras["tokens"]], (tokens(method),)) < OF_MAXIMUM
    assert (e.parameters["grid"], e.parameters["tokens_before"]) == ((4, 3), 1)
    # The prediction, and the run that is read; for the norms one more. Found once: 4 rows, and 1.
    rows = 15 if method == "attention_norm" else 10
    assert e.evaluations.forward in {rows, rows + 5}
    assert e.evaluations.backward == 5


@pytest.mark.parametrize("framework", ["torch", "jax", "keras", "tensorflow"])
def test_every_attention_and_head_can_be_read(framework):
    model, x = made("vit", framework, "functional" if framework == "keras" else "")
    shares = oracles_attention.seen(weights_and_inputs("vit", 0)[0], leaves_of("vit")[0]).shares
    e = explain(model, x, "attention", at=0, head=1, token=3)
    np.testing.assert_allclose(e.extras["tokens"], shares[0][:, 1, 3], atol=1e-6)
    expected = np.stack([share[:, :, 3] for share in shares], axis=1)
    np.testing.assert_allclose(e.extras["heads"], expected, atol=1e-6)
    assert e.evaluations.backward == 0
