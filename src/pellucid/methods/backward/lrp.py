"""Layer-wise relevance propagation: the score handed down layer by layer, by rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation, OperationInfo, Tier
from pellucid.errors import InputError
from pellucid.methods.backward.rules.bounds import bounds_for, folds_rows, outside_bounds
from pellucid.methods.backward.rules.composites import Composite, composite_of
from pellucid.methods.backward.rules.inventory import planned
from pellucid.methods.backward.rules.plan import Plan, rule_of, rules_by_place
from pellucid.methods.backward.rules.relevance import begun, relevances
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.intercepted import OtherOperationsError
from pellucid.task import Task
from pellucid.types import Outputs


@register_method("lrp")
@dataclass(frozen=True)
class LRP(Method):
    """Hand the score down from layer to layer, each sharing it out among its inputs by a rule.

    R_i = Σ_j (x_i ∂s_j/∂x_i) R_j / z_j, s_j the part of the layer's value z_j that its rule counts

    Returns the input's shape, or that of `layer`, signed, in units of the explained score.
    `composite` says which rule a layer gets: a preset ("epsilon", "epsilon_plus",
    "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box", "attnlrp", ...; all in
    docs/methods.md) or a mapping from kinds of layers ("first", "last", "convolution", "dense",
    "linear") and paths to rules, such as {"features.*": "gamma:0.25", "dense": "epsilon"}.
    `epsilon` keeps denominators from zero: relative to the largest value a layer has for the
    sample, or `absolute`. `low` and `high` bound the inputs for the rule "box": a
    number, one for each channel, or an array of a sample's shape, (...) or (1, ...). A batch
    normalisation belongs to the layer before it. `gap` is |Σ R − f(x)| / |f(x)|: what biases and ε
    keep for themselves, which is no error. Cost: a forward and a backward for epsilon; up to three
    more for rules that look at signs.
    Source: Bach et al. 2015 (10.1371/journal.pone.0130140); rules and composites: Montavon et al.
    2019 (10.1007/978-3-030-28954-6_10); transformers: Achtibat et al. 2024 (arXiv 2402.05602);
    gates take nothing, what they let through all: Arras et al. 2019 (arXiv 1909.12114).
    Departs from the papers: ε is relative. From zennit: w² has no biases, means and sums keep all,
    a batch normalisation is always merged. From Captum: γ and z⁺ look at the signs of x_i w_ij. LRP
    may be covered by patents in some countries: commercial users check that for themselves.

    Raises `CoverageError` for an operation that bends and has no rule (`on_uncovered="gradient"`
    lets it pass on its derivative, which the result then says), `InputError` for a rule that does
    not exist or numbers it cannot have, `LayerError` for a path of `composite` that fits no layer.

    >>> explain(linear, x, "lrp", composite="epsilon").values.round(4)
    array([[6., 4.]], dtype=float32)
    """

    composite: str | Mapping[str, str] = "epsilon_plus"
    epsilon: float = 1e-6
    absolute: bool = False
    low: Any = None
    high: Any = None
    on_uncovered: str = "error"
    layer: str | None = None

    family = "backward"
    needs = Tier.TRANSPARENT
    claims_completeness = True
    shares_with_biases = True
    shares_forward = True
    works_at_layer = True
    cost = "3 F, up to 8 F"
    source = "Bach et al. 2015"

    def __post_init__(self) -> None:
        composite_of(self.composite)
        if not self.epsilon >= 0:
            raise InputError(f"Expected an epsilon of 0 or more, got {self.epsilon!r}.")

    def rule_of(self, op: Operation) -> str | None:
        return rule_of(op)

    def rules_by_place(
        self, operations: Sequence[OperationInfo], layer: str | None
    ) -> Mapping[int, str]:
        return rules_by_place(operations, composite_of(self.composite), layer)

    def begin(self, task: Task) -> tuple[Outputs, Any] | None:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        composite = composite_of(self.composite)
        return begun(task, composite, uncovered, epsilon=self.epsilon, absolute=self.absolute)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        composite = composite_of(self.composite)
        found = propagated(
            task, composite, uncovered, epsilon=self.epsilon,
            absolute=self.absolute, low=self.low, high=self.high,
        )  # fmt: skip
        bounded = composite.bounded and self.low is not None and self.high is not None
        warnings = outside_bounds(task, self.low, self.high) if bounded else ()
        zeros = np.zeros(task.count)
        return tuple(
            Attribution(values, baseline_score=zeros, uncovered=uncovered.met, warnings=warnings)
            for values in found
        )


def propagated(
    task: Task,
    composite: Composite,
    uncovered: Uncovered,
    *,
    epsilon: float,
    absolute: bool = False,
    low: Any = None,
    high: Any = None,
) -> list[tuple[np.ndarray, ...]]:
    """The relevance of every sample for each target, one array for each leaf."""
    if task.begun is not None:
        uncovered.note(task.begun.met)
        return list(task.begun.relevances(task))
    layer = None if task.opened is None else task.opened.layer
    apart = task.count > 1 and not absolute
    plan = bounds_for(task, planned(task, composite, layer, apart=apart), low, high)

    def by(plan: Plan, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        if len(rows) > 1 and folds_rows(plan):
            plan = bounds_for(task, plan, low, high, rows)
        found = relevances(
            task, rows, plan, composite, uncovered=uncovered, epsilon=epsilon, absolute=absolute
        )
        return tuple(part for each in found for part in each)

    def alone(row: int) -> tuple[np.ndarray, ...]:
        rows = np.asarray([row])
        try:
            return by(plan, rows)
        except OtherOperationsError:
            own = planned(task, composite, layer, row)
            return by(bounds_for(task, own, low, high), rows)

    def evaluate(start: int, stop: int) -> tuple[np.ndarray, ...]:
        if stop - start > 1 and not plan.one_by_one:
            try:
                return by(plan, np.arange(start, stop))
            except OtherOperationsError:
                pass  # together they do what none of them does alone
        each = [alone(row) for row in range(start, stop)]
        return tuple(np.concatenate(column) for column in zip(*each, strict=True))

    parts = [out for _, _, out in task.schedule.run(task.count, evaluate, key="backward")]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    size = len(task.batch.arrays)
    return [tuple(joined[i : i + size]) for i in range(0, len(joined), size)]
