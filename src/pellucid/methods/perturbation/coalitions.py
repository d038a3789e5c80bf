"""Which coalitions of players a Shapley estimate looks at, and what it makes of their worth."""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np

_FEW = 100_000
"""Of so many subsets of one size some are picked; of more, they are drawn until enough differ."""


@dataclass(frozen=True)
class Coalitions:
    """Coalitions between the empty and the full one, in pairs of a subset and its complement.

    `masks (2p, players)`: rows 2j and 2j + 1 are pair j. `weights (2p,)` are those of the
    regression whose solution is the Shapley value. `strata (p,)` is the size of a pair's smaller
    subset, `fractions (p,)` how large a share of all pairs of that size is drawn, on average over
    draws.
    """

    masks: np.ndarray
    weights: np.ndarray
    strata: np.ndarray
    fractions: np.ndarray


def draw_coalitions(
    drawn: dict[int, int],
    players: int,
    generator: Callable[[int], np.random.Generator],
    means: dict[int, float] | None = None,
) -> Coalitions:
    """`drawn[size]` coalitions of each size and their complements, without replacement.

    Within a size all subsets are equally likely; `generator(size)` draws them, so that more of a
    size begin with those that fewer have. Where the numbers of each size were drawn as well, they
    are `means` on average, and the regression's weights are those of the average.
    """
    available = _pairs_by_size(players)
    masks, weights, strata, fractions = [], [], [], []
    for size, wanted in drawn.items():
        if not wanted:
            continue
        subsets = _subsets(players, size, wanted, available[size], generator(size))
        pairs = np.stack([subsets, ~subsets], axis=1).reshape(-1, players)
        masks.append(pairs)
        fraction = (wanted if means is None else means[size]) / available[size]
        weights.append(np.full(len(pairs), _kernel(players, size) / fraction))
        strata.append(np.full(wanted, size))
        fractions.append(np.full(wanted, fraction))
    return Coalitions(*map(np.concatenate, (masks, weights, strata, fractions)))


