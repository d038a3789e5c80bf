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
from pellucid.running.intercepted import OtherOperationsError, gradients_under, outputs_under
from pellucid.task import Task
from pellucid.types import Leaves

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

    With `layer`, such as an embedding, the difference is followed from what that layer returns.

    Raises `CoverageError` as `deeplift`, `InputError` for a background that does not fit x.

    >>> explain(linear, x, "deep_shap", background=[[0.0, 0.0], [2.0, 2.0]]).values
    array([[4., 3.]], dtype=float32)
    """

    background: Any = None
    layer: str | None = None
    on_uncovered: str = "error"

    family = "backward"
    needs = Tier.TRANSPARENT
    claims_completeness = True
    works_at_layer = True
    shares_forward = True
    cost = "2 F a row of the background"
    instead = "expected_gradients"
    source = "Lundberg & Lee 2017"

    def rule_of(self, op: Operation) -> str | None:
        return rule_of(op)

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        given = background_rows(task.origin, self.background)
        rows = given if task.opened is None else (task.opened.values(given),)
        count, targets = len(rows[0]), len(task.targets)
        sums = [_Sums(task) for _ in task.targets]
        scores = np.zeros((targets, task.count))

        def evaluate(start: int, stop: int) -> None:
            adapter = task.model.adapter
            reference = ReferenceRun(adapter.stop_gradient)
            others = task.in_own_type(tuple(task.asarray(b[start:stop]) for b in rows))
            inputs = task.origin.in_own_type(tuple(task.asarray(b[start:stop]) for b in given))
            outputs = outputs_under(task, others, reference.keeping, RULED, inputs=inputs)
            rules = rescaling(adapter, reference, uncovered)
            for sample in range(task.count):
                copies = np.full(stop - start, sample)
                scores[:, sample] += task.scores_of(outputs, copies).sum(axis=1)
                leaves = task.take(task.x, copies)
                try:
                    found = gradients_under(task, leaves, copies, rules, RULED | REFUSED)
                except OtherOperationsError:
                    found = _side_by_side(task, leaves, copies, others, inputs, uncovered)
                for own, grads in zip(sums, found, strict=True):
                    own.add(task, sample, grads, tuple(b[start:stop] for b in rows))

        for _ in task.schedule.run(count, evaluate, key="background"):
            pass
        return tuple(
            Attribution(
                own.means(count),
                stderr=own.errors(count) if count > 1 else None,
                baseline_score=score / count,
                warnings=(_NO_BACKGROUND,) if self.background is None else (),
                uncovered=uncovered.met,
            )
            for own, score in zip(sums, scores, strict=True)
        )


def _side_by_side(
    task: Task,
    leaves: Leaves,
    copies: np.ndarray,
    others: Leaves,
    inputs: Leaves,
    uncovered: Uncovered,
) -> tuple[Leaves, ...]:
    """The multipliers where sample and background are done other operations on by themselves.

    As a mask is left out where no row is padded. Both runs then hold both, so that they do the same
    operations, in turned order, so that each row stands where the other run has its reference.
    """
    adapter, own = task.model.adapter, task.origin.take(task.origin.x, copies)
    reference = ReferenceRun(adapter.stop_gradient)
    outputs_under(
        task, _joined(task, others, leaves), reference.keeping, RULED,
        inputs=_joined(task, inputs, own),
    )  # fmt: skip
    rules = rescaling(adapter, reference, uncovered)
    found = gradients_under(
        task, _joined(task, leaves, others), np.concatenate([copies, copies]), rules,
        RULED | REFUSED, inputs=_joined(task, own, inputs),
    )  # fmt: skip
    return tuple(tuple(g[: len(copies)] for g in each) for each in found)


def _joined(task: Task, first: Leaves, second: Leaves) -> Leaves:
    return tuple(task.xp.concat([a, b], axis=0) for a, b in zip(first, second, strict=True))


class _Sums:
    """What the rows of a background give each sample, and its squares, added up in float64."""

    def __init__(self, task: Task) -> None:
        shapes = [(task.count, *a.shape[1:]) for a in task.batch.arrays]
        self._totals = [np.zeros(shape) for shape in shapes]
        self._squares = [np.zeros(shape) for shape in shapes]

    def add(
        self, task: Task, sample: int, grads: tuple[Any, ...], rows: tuple[np.ndarray, ...]
    ) -> None:
        """One sample against some rows, of which `grads` are the multipliers."""
        for k, (array, b) in enumerate(zip(task.batch.arrays, rows, strict=True)):
            each = (array[sample] - b).astype(np.float64)
            each *= task.to_numpy(grads[k])
            self._totals[k][sample] += each.sum(axis=0)
            self._squares[k][sample] += (each * each).sum(axis=0)

    def means(self, count: int) -> tuple[np.ndarray, ...]:
        """The attributions."""
        return tuple((t / count).astype(np.float32) for t in self._totals)

    def errors(self, count: int) -> tuple[np.ndarray, ...]:
        """The standard errors of the means."""
        return tuple(
            np.sqrt(np.maximum(s / count - (t / count) ** 2, 0) / max(count - 1, 1)).astype(
                np.float32
            )
            for s, t in zip(self._squares, self._totals, strict=True)
        )
