"""A model that is a single decision tree, as its questions."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class OwnTree:
    """A model that is one binary tree, which asks if a column (float32) is at most a threshold.

    For each node its `columns`, `thresholds`, the numbers of the nodes for `yes` and `no` (below 0
    of a leaf, else above the node's own), and whether a `missing` number counts as yes.
    """

    columns: np.ndarray
    thresholds: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    missing: np.ndarray
