import math

import numpy as np
import pytest
from numpy.polynomial import legendre

from pellucid.errors import InputError
from pellucid.methods.gradient.quadrature import FINEST_LEVEL, gauss_legendre, gauss_patterson
from pellucid.methods.gradient.quadrature_nodes import NEW_POSITIVE_NODES

LEVELS = range(FINEST_LEVEL + 1)
EXACT_DEGREE = (1, 5, 11, 23, 47, 95, 191, 383)


def legendre_averages(nodes, weights, degree):
    """The rule applied to every Legendre polynomial up to `degree`: 1, then zeros, if exact."""
    return weights @ legendre.legvander(2 * nodes - 1, degree)


@pytest.mark.parametrize("level", LEVELS)
def test_weights_are_positive_and_sum_to_one(level):
    nodes, weights = gauss_patterson(level)
    assert nodes.shape == weights.shape == (2 ** (level + 1) - 1,)
    assert (weights > 0).all()
    assert abs(math.fsum(weights) - 1) <= 1e-15
    assert abs(weights.sum() - 1) <= 1e-15


@pytest.mark.parametrize("level", LEVELS)
def test_nodes_lie_inside_and_mirror_each_other(level):
    nodes, weights = gauss_patterson(level)
    order = np.argsort(nodes)
    assert nodes.min() > 0
    assert nodes.max() < 1
    assert (np.diff(nodes[order]) > 0).all()
    np.testing.assert_allclose(nodes[order], 1 - nodes[order][::-1], rtol=0, atol=2e-16)
    np.testing.assert_array_equal(weights[order], weights[order][::-1])


@pytest.mark.parametrize("level", LEVELS[1:])
def test_each_level_begins_with_the_one_before(level):
    before, _ = gauss_patterson(level - 1)
    nodes, _ = gauss_patterson(level)
    np.testing.assert_array_equal(nodes[: before.size], before)
    new = np.sort(nodes[before.size :])
    assert (np.searchsorted(np.sort(before), new) == np.arange(before.size + 1)).all()


@pytest.mark.parametrize("level", LEVELS)
def test_exact_up_to_its_degree_and_no_further(level):
    degree = EXACT_DEGREE[level]
    averages = legendre_averages(*gauss_patterson(level), degree)
    np.testing.assert_allclose(averages, np.eye(degree + 1)[0], rtol=0, atol=2e-15)
    if level <= 4:  # from 63 points on, the error at the first degree beyond is below rounding
        beyond = legendre_averages(*gauss_patterson(level), degree + 1)[-1]
        assert abs(beyond) > 1e-9


def test_published_values_of_the_seven_point_rule():
    nodes, weights = gauss_patterson(2)
    order = np.argsort(nodes)
    published_nodes = [0.0, 0.4342437493468026, 0.7745966692414834, 0.9604912687080202]
    published_weights = [
        0.4509165386584741,
        0.4013974147759622,
        0.2684880898683334,
        0.1046562260264673,
    ]
    np.testing.assert_allclose(2 * nodes[order][3:] - 1, published_nodes, rtol=0, atol=3e-16)
    np.testing.assert_allclose(2 * weights[order][3:], published_weights, rtol=0, atol=3e-16)


def test_published_weights_of_the_finest_rule():
    nodes, weights = gauss_patterson(7)
    assert 2 * weights[np.argmax(nodes)] == pytest.approx(0.69379364324108267e-5, abs=1e-13)
    assert 2 * weights[0] == pytest.approx(0.14094407090096179e-1, abs=1e-13)


def test_published_outermost_nodes():
    outermost = [max(row) for row in NEW_POSITIVE_NODES]
    published = [
        0.7745966692414834,
        0.9604912687080202,
        0.9938319632127550,
        0.9990981249676676,
        0.9998728881203576,
        0.9999824303548916,
        0.9999975963797485,
    ]
    np.testing.assert_allclose(outermost, published, rtol=0, atol=2e-16)


def test_smooth_function_converges():
    nodes, weights = gauss_patterson(3)
    assert weights @ np.exp(nodes) == pytest.approx(math.e - 1, rel=1e-15)


@pytest.mark.parametrize("count", [1, 2, 5, 50, 300])
def test_gauss_legendre_is_exact_up_to_twice_its_count(count):
    nodes, weights = gauss_legendre(count)
    assert abs(weights.sum() - 1) <= 1e-15
    averages = legendre_averages(nodes, weights, 2 * count - 1)
    np.testing.assert_allclose(averages, np.eye(2 * count)[0], rtol=0, atol=2e-14)


def test_cached_rules_cannot_be_changed_by_a_caller():
    nodes, _ = gauss_patterson(3)
    with pytest.raises(ValueError, match="read-only"):
        nodes[0] = 0.0


@pytest.mark.parametrize("level", [-1, 8])
def test_a_level_that_does_not_exist_is_named(level):
    with pytest.raises(InputError, match=f"levels 0 to 7 .* not {level}"):
        gauss_patterson(level)
    with pytest.raises(InputError, match="at least 1 point"):
        gauss_legendre(0)
