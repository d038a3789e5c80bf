"""Occlusion: what the score loses when a window of the input is covered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from pellucid.errors import MethodError
from pellucid.inputs.layout import SPACE
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import register_method
from pellucid.running.incremental import Job, PartialRuns
from pellucid.task import Task
from pellucid.types import Leaves

_WINDOWS = 7  # windows along the longer side, by default, each overlapping the next by half

_CHECKS = 4
"""Whole runs that runs in part may take besides: one that is recorded, three to compare with."""


@register_method("occlusion")
@dataclass(frozen=True)
class Occlusion(Method):
    """What the score loses when a window is replaced by the baseline.

    a_i = mean over the windows W that cover i of f(x) − f(x with W ← baseline)

    Returns the input's shape, in units of the explained score, signed; all channels of a position
    are covered together and share a value. Windows are boxes over the spatial axes (single
    columns for tables): `window` and `stride` in pixels, a number or one per spatial axis; by
    default a seventh of the longer side, half overlapping. A last window is set flush with the
    border, so that every position is covered. Cost: one forward a window, one for f(x), and one
    for f(x').
    Of a network that looks at its input place by place (convolutions, pooling) only what a window
    reaches is computed again: `incremental` inference, by default (None) for images of 64 x 64 and
    more where it pays; it gives the numbers of whole runs but for rounding, is compared with three
    of them once, and falls back to them where the model cannot be followed. A window then counts
    as a suffix, and the result's notes say what share of a forward pass it ran.
    Source: Zeiler, Fergus 2014 (arXiv 1311.2901), section 2; averaging over windows as in
    Captum; incremental inference: Nakandala et al. 2019 (SIGMOD). Departs from Captum: border
    windows are whole, where Captum's are cut off.

    Raises `MethodError` for windows that are larger than the input or leave gaps.

    >>> explain(linear, x, "occlusion").values       # exact for a linear model
    array([[6., 4.]], dtype=float32)
    """

    window: Any = None
    stride: Any = None
    baseline: Any = "zeros"
    budget: int | None = None
    incremental: bool | None = None

    family = "perturbation"
    shares_forward = True
    cost = "1 F a window: about 169 for an image"
    source = "Zeiler & Fergus 2014"
    refusals = {  # noqa: RUF012 - declared a ClassVar in Method
        "tolerance": "nothing is drawn, so there is no sampling error to reach; window= and stride="
        " say how many windows there are"
    }

    def expected(self, task: Task) -> int | None:
        return task.count * (len(self._jobs(task)) + 2)

    def _jobs(self, task: Task) -> list[Job]:
        """Each window, and which input it is of."""
        windows = [
            _windows(a.shape[1:], dims[1:], self.window, self.stride)
            for a, dims in zip(task.batch.arrays, task.batch.dims, strict=True)
        ]
        return [(leaf, box) for leaf, boxes in enumerate(windows) for box in boxes]

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        baseline = task.baselines(self.baseline)
        jobs = self._jobs(task)
        if self.budget is not None and len(jobs) + 2 > self.budget:
            raise MethodError(
                f"{len(jobs)} windows need {len(jobs) + 2} evaluations a sample, the budget is"
                f" {self.budget}: take larger windows or strides."
            )
        drops = np.zeros((len(task.targets), task.count, len(jobs)))
        parts = self._in_part(task, baseline, jobs)
        finished = 0
        try:
            for done in self._drops(task, baseline, jobs, drops, parts):
                finished = done
        except BaseException:
            task.kept = np.arange(finished), _mean_drops(task, jobs, drops[0], baseline)
            raise
        base, evidence = task.baseline_scores_each(baseline), self._evidence(parts)
        return tuple(
            replace(_mean_drops(task, jobs, own, baseline), baseline_score=b, **evidence)
            for own, b in zip(drops, base, strict=True)
        )

    def _in_part(
        self, task: Task, baseline: tuple[np.ndarray, ...], jobs: list[Job]
    ) -> PartialRuns | None:
        short = self.budget is not None and len(jobs) + 2 + _CHECKS > self.budget
        if self.incremental is False or (short and not self.incremental):
            return None
        return PartialRuns(task, jobs, baseline, always=bool(self.incremental))

    def _evidence(self, parts: PartialRuns | None) -> dict[str, Any]:
        """What the result says of runs in part."""
        if parts is not None and parts.share:
            return {
                "notes": (
                    f"By incremental inference: each window ran {parts.share:.0%} of a forward pass"
                    " (counted as a suffix), what it does not reach was taken over; compared with"
                    " whole runs once for the model and these windows.",
                )
            }
        if parts is not None and self.incremental:
            return {"warnings": (f"No incremental inference: {parts.reason}.",)}
        return {}

    @staticmethod
    def _drops(
        task: Task,
        baseline: tuple[np.ndarray, ...],
        jobs: list[Job],
        drops: np.ndarray,
        parts: PartialRuns | None,
    ) -> Iterator[int]:
        """Fill in f(x) − f(occluded x), `(targets, n, windows)`; yields how many are finished.

        The score of x itself is not run again.
        """
        flat, whole = drops.reshape(len(drops), -1), task.scores()

        first = 0
        for sample, scores in parts.each() if parts is not None else ():
            drops[:, sample] = whole[:, sample, None] - scores
            first = (sample + 1) * len(jobs)
            yield sample + 1

        def evaluate(start: int, stop: int) -> np.ndarray:
            samples, numbers = np.divmod(np.arange(first + start, first + stop), len(jobs))
            leaves = _occluded(task, baseline, jobs, samples, numbers)
            return whole[:, samples] - task.scores_of_copies(leaves, samples)

        for start, stop, part in task.schedule.run(
            flat.shape[1] - first, evaluate, key="forward", layouts=True
        ):
            flat[:, first + start : first + stop] = part
            yield (first + stop) // len(jobs)


def _mean_drops(
    task: Task, jobs: list[Job], drops: np.ndarray, baseline: tuple[np.ndarray, ...]
) -> Attribution:
    """What each position's windows lose on average."""
    values = [np.zeros(a.shape) for a in task.batch.arrays]
    covered = [np.zeros(a.shape[1:]) for a in task.batch.arrays]
    for j, (leaf, box) in enumerate(jobs):
        shape = (-1, *(1,) * (values[leaf].ndim - 1))
        values[leaf][(slice(None), *box)] += drops[:, j].reshape(shape)
        covered[leaf][box] += 1
    means = [v / np.maximum(c, 1) for v, c in zip(values, covered, strict=True)]
    return Attribution(
        tuple(m.astype(np.float32) for m in means),
        baseline=baseline,
        extras={"windows": np.array(len(jobs))},
    )


def _occluded(
    task: Task,
    baseline: tuple[np.ndarray, ...],
    jobs: list[Job],
    samples: np.ndarray,
    numbers: np.ndarray,
) -> Leaves:
    copies = [a[samples] for a in task.batch.arrays]
    for row, (sample, number) in enumerate(zip(samples, numbers, strict=True)):
        leaf, box = jobs[number]
        copies[leaf][(row, *box)] = baseline[leaf][(sample, *box)]
    return tuple(map(task.asarray, copies))


def _windows(
    shape: tuple[int, ...], dims: tuple[str, ...], window: Any, stride: Any
) -> list[tuple[slice, ...]]:
    """The boxes of one input (batch axis left out), flush with the borders."""
    moving = [i for i, name in enumerate(dims) if name in SPACE]
    tabular = not moving
    if tabular:
        moving = list(range(len(shape)))
    sizes = _per_axis(window, len(moving), "window")
    steps = _per_axis(stride, len(moving), "stride")
    longest = max((shape[i] for i in moving), default=1)
    starts = []
    for axis, size, step in zip(moving, sizes, steps, strict=True):
        length = shape[axis]
        if size is None:
            size = 1 if tabular else max(1, min(length, round(longest / _WINDOWS)))
        if step is None:
            step = 1 if tabular else max(1, size // 2)
        if not 1 <= size <= length or not 1 <= step <= size:
            raise MethodError(
                f"Expected 1 ≤ stride ≤ window ≤ {length} along {dims[axis]}, got window {size},"
                f" stride {step}."
            )
        last = length - size
        firsts = list(range(0, last + 1, step))
        if firsts[-1] != last:
            firsts.append(last)
        starts.append([(axis, slice(first, first + size)) for first in firsts])
    boxes = []
    for combination in product(*starts):
        box = [slice(None)] * len(shape)
        for axis, part in combination:
            box[axis] = part
        boxes.append(tuple(box))
    return boxes


def _per_axis(value: Any, count: int, name: str) -> list[int | None]:
    if value is None:
        return [None] * count
    given = [value] * count if np.ndim(value) == 0 else list(value)
    whole = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in given)
    if len(given) != count or not whole:
        raise MethodError(
            f"Expected {name} to be a whole number or {count} of them, got {value!r}."
        )
    return [int(v) for v in given]