def allot(players: int, count: int, before: dict[int, int] | None = None) -> dict[int, int]:
    """How many pairs of each size make `count` coalitions, from what was drawn `before` on.

    Every size gets the same number as far as it has that many, which is leverage sampling
    (Musco & Witter 2025). With `count ≥ 2^players − 2` there are all.
    """
    available = _pairs_by_size(players)
    pairs = min(count // 2, sum(available.values()))
    drawn = dict(before or dict.fromkeys(available, 0))
    share = {s: 1 if 2 * s == players else 2 for s in available}
    while (left := pairs - sum(drawn.values())) > 0:
        open_sizes = [s for s in available if drawn[s] < available[s]]
        total = sum(share[s] for s in open_sizes)
        portions = {s: min(left * share[s] // total, available[s] - drawn[s]) for s in open_sizes}
        if not any(portions.values()):  # fewer are left than there are sizes: the small ones first
            portions = dict.fromkeys(open_sizes[:left], 1)
        for size, portion in portions.items():
            drawn[size] += portion
    return drawn


def allot_at_random(
    players: int, count: int, generator: np.random.Generator
) -> tuple[dict[int, int], dict[int, float]]:
    """As `allot`, for so few coalitions that sizes would be left out: their numbers are drawn.

    Systematically along the sizes, so that each is there by chance as often as its even share says
    (Musco & Witter 2025, algorithm 2), and none never. Returns the numbers and their means.
    """
    available = _pairs_by_size(players)
    pairs, means = count // 2, dict.fromkeys(available, 0.0)
    share = {s: 1 if 2 * s == players else 2 for s in available}
    open_sizes = list(available)
    while open_sizes and (left := pairs - sum(means.values())) > 1e-9:
        total = sum(share[s] for s in open_sizes)
        for s in open_sizes:
            means[s] = min(means[s] + left * share[s] / total, available[s])
        open_sizes = [s for s in open_sizes if means[s] < available[s]]
    borders = np.cumsum([0.0, *means.values()]) + generator.random()
    numbers = np.diff(np.floor(borders + 1e-9)).astype(int)
    return dict(zip(available, numbers.tolist(), strict=True)), means


def exact_weights(masks: np.ndarray) -> np.ndarray:
    """`(M, m)`: what each coalition's worth contributes to each player's Shapley value.

    Of all 2^M coalitions `masks (m, M)`, in any order, the value is the sum of contributions.
    """
    players, sizes = masks.shape[1], masks.sum(axis=1)
    joined = np.array([1 / (players * comb(players - 1, max(s - 1, 0))) for s in sizes])
    apart = np.array([1 / (players * comb(players - 1, min(s, players - 1))) for s in sizes])
    return np.where(masks.T, joined, -apart)


def _kernel(players: int, size: int) -> float:
    """The Shapley kernel of one coalition (Lundberg & Lee 2017, theorem 2)."""
    return (players - 1) / (comb(players, size) * size * (players - size))


def _pairs_by_size(players: int) -> dict[int, int]:
    found = {size: comb(players, size) for size in range(1, players // 2 + 1)}
    if players % 2 == 0:
        found[players // 2] //= 2
    return found


def _subsets(
    players: int, size: int, wanted: int, available: int, generator: np.random.Generator
) -> np.ndarray:
    """`wanted` different subsets of one size, one of each pair, in the order they were drawn."""
    halved = 2 * size == players  # such a subset's complement has its size: player 0 stays in
    if available <= _FEW:
        ranks = generator.permutation(available)[:wanted]
        masks = np.zeros((wanted, players), dtype=bool)
        masks[:, int(halved) :] = _subsets_of_ranks(ranks, players - halved, size - halved)
        masks[:, 0] |= halved
        return masks
    known: dict[bytes, np.ndarray] = {}
    while len(known) < wanted:
        order = generator.random((wanted, players)).argsort(axis=1)
        masks = np.zeros((wanted, players), dtype=bool)
        masks[np.arange(wanted)[:, None], order[:, :size]] = True
        if halved:
            masks ^= ~masks[:, :1]
        for mask in masks:
            known.setdefault(np.packbits(mask).tobytes(), mask)
    return np.stack(list(known.values())[:wanted])


def _subsets_of_ranks(ranks: np.ndarray, players: int, size: int) -> np.ndarray:
    """Which players are in the subsets of these places in lexicographic order, as masks."""
    masks = np.zeros((len(ranks), players), dtype=bool)
    left, rank = np.full(len(ranks), size), ranks.copy()
    for player in range(players):
        ways = np.array([comb(players - player - 1, k - 1) if k else 0 for k in range(size + 1)])
        own = ways[left]  # subsets that go on with this player come before those without
        masks[:, player] = inside = rank < own
        rank -= np.where(inside, 0, own)
        left = left - inside
    return masks


class KernelRegression:
    """Shapley values by weighted least squares, the sum held to v(all) − v(none).

    φ = argmin Σ_S w_S (v(S) − v(∅) − Σ_{i∈S} φ_i)²  subject to  Σ φ_i = v(N) − v(∅)

    One factorisation serves every game (Covert & Lee 2021, eq. 7).
    """

    def __init__(self, coalitions: Coalitions) -> None:
        self._coalitions = coalitions
        x = coalitions.masks.astype(np.float64)
        weighted = x * coalitions.weights[:, None]
        inverse = np.linalg.pinv(x.T @ weighted, hermitian=True)
        ones = np.ones(x.shape[1])
        along = inverse @ ones / (ones @ inverse @ ones)
        self._x = x
        self._solve = inverse @ weighted.T
        self._solve -= along[:, None] * (ones @ self._solve)
        self._along = along
        pairs = np.arange(len(x)).reshape(-1, 2)
        blocks = x[pairs] @ self._solve[:, pairs].transpose(1, 0, 2)
        # A pair's residuals are shrunk by the fit itself: 1 − leverage, as in HC3.
        self._unshrunk = np.linalg.pinv(np.eye(2) - blocks)

    def values(self, worth: np.ndarray, none: np.ndarray, everyone: np.ndarray) -> np.ndarray:
        """φ `(n, players)` of n games with `worth (n, 2p)` of the coalitions."""
        return (worth - none[:, None]) @ self._solve.T + self._along * (everyone - none)[:, None]

    def standard_errors(self, worth: np.ndarray, none: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """The errors of `phi (n, players)` from drawing some coalitions only; 0 where all were.

        The sandwich formula over pairs, size by size, with the finite-population factor.
        """
        c = self._coalitions
        residual = (worth - none[:, None] - phi @ self._x.T).reshape(len(phi), -1, 2)
        residual = (self._unshrunk @ residual[..., None])[..., 0]
        solve = self._solve.reshape(phi.shape[1], -1, 2)
        variance = np.zeros_like(phi)
        for size in np.unique(c.strata):
            held = c.strata == size
            fraction = c.fractions[held][0]
            if fraction == 1:
                continue
            own = np.einsum("kpi,npi->npk", solve[:, held], residual[:, held], optimize=True)
            drawn = own.shape[1]
            if drawn > 1:
                own = own - own.mean(axis=1, keepdims=True)
            variance += (1 - fraction) * drawn / max(drawn - 1, 1) * (own**2).sum(axis=1)
        return np.sqrt(variance)
