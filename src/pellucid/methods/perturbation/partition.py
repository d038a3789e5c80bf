"""Owen values over a hierarchy of features."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.methods.perturbation.cooperative import SampledCooperativeMethod
from pellucid.methods.perturbation.distinct import first_of_each
from pellucid.methods.perturbation.game import Game
from pellucid.methods.perturbation.hierarchy import (
    Tree,
    contexts,
    orders,
    steps,
    tree_from,
    tree_of_places,
)
from pellucid.methods.perturbation.sampling import OrderDesign, sample
from pellucid.methods.perturbation.shapley import with_ends
from pellucid.methods.perturbation.values import Estimate
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("partition_shap")
@dataclass(frozen=True)
class PartitionShap(SampledCooperativeMethod):
    """Shapley values over the orders that keep together what belongs together.

    φ_i = mean over the orders π in which every branch of the hierarchy arrives as a block of
    v(those before i in π, and i) − v(those before i in π)

    These are Owen values with the branches of a binary tree as nested unions. `hierarchy` is the
    tree: nested pairs of feature numbers, a linkage matrix as SciPy makes them, or None, which
    halves the features again and again by their place (cells of an image, segments of a series,
    columns of a table in their order). v, `features`, `baseline`, `background`,
    `value_function` and what comes back as for exact_shapley. Where `budget` allows all
    coalitions that occur, about ⅔ M² of a balanced tree, values are exact and `stderr` is 0; else
    orders are drawn in pairs of one and its reverse, `stderr` is over the pairs, and `tolerance`
    and `top` stop early as for kernel_shap. Cost: `budget` evaluations a sample, each coalition
    taking one on every row of the background; without a budget as for permutation_shap.
    Source: Owen 1977; Winter 1989 for several levels. Departs from shap's PartitionExplainer,
    which shares out what its budget leaves open in equal parts: that is not done here.

    Raises `MethodError` for a hierarchy that is no binary tree of the features, and for a budget
    below 4 M − 2 coalitions where the values are not exact.

    >>> explain(linear, x, "partition_shap").values
    array([[6., 4.]], dtype=float32)
    """

    features: Any = None
    baseline: Any = None
    background: Any = None
    value_function: str = "marginal"
    hierarchy: Any = None
    budget: int | None = None
    tolerance: float | None = None
    top: int | None = None

    source = "Owen 1977"

    def solve(self, game: Game) -> Iterator[Estimate]:
        if self.hierarchy is not None or game.same_units:
            yield from self._on_tree(game)
            return
        for place, number in enumerate(game.samples):  # units, and so the tree, of its own
            here = slice(place, place + 1)
            alone = replace(
                game,
                samples=np.array([number]),
                everyone=game.everyone[:, here],
                none=game.none[:, here],
            )
            for estimate in self._on_tree(alone):
                yield replace(estimate, places=np.array([place]))

    def _on_tree(self, game: Game) -> Iterator[Estimate]:
        players = game.players
        if self.hierarchy is None:
            tree = tree_of_places(game.features, int(game.samples[0]))
        else:
            tree = tree_from(self.hierarchy, players)
        allowed = self.allowed(players, game.rows)
        if contexts(tree) <= 2 * allowed:
            masks, solve = _every_step(tree, players)
            if len(masks) + 2 <= allowed:
                return _exactly(game, masks, solve, judged=self.precision.asked)
        self.require(4 * players - 2, game)
        design = OrderDesign(players, lambda pairs: self._orders(game.task, tree, pairs))
        return sample(game, design, allowed, self.precision)

    @staticmethod
    def _orders(task: Task, tree: Tree, pairs: int) -> np.ndarray:
        generator = task.generator(31)
        return np.array([orders(tree, lambda: generator.random() < 0.5) for _ in range(pairs)])


def _every_step(tree: Tree, players: int) -> tuple[np.ndarray, np.ndarray]:
    """The coalitions between ∅ and all that occur, and `(players, m + 2)` what each contributes.

    The first and last column are those of the empty and the full coalition.
    """
    walked = list(steps(tree, players))
    before = np.stack([mask for _, mask, _ in walked])
    owner = np.array([player for player, _, _ in walked])
    share = np.array([s for _, _, s in walked])
    after = before.copy()
    after[np.arange(len(owner)), owner] = True
    both = np.concatenate([before, after])
    ends = np.array([[False] * players, [True] * players])
    inner = both[both.any(axis=1) & ~both.all(axis=1)]
    first, _ = first_of_each(np.packbits(inner, axis=1))
    masks = inner[first]
    keys = {m.tobytes(): i for i, m in enumerate([ends[0], *masks, ends[1]])}
    place = np.array([keys[m.tobytes()] for m in both])
    solve = np.zeros((players, len(masks) + 2))
    np.add.at(solve, (owner, place[: len(owner)]), -share)
    np.add.at(solve, (owner, place[len(owner) :]), share)
    return masks, solve


def _exactly(
    game: Game, masks: np.ndarray, solve: np.ndarray, *, judged: bool
) -> Iterator[Estimate]:
    for places, worth in game.worths(np.arange(len(game.samples)), masks):
        phi = with_ends(game, places, worth) @ solve.T
        settled = np.ones(len(places), dtype=bool) if judged else None
        yield Estimate(places, phi, np.zeros_like(phi), len(masks) + 2, settled)
