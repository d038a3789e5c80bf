"""Excitation backprop: where a walk from the score down to the input by positive weights ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation, OperationInfo, Tier
from pellucid.methods.backward.lrp import propagated
from pellucid.methods.backward.rules.composites import Composite
from pellucid.methods.backward.rules.plan import rule_of, rules_by_place
from pellucid.methods.backward.rules.relevance import begun
from pellucid.methods.backward.rules.signed import AlphaBeta, ZPlus
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.task import Task
from pellucid.types import Outputs

_EPSILON = 1e-9
"""Small, for sums of one sign are nowhere near zero but where nothing is summed."""


@register_method("excitation_backprop")
@dataclass(frozen=True)
class ExcitationBackprop(Method):
    """The chance that a walk down the excitatory connections of the network comes by a value.

    P(a_i) = Σ_j P(a_i | a_j) P(a_j),   P(a_i | a_j) = a_i w_ij⁺ / Σ_i a_i w_ij⁺

    Returns the input's shape, or that of `layer`, as shares of 1; biases take no part. With
    `contrastive` (the default, as the source's figures) the walk from a unit with the last layer's
    weights turned around is taken off, so that what speaks for every class alike cancels; the
    result is signed and sums to 0 or less. Made for values of 0 or more, as after ReLUs: `layer` in
    the middle is where the source looks. Cost: two forwards and backwards.
    Source: Zhang et al. 2016 (arXiv 1608.00507), eq. 2 to 5 and section 3.3.

    Raises `CoverageError` as `lrp`.

    >>> explain(linear, x, "excitation_backprop", contrastive=False).values.round(4)
    array([[0.6, 0.4]], dtype=float32)
    """

    contrastive: bool = True
    on_uncovered: str = "error"
    layer: str | None = None

    family = "backward"
    needs = Tier.TRANSPARENT
    shares_forward = True
    works_at_layer = True
    cost = "5 F"
    source = "Zhang et al. 2016"

    def rule_of(self, op: Operation) -> str | None:
        return rule_of(op)

    def rules_by_place(
        self, operations: Sequence[OperationInfo], layer: str | None
    ) -> Mapping[int, str]:
        return rules_by_place(operations, self._composite, layer)

    @property
    def _composite(self) -> Composite:
        last = (("last", AlphaBeta(1.0, 1.0, bias=False)),) if self.contrastive else ()
        return Composite("excitation", (*last, ("linear", ZPlus(bias=False))))

    def begin(self, task: Task) -> tuple[Outputs, Any] | None:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        return begun(task, self._composite, uncovered, epsilon=_EPSILON)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        found = propagated(task, self._composite, uncovered, epsilon=_EPSILON)
        scores = task.scores()
        made = []
        for values, score in zip(found, scores, strict=True):
            whole = np.where(score == 0, 1.0, score)
            made.append(
                Attribution(
                    tuple(
                        (v / whole.reshape(-1, *(1,) * (v.ndim - 1))).astype(np.float32)
                        for v in values
                    ),
                    uncovered=uncovered.met,
                )
            )
        return tuple(made)
