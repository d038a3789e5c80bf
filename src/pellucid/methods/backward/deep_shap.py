"""DeepSHAP: DeepLIFT averaged over the rows of a background."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation, Tier
from pellucid.methods.background import background_rows
from pellucid.methods.backward.reference import ReferenceRun
from pellucid.methods.backward.rescale import REFUSED, RULED, rescaling, rule_of
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.intercepted import gradients_under, outputs_under
from pellucid.task import Task

_NO_BACKGROUND = (
    "no background was given, so the input was compared with zeros alone: pass"
    " background=rows of your data"
)


@register_method("deep_shap")
@dataclass(frozen=True)
class DeepShap(Method):
    """Attribute f(x) − mean f(b) by DeepLIFT from each row b of a background.

    a_i = mean over b of (x_i − b_i) m_i(x, b),   m the multipliers of `deeplift`

    Returns the input's shape, in units of the explained score, signed; Σ a = f(x) − mean f(b) up to
    `gap`, which is rounding. `background` is an array or rows of a data set in the form of x;
    without one, zeros, with a warning. `stderr` is the standard error of the mean over the rows,
    for a background that was drawn from something larger. It approximates SHAP values as far as
    the model is linear between x and b. The background runs once, for all samples. Cost for each
    sample: a forward and a backward for each row.
    Source: Lundberg & Lee 2017 (arXiv 1705.07874), section 4.2. Departs from the paper: the rules
    are those of `deeplift` here, which know products, normalisation and attention.

    Raises `CoverageError` as `deeplift`, `InputError` for a background that does not fit x.

    >>> explain(linear, x, "deep_shap", background=[[0.0, 0.0], [2.0, 2.0]]).values
    array([[4., 3.]], dtype=float32)
    """

    background: Any = None
    on_uncovered: str = "error"

    family = "backward"
    needs = Tier.TRANSPARENT
    claims_completeness = True
    cost = "2 F a row of the background"
    instead = "expected_gradients"
    source = "Lundberg & Lee 2017"

    def rule_of(self, op: Operation) -> str | None:
        return rule_of(op)

    def attribute(self, task: Task) -> Attribution:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        rows = background_rows(task, self.background)
        count = len(rows[0])
        shapes = [(task.count, *a.shape[1:]) for a in task.batch.arrays]
        totals = [np.zeros(shape) for shape in shapes]
        squares = [np.zeros(shape) for shape in shapes]
        scores = np.zeros(task.count)

        def evaluate(start: int, stop: int) -> None:
            adapter = task.model.adapter
            reference = ReferenceRun(adapter.stop_gradient)
            others = task.in_own_type(tuple(task.asarray(b[start:stop]) for b in rows))
            outputs = outputs_under(task, others, reference.keeping, RULED)
            for sample in range(task.count):
                copies = np.full(stop - start, sample)
                scores[sample] += task.scores_of(outputs, copies)[0].sum()
                rules = rescaling(adapter, reference, uncovered)
                (grads,) = gradients_under(
                    task, task.take(task.x, copies), copies, rules, RULED | REFUSED
                )
                for k, (array, b) in enumerate(zip(task.batch.arrays, rows, strict=True)):
                    change = array[sample].astype(np.float64) - b[start:stop]
                    each = change * task.to_numpy(grads[k]).astype(np.float64)
                    totals[k][sample] += each.sum(axis=0)
                    squares[k][sample] += (each * each).sum(axis=0)

        for _ in task.schedule.run(count, evaluate, key="background"):
            pass
        means = [t / count for t in totals]
        spread = [
            np.sqrt(np.maximum(s / count - m * m, 0) / max(count - 1, 1))
            for s, m in zip(squares, means, strict=True)
        ]
        return Attribution(
            tuple(m.astype(np.float32) for m in means),
            stderr=tuple(s.astype(np.float32) for s in spread) if count > 1 else None,
            baseline_score=scores / count,
            uncovered=uncovered.met,
            warnings=(_NO_BACKGROUND,) if self.background is None else (),
        )
