"""A small tree that imitates the model, as a method: what each column moves its answer by."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.errors import InputError, MethodError
from pellucid.methods.base import Attribution, Method
from pellucid.methods.inside.fidelity import Fidelity, best_depth, measured, split
from pellucid.methods.inside.imitation import Examples, grown
from pellucid.methods.inside.questions import Nodes, contributions, leaves_of, outcomes, visits
from pellucid.methods.inside.sizes import FEWEST, Size, check_share, checked_size
from pellucid.methods.perturbation.game import background_rows
from pellucid.methods.registry import register_method
from pellucid.running.references import finite_scores
from pellucid.task import Task

_STEPS = 1e-5
"""Of the range of the scores."""


@register_method("surrogate_tree")
@dataclass(frozen=True)
class TreeValues(Method):
    """What each column moves the answer of a small tree by that imitates the model.

    t = argmin over small trees Σ_b (t(b) − f(b))², greedily (CART);
    a_i = Σ over the questions about column i on the way of x: t(next node) − t(this node)

    The tree is grown on the scores of `background`, rows of a table in the form of x, for each
    target that x has, as `pellucid.inside.surrogate_tree` grows it: `max_depth` (or "auto"),
    `max_leaves`, `min_rows` of a leaf. Words of a data frame are categories, missing numbers stay
    missing. Returns the input's shape, float32, in units of the explained score, signed:
    Σ a = t(x) − t(root), the tree's answer less the mean score of the rows it was grown on. That
    the tree is not the model is its fidelity's to say, and no gap is claimed: R² on the share
    `held_out` of the background (`default_rng([seed, 60])`) that it was not grown on, in
    `extras["fidelity"] (n,)`, with a warning where it is low. `extras["tree_score"]` and
    `extras["root_score"] (n,)` are t(x) and t(root); what a sample is given hangs on the background
    and the seed, never on its batch. Questions asked early take what later ones might have had, so
    these are no Shapley values. Cost: one forward, and one for each row of the background.
    Source: Craven & Shavlik 1996; Breiman et al. 1984; Saabas 2014. Departs from CART: scores are
    compared in steps of 1e-5 of their range, so that the last bits of a framework choose no
    question; the answers are means of the scores themselves.

    Raises `MethodError` without a background or with fewer than 10 rows of it, `InputError` for one
    of which the model says the same everywhere; `MissingExtraError` without scikit-learn.

    >>> e = explain(model, table, "surrogate_tree", background=table, max_depth=2)
    >>> e.importance().rows[0][0]          # the column that moves the tree most
    'dose'
    """

    background: Any = None
    max_depth: int | str = 4
    max_leaves: int | None = None
    min_rows: int = 1
    held_out: float = 0.3

    family = "inside"
    modalities = frozenset({"table"})
    several_inputs = False
    cost = "1 F, and 1 F a row of the background"
    source = "Craven & Shavlik 1996"

    def attribute(self, task: Task) -> Attribution:
        size = checked_size(self.max_depth, self.max_leaves, self.min_rows)
        check_share(self.held_out)
        rows = self._rows(task)
        outputs = task.outputs_of(task.in_own_type((task.asarray(rows),)))
        x = task.batch.arrays[0]
        values = np.zeros(x.shape)
        numbers = {name: np.zeros(task.count) for name in ("fidelity", "tree_score", "root_score")}
        warnings: list[str] = []
        for samples in _by_target(task):
            first, name = samples[:1], task.target.names[samples[0]]
            scores = finite_scores(task.scores_of(outputs, np.repeat(first, len(rows))))[0]
            nodes, fidelity = self._grown(_examples(task, rows, scores, name), size, task.seed)
            own = x[samples].astype(np.float64)
            values[samples] = contributions(nodes, own, classes=False)
            said = outcomes(nodes, classes=False)
            numbers["tree_score"][samples] = said[leaves_of(nodes, own)]
            numbers["root_score"][samples] = said[0]
            numbers["fidelity"][samples] = fidelity.value
            if fidelity.warning:
                warnings.append(f"the tree for {name}: {fidelity}. {fidelity.warning}")
        return Attribution(
            (values.astype(np.float32),),
            extras={key: found.astype(np.float32) for key, found in numbers.items()},
            warnings=tuple(warnings),
            notes=(f"surrogate_tree: grown and measured on {len(rows)} background rows",),
        )

    def expected(self, task: Task) -> int | None:
        if self.background is None:
            return None
        return task.count + len(background_rows(task, self.background)[0][0])

    def _rows(self, task: Task) -> np.ndarray:
        """The background `(rows, columns)`. Raises `MethodError` for too small a one."""
        if self.background is None:
            raise MethodError(
                "surrogate_tree grows its tree on rows of data: pass them as background=rows."
            )
        rows = background_rows(task, self.background)[0][0]
        if len(rows) < FEWEST:
            raise MethodError(
                f"surrogate_tree needs a background of {FEWEST} rows or more, got {len(rows)}."
            )
        return rows

    def _grown(self, examples: Examples, size: Size, seed: int) -> tuple[Nodes, Fidelity]:
        """The tree of a target, its answers those of the exact scores, and its fidelity."""
        learned, held = split(examples, self.held_out, seed)
        exact, fresh = examples.rows(learned), examples.rows(held)
        # Whole numbers add up exactly: questions that part the rows alike are level, and which of
        # them is asked is not left to a last bit.
        step = _STEPS * np.ptp(examples.said)
        coarse = replace(exact, said=np.round((exact.said - examples.said.min()) / step))
        if self.max_depth == "auto":
            size = replace(size, depth=max(1, best_depth(coarse, size, seed)))
        nodes = grown(coarse, size, seed)
        places = visits(nodes, exact.table)
        nodes = tuple(
            replace(node, values=exact.rows(rows).values())
            for node, rows in zip(nodes, places, strict=True)
        )
        return nodes, measured(nodes, fresh, exact.values(), seed)


def _by_target(task: Task) -> list[np.ndarray]:
    """The samples of each target, so that each has one tree."""
    picks = () if task.target.function else task.target.picks(np.arange(task.count))
    if not picks:
        return [np.arange(task.count)]
    _, group = np.unique(np.concatenate(picks, axis=1), axis=0, return_inverse=True)
    return [np.flatnonzero(group.ravel() == g) for g in range(group.max() + 1)]


def _examples(task: Task, rows: np.ndarray, scores: np.ndarray, name: str) -> Examples:
    """Rows and their scores. Raises `InputError` where these are all one."""
    if np.ptp(scores) <= 1e-6 * max(np.abs(scores).max(), 1e-30):
        raise InputError(
            f"The model says {scores[0]:.4g} of {name} for all {len(rows)} rows of the background:"
            " there is nothing for a tree to imitate.\n  Give rows that differ in what it says."
        )
    width = rows.shape[1]
    names = task.wrapped.feature_names or task.batch.columns
    words = task.wrapped.adapter.categories  # also those that came with the background
    return Examples(
        rows.astype(np.float64), scores,
        tuple(map(str, names or (f"feature {i}" for i in range(width)))),
        tuple(words or (None,) * width), 0,
    )  # fmt: skip
