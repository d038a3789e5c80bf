"""DeepLIFT: how each input's difference from a baseline reaches the score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pellucid.adapters.protocol import Adapter, Intercept, Operation, Tier
from pellucid.errors import InputError
from pellucid.methods.backward.reference import ReferenceRun
from pellucid.methods.backward.rescale import REFUSED, RULED, rescaling, rule_of
from pellucid.methods.backward.reveal_cancel import REFERENCED, Revealing, revealing_rule_of
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.intercepted import gradients_under, outputs_under
from pellucid.task import Task


class _Rule(NamedTuple):
    """What is done at activations: the rule's name at an operation, its interceptor, and kinds."""

    name_of: Callable[[Operation], str | None]
    interceptor: Callable[[Adapter, ReferenceRun, Uncovered], Intercept]
    referenced: frozenset[str]


RULES: dict[str, _Rule] = {
    "rescale": _Rule(rule_of, rescaling, RULED),
    "reveal_cancel": _Rule(revealing_rule_of, Revealing, REFERENCED),
}


@register_method("deeplift")
@dataclass(frozen=True)
class DeepLift(Method):
    """Share f(x) − f(x') out among the inputs by the differences that their values make.

    a_i = (x_i − x'_i) m_i, where multipliers m follow the chain rule and, at each activation,
    m = Δy / Δx (the rescale rule), or by rule="reveal_cancel"

    m⁺ = ½ [f(x' + Δ⁺) − f(x') + f(x' + Δ⁻ + Δ⁺) − f(x' + Δ⁻)] / Δ⁺, and m⁻ with the signs changed

    for what raises the sum x that is bent, Δ⁺, and what lowers it, Δ⁻, so that parts that cancel
    each other are both told of.

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − f(x') up to
    `gap`, which is rounding. `baseline` is x' (zeros by default). A product of two values that both
    change gives each its change times the mean of the other; a maximum gives its change to the
    winner; softmax, layer normalisation and attention are what they are made of. Cost: a forward
    for the baseline, a forward and a backward; about three times that for reveal_cancel.
    Source: Shrikumar, Greenside, Kundaje 2017 (arXiv 1704.02685), sections 3.5.1 and 3.5.2. Departs
    from the paper: products, maxima and normalisations have rules here, in which every difference
    is taken whole; biases, batch normalisations, joins and residual additions belong to the sum
    before them, and an activation that is written out (x · sigmoid(x)) counts as one.

    With `layer`, such as an embedding, x and x' are what that layer returns for them.

    Raises `CoverageError` for an operation that bends and has no rule, unless
    `on_uncovered="gradient"` lets it pass on its derivative, which the result then says, and
    `InputError` for a rule that does not exist.

    >>> explain(linear, x, "deeplift").values
    array([[6., 4.]], dtype=float32)
    >>> explain(linear, x, "deeplift", rule="reveal_cancel").values
    array([[6., 4.]], dtype=float32)
    """

    baseline: Any = None
    rule: str = "rescale"
    layer: str | None = None
    on_uncovered: str = "error"

    family = "backward"
    needs = Tier.TRANSPARENT
    claims_completeness = True
    works_at_layer = True
    shares_forward = True
    cost = "3 F"
    source = "Shrikumar et al. 2017"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InputError(f"Expected rule to be one of {tuple(RULES)}, got {self.rule!r}.")

    def rule_of(self, op: Operation) -> str | None:
        return RULES[self.rule].name_of(op)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        baseline = task.baselines("zeros" if self.baseline is None else self.baseline)
        size, targets = len(baseline), len(task.targets)
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        rule = RULES[self.rule]

        def evaluate(start: int, stop: int) -> tuple[np.ndarray, ...]:
            rows = np.arange(start, stop)
            reference = ReferenceRun(task.model.adapter.stop_gradient)
            others = task.in_own_type(tuple(task.asarray(b[start:stop]) for b in baseline))
            inputs = task.origin.take(task.origin.x, rows)
            outputs = outputs_under(task, others, reference.keeping, rule.referenced, inputs=inputs)
            scores = task.scores_of(outputs, rows)
            rules = rule.interceptor(task.model.adapter, reference, uncovered)
            kinds = rule.referenced | REFUSED
            grads = gradients_under(task, task.take(task.x, rows), rows, rules, kinds)
            found = [
                (a[start:stop] - b[start:stop]).astype(np.float32)
                * task.to_numpy(g).astype(np.float32)
                for each in grads
                for a, b, g in zip(task.batch.arrays, baseline, each, strict=True)
            ]
            return (*found, scores.T)

        parts = [out for _, _, out in task.schedule.run(task.count, evaluate, key="backward")]
        *found, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        return tuple(
            Attribution(
                tuple(found[t * size : (t + 1) * size]),
                baseline=baseline,
                baseline_score=scores[:, t],
                uncovered=uncovered.met,
            )
            for t in range(targets)
        )
