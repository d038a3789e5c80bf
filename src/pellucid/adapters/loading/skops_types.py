"""Types of skops files that skops asks about and that do no harm, and what is checked of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

HARMLESS = frozenset(
    {
        "builtins.object",
        "collections.OrderedDict",
        "numpy.dtype",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
"""Data without code of their own. Trees follow numbers they hold without looking, so those are
checked by `wrong_trees`."""


def wrong_trees(estimator: Any) -> tuple[str, ...]:
    """Why trees inside an estimator are none: nodes or columns that are not there."""
    reasons = []
    for tree, width in _trees(estimator, set(), None):
        if type(tree).__name__ == "Tree":
            left, right, column = tree.children_left, tree.children_right, tree.feature
            leaf, width, size = left == -1, tree.n_features, len(tree.value)
        else:
            nodes = tree.nodes
            left, right, column = (nodes[n].astype(np.int64) for n in _FIELDS)
            leaf, size = nodes["is_leaf"].astype(bool), len(nodes)
            sets = nodes["bitset_idx"][~leaf & nodes["is_categorical"].astype(bool)]
            if (sets >= len(tree.raw_left_cat_bitsets)).any():
                reasons.append("a tree that asks for a set of categories that is not there")
        inner = np.flatnonzero(~leaf)
        # A child comes after its parent, so that going down always ends.
        children = np.concatenate([left[inner], right[inner]])
        late = children > np.concatenate([inner, inner])
        if not (late & (children < size)).all() or (column[inner] < 0).any():
            reasons.append("a tree whose nodes lead outside of it")
        elif width is None or (column[inner] >= width).any():
            reasons.append("a tree that asks for a column that is not there")
    return tuple(dict.fromkeys(reasons))


_FIELDS = ("left", "right", "feature_idx")


def _trees(found: Any, seen: set[int], width: int | None) -> Iterator[tuple[Any, int | None]]:
    """Every tree that is reached from an object of a skops file, and the columns of its model."""
    if id(found) in seen or isinstance(found, str | bytes | int | float | np.generic | type):
        return
    seen.add(id(found))
    if type(found).__name__ in {"Tree", "TreePredictor"}:
        yield found, width
        return
    inside: Any = ()
    if isinstance(found, dict):
        inside = found.values()
    elif isinstance(found, list | tuple | set):
        inside = found
    elif isinstance(found, np.ndarray):
        inside = found.ravel() if found.dtype == object else ()
    else:
        own = getattr(found, "__dict__", {})
        inside, width = own.values(), own.get("n_features_in_", width)
    for item in inside:
        yield from _trees(item, seen, width)
