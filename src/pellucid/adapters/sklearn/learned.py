"""How much an estimator has learned: trees and leaves, coefficients, rows that it keeps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.sklearn.boosters import LightGBMBooster, NativeBooster, XGBoostBooster


@dataclass(frozen=True)
class Learned:
    """Parameters are coefficients, limits and the values of leaves, or the numbers of kept rows.

    `multiply_adds` for one row; None where that is not how it works (trees compare).
    """

    parameters: int
    multiply_adds: int | None
    words: str
    kind: str

    @classmethod
    def of_all(cls, each: Sequence["Learned"], words: str) -> "Learned":
        work = [one.multiply_adds for one in each]
        known = [w for w in work if w is not None]
        return cls(
            sum(one.parameters for one in each),
            sum(known) if len(known) == len(work) else None,
            words,
            each[0].kind,
        )


@dataclass(frozen=True)
class Trees:
    """How many trees an ensemble has, their leaves and the numbers in each, their depth."""

    count: int
    leaves: int
    values: int
    depth: int | None

    @property
    def words(self) -> str:
        trees = "1 tree" if self.count == 1 else f"{self.count:,} trees"
        deep = "" if self.depth is None else f", up to {self.depth} deep"
        return f"{trees}, {self.leaves:,} leaves{deep}"


def learned_by(estimator: Any) -> Learned:
    """What an estimator without others in it holds."""
    trees = some_trees(estimator)
    if trees is not None:
        # A binary tree has a question less than leaves, with one limit each.
        limits = trees.leaves - trees.count
        return Learned(limits + trees.leaves * trees.values, None, trees.words, "trees")
    if hasattr(estimator, "support_vectors_") and getattr(estimator, "kernel", "") != "linear":
        kept = estimator.support_vectors_
        count = kept.size + estimator.dual_coef_.size + np.size(estimator.intercept_)
        return Learned(int(count), int(kept.size), f"{len(kept):,} support vectors", "kernel")
    if hasattr(estimator, "_fit_X") and hasattr(estimator, "n_neighbors"):
        size = int(np.prod(estimator._fit_X.shape))
        words = f"{estimator.n_neighbors} neighbours of {estimator._fit_X.shape[0]:,} rows"
        return Learned(size, size, words, "neighbours")
    for name in ("coef_", "components_"):
        if hasattr(estimator, name):
            size = _size(getattr(estimator, name))
            more = _size(getattr(estimator, "intercept_", None)) if name == "coef_" else 0
            return Learned(size + more, size, f"{size:,} coefficients", "coefficients")
    counted = [_size(getattr(estimator, n, None)) for n in ("theta_", "var_", "feature_log_prob_")]
    if any(counted) and hasattr(estimator, "predict"):
        return Learned(sum(counted), None, f"{sum(counted):,} numbers by class", "naive")
    return Learned(0, 0 if hasattr(estimator, "transform") else None, "", "")


def _size(array: Any) -> int:
    """How many numbers; those that are not zero of a sparse array."""
    if array is None or callable(array):
        return 0
    return int(array.nnz) if hasattr(array, "nnz") else int(np.size(array))


def some_trees(estimator: Any) -> Trees | None:
    """The trees of a tree or of an ensemble of trees alone; None for anything else."""
    package = type(estimator).__module__.partition(".")[0]
    if isinstance(estimator, XGBoostBooster) or package == "xgboost":
        return _of_xgboost(estimator)
    if isinstance(estimator, LightGBMBooster) or package == "lightgbm":
        return _of_lightgbm(estimator)
    if hasattr(estimator, "tree_"):
        return _of_trees([estimator])
    if hasattr(estimator, "_predictors"):  # histogram-based boosting
        trees = [tree for several in estimator._predictors for tree in several]
        leaves = sum(int(tree.get_n_leaf_nodes()) for tree in trees)
        return Trees(len(trees), leaves, 1, max(int(t.get_max_depth()) for t in trees))
    members = members_of(estimator)
    if members and all(hasattr(member, "tree_") for member in members):
        return _of_trees(members)
    return None


def members_of(estimator: Any) -> list[Any]:
    """The estimators of an ensemble, in order; pipelines among them stay whole."""
    members = getattr(estimator, "estimators_", [])
    return members.ravel().tolist() if isinstance(members, np.ndarray) else list(members)


def _of_trees(members: Iterable[Any]) -> Trees:
    trees = [member.tree_ for member in members]
    values = int(np.prod(trees[0].value.shape[1:]))
    leaves = sum(int(tree.n_leaves) for tree in trees)
    return Trees(len(trees), leaves, values, max(int(tree.max_depth) for tree in trees))


def _of_xgboost(model: Any) -> Trees | None:
    booster = model.booster if isinstance(model, NativeBooster) else model.get_booster()
    dumped = booster.get_dump()
    if not dumped or "leaf=" not in dumped[0]:
        return None  # a linear booster
    return Trees(len(dumped), sum(tree.count("leaf=") for tree in dumped), 1, None)


def _of_lightgbm(model: Any) -> Trees:
    booster = model.booster if isinstance(model, NativeBooster) else model.booster_
    trees = booster.dump_model()["tree_info"]
    return Trees(len(trees), sum(int(tree["num_leaves"]) for tree in trees), 1, None)
