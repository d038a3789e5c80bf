"""Which parts LIME leaves away: masks by size, and how near each lies to the sample."""

from dataclasses import dataclass
from itertools import product
from math import lgamma

import numpy as np


@dataclass(frozen=True)
class Masks:
    """Masks `kept (m, units)` with the weights of a regression on them.

    `cluster` rows in a row were drawn together; `exact` says that all 2^units are there.
    """

    kept: np.ndarray
    weights: np.ndarray
    cluster: int
    exact: bool


def proximity(units: int, width: float, euclidean: bool) -> np.ndarray:
    """π for masks that keep 0, 1, ... units, `(units + 1,)`: √exp(−d² / width²).

    d is the cosine distance to the mask that keeps all, 1 − √(k / units), or the Euclidean one,
    √(units − k): functions of the size alone.
    """
    size = np.arange(units + 1)
    squared = units - size if euclidean else (1 - np.sqrt(size / units)) ** 2
    return np.exp(-squared / (2 * width**2))


def draw_masks(
    nearness: np.ndarray, count: int, generator: np.random.Generator, *, glime: bool = False
) -> Masks:
    """`count` masks of `len(nearness) − 1` units; all of them where there are no more.

    Every unit is kept with probability ½ and a mask weighs `nearness[size]`: the sizes are drawn
    systematically along their distribution, and each mask comes with its complement. With `glime`
    a size's share of the masks is that of its weight, and all weigh the same (Tan et al. 2023):
    the same regression in the limit, but no evaluation is spent where the weight is small.
    """
    units = len(nearness) - 1
    if units < 31 and 2**units <= count:
        kept = np.array(list(product([False, True], repeat=units)))
        return Masks(kept, nearness[kept.sum(axis=1)], 1, exact=True)
    logs = np.array([lgamma(units + 1) - lgamma(k + 1) - lgamma(units - k + 1)
                     for k in range(units + 1)])  # fmt: skip
    share = np.exp(logs - logs.max())
    if glime:
        share = share * nearness
    wanted = count if glime else count // 2
    sizes = _systematic(share / share.sum(), wanted, generator)
    places = generator.random((wanted, units)).argsort(axis=1).argsort(axis=1)
    kept = places < sizes[:, None]
    if glime:
        return Masks(kept, np.ones(wanted), 1, exact=False)
    kept = np.stack([kept, ~kept], axis=1).reshape(-1, units)
    return Masks(kept, nearness[kept.sum(axis=1)], 2, exact=False)


def _systematic(share: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """`count` sizes in ascending order, evenly along the distribution `share`."""
    points = (np.arange(count) + generator.random()) / count
    return np.minimum(np.searchsorted(np.cumsum(share), points, side="right"), len(share) - 1)
