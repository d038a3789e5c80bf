"""What stands where a feature was removed: every way, on every kind of input that it is for."""

import numpy as np
import pytest

from pellucid.errors import InputError
from pellucid.standard.imputers import NAMES, SPATIAL, default_names, make_imputer
from pellucid.standard.maps import position_shape

RNG = np.random.default_rng(0)
KINDS = {
    "picture": (RNG.normal(size=(3, 4, 8, 10)), ("sample", "channel", "height", "width")),
    "picture, channels last": (RNG.normal(size=(3, 8, 10, 2)),
                               ("sample", "height", "width", "channel")),
    "series": (RNG.normal(size=(3, 12, 2)), ("sample", "step", "channel")),
    "table": (RNG.normal(size=(3, 6)), ("sample", "feature")),
    "words": (RNG.integers(1, 9, size=(3, 6)), ("sample", "feature")),
}  # fmt: skip


def of(kind: str) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    x, dims = KINDS[kind]
    x = x.astype(np.float32) if x.dtype.kind == "f" else x
    kept = np.random.default_rng(1).uniform(size=(3, *position_shape(x.shape, dims))) < 0.5
    return x, dims, kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_stays_is_as_it_was_and_the_rest_is_another_value(name, kind):
    x, dims, kept = of(kind)
    background = np.concatenate([x, x[::-1] + 1])
    spatial = any(d in {"height", "step"} for d in dims)
    if name in SPATIAL and not spatial:
        with pytest.raises(InputError, match="for images and series"):
            make_imputer(name, x, dims, background, seed=0)
        return
    imputer = make_imputer(name, x, dims, background, seed=0)
    samples, draws = np.arange(3), np.zeros(3, int)
    found = imputer.fill(samples, draws, kept)
    wide = np.broadcast_to(
        np.expand_dims(kept, dims.index("channel")) if "channel" in dims else kept, x.shape
    )
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found[wide], x[wide])
    assert np.isfinite(found).all()
    assert (found[~wide] != x[~wide]).mean() > (0.7 if kind == "words" else 0.95)
    again = make_imputer(name, x, dims, background, seed=0)
    np.testing.assert_array_equal(again.fill(samples, draws, kept), found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_filled_the_same_way_alone(name, kind):
    x, dims, kept = of(kind)
    background = np.concatenate([x, x[::-1] + 1])
    if name in SPATIAL and not any(d in {"height", "step"} for d in dims):
        pytest.skip("this imputer is refused for this kind of input, as the test above shows")
    whole = make_imputer(name, x, dims, background, seed=0)
    alone = make_imputer(name, x[1:2], dims, background, seed=0)
    np.testing.assert_allclose(
        alone.fill(np.array([0]), np.array([0]), kept[1:2]),
        whole.fill(np.array([1]), np.array([0]), kept[1:2]), rtol=1e-6, atol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["linear", "inpaint"])
def test_a_hole_in_a_slope_is_filled_by_the_slope(name):
    """Harmonic fillings leave a plane as it is, but for the noise that "linear" adds."""
    rows, columns = np.indices((9, 9)).astype(np.float32)
    x = (rows + 2 * columns)[None, ..., None]
    kept = np.ones((1, 9, 9), bool)
    kept[0, 3:6, 3:6] = False
    dims = ("sample", "height", "width", "channel")
    imputer = make_imputer(name, x, dims, x, seed=0)
    found = imputer.fill(np.array([0]), np.array([0]), kept)
    off = np.abs(found - x)[0, 3:6, 3:6]
    assert off.max() < (0.3 * x.std() if name == "linear" else 0.35 * x.std())


def test_two_that_fit_are_the_usual_ones():
    assert default_names(KINDS["picture"][1], 9) == ("dataset", "blur")
    assert default_names(KINDS["series"][1], 9) == ("dataset", "blur")
    assert default_names(KINDS["table"][1], 9) == ("dataset", "mean")
    assert default_names(KINDS["table"][1], 1) == ("mean", "zeros")
