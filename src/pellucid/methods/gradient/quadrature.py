"""Quadrature rules on [0, 1]: weights sum to 1, so a rule is an average along a path."""

import functools
import math

import numpy as np
from numpy.polynomial import legendre

from pellucid.errors import InputError
from pellucid.methods.gradient.quadrature_nodes import NEW_POSITIVE_NODES

FINEST_LEVEL = len(NEW_POSITIVE_NODES)
"""The last level of `gauss_patterson`: 255 points."""


@functools.cache
def gauss_patterson(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, each `(2^(level+1) − 1,)`, of the nested rule of this level.

    Nested order: the nodes of level k are the first ones of level k + 1, bit for bit, so that
    evaluations already made are kept; within a level the new nodes ascend. Levels 0 to 7 have
    1, 3, 7, 15, 31, 63, 127, 255 points and are exact for polynomials up to degree
    1, 5, 11, 23, 47, 95, 191, 383.
    """
    if not 0 <= level <= FINEST_LEVEL:
        raise InputError(
            f"gauss_patterson has levels 0 to {FINEST_LEVEL} "
            f"({2 ** (FINEST_LEVEL + 1) - 1} points), not {level}."
        )
    new_by_level = [_mirrored(positive) for positive in NEW_POSITIVE_NODES[:level]]
    nodes = np.concatenate([np.zeros(1), *new_by_level])
    exact_degree = 3 * 2**level - 1 if level else 1
    return _on_unit_interval(nodes, _interpolatory_weights(nodes, exact_degree))


@functools.cache
def gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (ascending) and weights, each `(count,)`, exact up to degree 2·count − 1."""
    if count < 1:
        raise InputError(f"gauss_legendre needs at least 1 point, not {count}.")
    return _on_unit_interval(*legendre.leggauss(count))


def _mirrored(positive: tuple[float, ...]) -> np.ndarray:
    half = np.asarray(positive)
    return np.concatenate([-half[::-1], half])


def _interpolatory_weights(nodes: np.ndarray, exact_degree: int) -> np.ndarray:
    """Solve for the weights that integrate all degrees up to `exact_degree` over [-1, 1].

    The rule is symmetric: odd degrees vanish by themselves, so only the even ones are asked
    for, with one unknown for each pair of nodes. As many equations as unknowns would fix the
    weights too, but so badly that some come out negative; all the degrees the rule is exact
    for, as least squares in orthonormal Legendre polynomials, give them to 1e-13.
    """
    half = nodes[nodes >= 0]
    degrees = np.arange(0, exact_degree, 2)
    even = legendre.legvander(half, int(degrees[-1]))[:, ::2].T * np.sqrt(2 * degrees + 1)[:, None]
    even[:, half > 0] *= 2  # a node and its mirror image share a weight
    integrals = np.zeros(degrees.size)
    integrals[0] = 2.0
    solution = np.linalg.lstsq(even, integrals, rcond=None)[0]
    weight = dict(zip(half, solution, strict=True))
    return np.array([weight[abs(node)] for node in nodes])


def _on_unit_interval(nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move a rule from [-1, 1] to [0, 1]; read-only because the cache shares it."""
    moved = (1 + nodes) / 2
    scaled = weights / math.fsum(weights)
    moved.flags.writeable = scaled.flags.writeable = False
    return moved, scaled
