"""DeepLIFT: how each input's difference from a baseline reaches the score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pellucid.adapters.protocol import Adapter, Intercept, Operation, Tier
from pellucid.errors import InputError
from pellucid.methods.backward.reference import ReferenceRun, compiled_reference
from pellucid.methods.backward.rescale import REFUSED, RULED, referring, rescaling, rule_of
from pellucid.methods.backward.reveal_cancel import REFERENCED, Revealing, revealing_rule_of
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.gradients import gradients_of_outputs
from pellucid.running.intercepted import (
    begun_under,
    compiled_under,
    gradients_under,
    outputs_under,
)
from pellucid.task import Task
from pellucid.types import Leaves, Outputs


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
    winner; layer normalisation and attention are what they are made of, and a softmax is
    exp(x − ln Σ exp x). Cost: a forward for the baseline, a forward and a backward; about three
    times that for reveal_cancel.
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

    def begin(self, task: Task) -> tuple[Outputs, Any] | None:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        rows, rule = np.arange(task.count), RULES[self.rule]
        others = task.in_own_type(tuple(task.asarray(b) for b in self._baseline(task)))
        outputs, reference = self._reference(task, rows, others)
        intercept = rule.interceptor(task.model.adapter, reference, uncovered)
        found = begun_under(task, intercept, rule.referenced | REFUSED)
        return None if found is None else (found[0], (outputs, found[1], uncovered))

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def _baseline(self, task: Task) -> tuple[np.ndarray, ...]:
        return task.baselines("zeros" if self.baseline is None else self.baseline)

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        baseline = self._baseline(task)
        size, targets = len(baseline), len(task.targets)
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)

        def evaluate(start: int, stop: int) -> tuple[np.ndarray, ...]:
            rows = np.arange(start, stop)
            if task.begun is not None:
                outputs, pullback, met = task.begun
                grads = gradients_of_outputs(task, pullback)
                uncovered.note(met.met)
            else:
                others = task.in_own_type(tuple(task.asarray(b[start:stop]) for b in baseline))
                outputs, grads = self._multipliers(task, rows, others, uncovered)
            scores = task.scores_of(outputs, rows)
            found = [
                (a[start:stop] - b[start:stop]).astype(np.float32)
                * task.to_numpy(g).astype(np.float32)
                for each in grads
                for a, b, g in zip(task.batch.arrays, baseline, each, strict=True)
            ]
            return (*found, scores.T)

        if task.begun is not None:
            parts = [evaluate(0, task.count)]
        else:
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

    def _multipliers(
        self, task: Task, rows: np.ndarray, others: Leaves, uncovered: Uncovered
    ) -> tuple[Outputs, tuple[Leaves, ...]]:
        """The outputs for the baseline, and m of each leaf for each target."""
        rule, adapter = RULES[self.rule], task.model.adapter
        leaves, kinds = task.take(task.x, rows), rule.referenced | REFUSED
        form = self.name, self.rule, uncovered.choice
        found = compiled_reference(task, others, rule.referenced, form)
        if found is None:
            outputs, reference = self._reference(task, rows, others)
        else:
            outputs, reference = found
            compiled = compiled_under(
                task, leaves, rows, (reference.live()[0],),
                referring(adapter, reference, rule.interceptor, uncovered), kinds, form,
            )  # fmt: skip
            if compiled is not None:
                uncovered.note(compiled[1])
                return outputs, compiled[0]
        intercept = rule.interceptor(adapter, reference, uncovered)
        return outputs, gradients_under(task, leaves, rows, intercept, kinds)

    def _reference(
        self, task: Task, rows: np.ndarray, others: Leaves
    ) -> tuple[Outputs, ReferenceRun]:
        reference = ReferenceRun(task.model.adapter.stop_gradient)
        outputs = outputs_under(
            task, others, reference.keeping, RULES[self.rule].referenced,
            inputs=task.origin.take(task.origin.x, rows),
        )  # fmt: skip
        return outputs, reference
