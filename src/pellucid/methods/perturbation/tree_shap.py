"""Shapley values of tree ensembles, read from the trees instead of sampled."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import CapabilityError
from pellucid.inputs.checks import check_background
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.task import Task


@register_method("tree_shap")
@dataclass(frozen=True)
class TreeShap(Method):
    """Exact Shapley values of a tree ensemble in time that is polynomial in its size.

    φ_i = Σ_{S ∌ i} |S|! (M − |S| − 1)! / M! · (v(S ∪ i) − v(S))

    Without `background`, v(S) follows the trees' own branches for columns in S and averages over
    both, by the training rows that went each way, for the others (path-dependent). With
    `background`, v(S) is the mean score with the other columns taken from each of its rows: the
    value function of exact_shapley with the same background. Returns `(n, columns)` float32 in
    units of the explained score; Σ φ = f(x) − v(∅) up to `gap`. The work is the library's:
    XGBoost's `pred_contribs`, LightGBM's `pred_contrib`, else the package shap (extra `shap`);
    `extras["source"]` says whose. Cost: no evaluation beside the prediction, and
    one for each row of the background.
    Source: Lundberg et al. 2020 (doi 10.1038/s42256-019-0138-9), algorithms 1 and 3.

    *Pipelines:* where every step before the trees keeps columns apart (scalers, imputers by column,
    encoders, bins, selections, a ColumnTransformer of them), values are those of the columns that
    the trees see, summed over those that come from the same column of the table. For steps that
    turn one column into one, that is the value of the column; for one-hot encoders it is the sum
    over columns that the game lets come and go alone, also to rows of no category or of two, where
    exact_shapley moves the column as a whole: the same total, not the same game.

    Raises `CapabilityError` for other models, for pipelines that mix columns, for a target that is
    a function, and where the values do not add up to the score that is
    explained, such as a probability where the trees add up to a logit.

    >>> bool(explain(forest, table, "tree_shap").gap.max() < 1e-5)
    True
    """

    background: Any = None

    family = "perturbation"
    modalities = frozenset({"table"})
    needs_trees = True
    claims_completeness = True
    cost = "0, or 1 F a row of the background"
    source = "Lundberg et al. 2020"
    refusals = {  # noqa: RUF012 - declared a ClassVar in Method
        "tolerance": "its values are exact, so there is no sampling error to reach"
    }

    def attribute(self, task: Task) -> Attribution:
        if task.target.function is not None:
            raise CapabilityError(
                "tree_shap explains the trees' own outputs, not a function of them.\n"
                "  kernel_shap takes any target."
            )
        given = self.background
        check_background(given)
        rows = None if given is None else task.wrapped.accept(given, more=True).leaves
        found = task.model.adapter.tree_values(task.x, rows)
        base = found.base
        if rows is not None:  # as the model itself has it: libraries round, or know it otherwise
            outputs = task.to_numpy(task.outputs_of(rows)).astype(np.float64)
            base = outputs.mean(axis=0).reshape(found.base.shape)
        base = _scored(task, np.broadcast_to(base, (task.count, *base.shape)))
        nothing = _scored(task, np.zeros((task.count, *found.base.shape)))
        columns = range(found.values.shape[1])
        values = np.stack([_scored(task, found.values[:, j]) - nothing for j in columns], axis=1)
        _check_sum(task, base + values.sum(axis=1), found.source)
        return Attribution(
            (values.astype(np.float32),),
            baseline_score=base,
            extras={"source": np.array(found.source)},
        )


def _scored(task: Task, outputs: np.ndarray) -> np.ndarray:
    """The explained number of outputs; it is linear in them but for a constant."""
    return task.scores_of(task.asarray(outputs), np.arange(task.count))[0]


def _check_sum(task: Task, total: np.ndarray, source: str) -> None:
    score = task.scores()[0]
    if not np.allclose(total, score, rtol=1e-3, atol=1e-3 * max(np.abs(score).max(), 1e-3)):
        worst = int(np.abs(total - score).argmax())
        raise CapabilityError(
            f"The trees' values ({source}) add up to {total[worst]:.4g} where the explained score"
            f" is {score[worst]:.4g}, so they explain another number.\n"
            "  kernel_shap explains this score; wrap(model, output='logit') the trees' own."
        )
