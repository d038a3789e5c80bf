"""DeepSHAP: DeepLIFT averaged over the rows of a background."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Operation, Tier
from pellucid.methods.background import background_rows
from pellucid.methods.backward.reference import ReferenceRun, compiled_reference
from pellucid.methods.backward.rescale import REFUSED, RULED, referring, rescaling, rule_of
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.intercepted import (
    OtherOperationsError,
    compiled_under,
    gradients_under,
    outputs_under,
)
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
        sums = _Sums(task)
        scores = np.zeros((targets, task.count))

        def evaluate(start: int, stop: int) -> None:
            others = task.in_own_type(tuple(task.asarray(b[start:stop]) for b in rows))
            inputs = task.origin.in_own_type(tuple(task.asarray(b[start:stop]) for b in given))
            part = _Part(task, others, inputs, uncovered)
            for sample in range(task.count):
                copies = np.full(stop - start, sample)
                scores[:, sample] += task.scores_of(part.outputs, copies).sum(axis=1)
                sums.add(sample, stop - start, part.summed(copies))

        for _ in task.schedule.run(count, evaluate, key="background", times=task.count):
            pass
        return tuple(
            Attribution(
                sums.means(t),
                stderr=sums.errors(t, count) if count > 1 else None,
                baseline_score=scores[t] / count,
                warnings=(_NO_BACKGROUND,) if self.background is None else (),
                uncovered=uncovered.met,
            )
            for t in range(targets)
        )


class _Part:
    """Some rows of a background, run once, with which samples are then compared."""

    def __init__(self, task: Task, others: Leaves, inputs: Leaves, uncovered: Uncovered) -> None:
        self._task, self._others, self._inputs = task, others, inputs
        self._uncovered, adapter = uncovered, task.model.adapter
        found = compiled_reference(task, others, RULED, DeepShap.name)
        if found is None:
            reference = ReferenceRun(adapter.stop_gradient)
            outputs = outputs_under(task, others, reference.keeping, RULED, inputs=inputs)
        else:
            outputs, reference = found
        self.outputs, self._reference = outputs, reference

    def summed(self, copies: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """What the rows give a sample: see `_summed`, for each leaf. `copies` is its number."""
        task, adapter, uncovered = self._task, self._task.model.adapter, self._uncovered
        leaves, kinds = task.take(task.x, copies), RULED | REFUSED
        rules = referring(adapter, self._reference, rescaling, uncovered)

        def then(found: tuple[Leaves, ...], leaves: Leaves, given: Any) -> Any:
            return _summed(adapter.xp, found, leaves, given[1])

        compiled = compiled_under(
            task, leaves, copies, (self._reference.live()[0], self._others),
            rules, kinds, (DeepShap.name, uncovered.choice), then,
        )  # fmt: skip
        if compiled is not None:
            made = compiled[0]
            uncovered.note(compiled[1])
        else:
            made = _summed(adapter.xp, self._multipliers(leaves, copies), leaves, self._others)
        return [tuple(map(task.to_numpy, pair)) for pair in made]

    def _multipliers(self, leaves: Leaves, copies: np.ndarray) -> tuple[Leaves, ...]:
        task, uncovered = self._task, self._uncovered
        rules = rescaling(task.model.adapter, self._reference, uncovered)
        try:
            return gradients_under(task, leaves, copies, rules, RULED | REFUSED)
        except OtherOperationsError:
            return _side_by_side(task, leaves, copies, self._others, self._inputs, uncovered)


def _summed(
    xp: Any, found: tuple[Leaves, ...], leaves: Leaves, others: Leaves
) -> list[tuple[Any, Any]]:
    """For each leaf the mean of (x − b) m over rows b, and the squares around it, for each target.

    In float32, which loses nothing: the squares are those of differences from the mean.
    """
    made = []
    for k, (x, b) in enumerate(zip(leaves, others, strict=True)):
        if "float" not in str(x.dtype):
            zeros = xp.zeros((len(found), *x.shape[1:]), dtype=xp.float32)
            made.append((zeros, zeros))
            continue
        difference = xp.astype(x, xp.float32) - xp.astype(b, xp.float32)
        means, squares = [], []
        for each in found:
            part = difference * xp.astype(each[k], xp.float32)
            means.append(xp.mean(part, axis=0))
            part = part - means[-1]
            squares.append(xp.sum(part * part, axis=0))
        made.append((xp.stack(means), xp.stack(squares)))
    return made


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
    """The means of what the rows of a background give each sample, and the squares around them."""

    def __init__(self, task: Task) -> None:
        shapes = [(len(task.targets), task.count, *a.shape[1:]) for a in task.batch.arrays]
        self._means = [np.zeros(shape) for shape in shapes]
        self._squares = [np.zeros(shape) for shape in shapes]
        self._rows = np.zeros(task.count)

    def add(self, sample: int, rows: int, parts: list[tuple[np.ndarray, ...]]) -> None:
        """One sample against some rows more; in float64 (Chan, Golub, LeVeque 1979, eq. 2.1)."""
        before = self._rows[sample]
        share = rows / (before + rows)
        for k, (mean, squares) in enumerate(parts):
            change = mean.astype(np.float64) - self._means[k][:, sample]
            self._means[k][:, sample] += change * share
            self._squares[k][:, sample] += squares + change * change * (before * share)
        self._rows[sample] += rows

    def means(self, target: int) -> tuple[np.ndarray, ...]:
        """The attributions."""
        return tuple(m[target].astype(np.float32) for m in self._means)

    def errors(self, target: int, count: int) -> tuple[np.ndarray, ...]:
        """The standard errors of the means."""
        spread = count * max(count - 1, 1)
        return tuple(np.sqrt(s[target] / spread).astype(np.float32) for s in self._squares)
