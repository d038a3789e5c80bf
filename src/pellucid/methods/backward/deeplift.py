"""DeepLIFT: how each input's difference from a baseline reaches the score."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation, Tier
from pellucid.methods.backward.reference import ReferenceRun
from pellucid.methods.backward.rescale import REFUSED, RULED, rescaling, rule_of
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.intercepted import gradients_under, outputs_under
from pellucid.task import Task


@register_method("deeplift")
@dataclass(frozen=True)
class DeepLift(Method):
    """Share f(x) − f(x') out among the inputs by the differences that their values make.

    a_i = (x_i − x'_i) m_i, where multipliers m follow the chain rule and, at each activation,
    m = Δy / Δx (the rescale rule)

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − f(x') up to
    `gap`, which is rounding. `baseline` is x' (zeros by default). A product of two values that both
    change gives each its change times the mean of the other; a maximum gives its change to the
    winner; softmax, layer normalisation and attention are what they are made of. Cost: a forward
    for the baseline, a forward and a backward.
    Source: Shrikumar, Greenside, Kundaje 2017 (arXiv 1704.02685), section 3.5.1. Departs from the
    paper: products, maxima and normalisations have rules here.

    With `layer`, such as an embedding, x and x' are what that layer returns for them.

    Raises `CoverageError` for an operation that bends and has no rule, unless
    `on_uncovered="gradient"` lets it pass on its derivative, which the result then says.

    >>> explain(linear, x, "deeplift").values
    array([[6., 4.]], dtype=float32)
    """

    baseline: Any = None
    layer: str | None = None
    on_uncovered: str = "error"

    family = "backward"
    needs = Tier.TRANSPARENT
    claims_completeness = True
    works_at_layer = True
    shares_forward = True
    cost = "3 F"
    source = "Shrikumar et al. 2017"

    def rule_of(self, op: Operation) -> str | None:
        return rule_of(op)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        baseline = task.baselines("zeros" if self.baseline is None else self.baseline)
        size, targets = len(baseline), len(task.targets)
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)

        def evaluate(start: int, stop: int) -> tuple[np.ndarray, ...]:
            rows = np.arange(start, stop)
            reference = ReferenceRun(task.model.adapter.stop_gradient)
            others = task.in_own_type(tuple(task.asarray(b[start:stop]) for b in baseline))
            inputs = task.origin.take(task.origin.x, rows)
            outputs = outputs_under(task, others, reference.keeping, RULED, inputs=inputs)
            scores = task.scores_of(outputs, rows)
            rules = rescaling(task.model.adapter, reference, uncovered)
            grads = gradients_under(task, task.take(task.x, rows), rows, rules, RULED | REFUSED)
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
