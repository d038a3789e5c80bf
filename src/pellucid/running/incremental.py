"""Scores of copies that differ from a sample in a window, by runs of a part of the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.counting import Tally, asked_once, count_once, tallied
from pellucid.inputs.layout import space_axes
from pellucid.running.layers import shape_key
from pellucid.running.outputs import model_errors, single_output
from pellucid.running.partial import Partial
from pellucid.running.recorded import NotFollowed, Recording, recorded
from pellucid.types import Array

if TYPE_CHECKING:
    from pellucid.task import Task

_SMALL = 64 * 64
"""Places of an input below which there is little to gain."""
_PAYS = 0.7
"""A part of this share of a forward pass, or less, is worth the gathering."""
_WORTH = 3e8
"""Multiplications to save in all, from which on a recorded run is worth it."""
_BYTES, _COPIES = 2**26, 128
"""What the largest array of a group of copies may take, and how many copies a group may hold."""
_TOLERANCE = 2e-5
_SHOWS = 10
"""A check counts once windows move the output by this many tolerances."""

Job = tuple[int, tuple[slice, ...]]
"""An input's number, and the window of it that is replaced."""


@dataclass(frozen=True)
class _Windows:
    """The windows of one input: where they start along its spatial axes, and their size."""

    leaf: int
    axes: tuple[int, ...]
    jobs: np.ndarray
    starts: np.ndarray
    size: tuple[int, ...]
    boxes: tuple[tuple[slice, ...], ...]


class PartialRuns:
    """For each sample the scores of its copies in which a window holds the baseline.

    One recorded run of a sample; for every copy then only what its window reaches is computed
    (see `Partial`). The first time for a model and windows, three copies are run whole as well.
    Where the model cannot be followed, a check fails, or it does not pay, `each` ends early and
    `reason` says why: the samples that are left are to be run whole. With `always` it is done
    where it does not pay, too. `share` is the part of a forward pass that a copy took, on average.
    """

    def __init__(
        self, task: "Task", jobs: list[Job], baseline: tuple[np.ndarray, ...], *, always: bool
    ) -> None:
        self._task, self._baseline, self._always = task, baseline, always
        self._count = len(jobs)
        self.reason = ""
        self.share = 0.0
        self._windows = self._grouped(jobs)

    def _grouped(self, jobs: list[Job]) -> list[_Windows]:
        task, found = self._task, []
        adapter = task.model.adapter
        if task.opened is not None or adapter.supports < Tier.TRANSPARENT:
            self.reason = "operations are not seen"
            return []
        if adapter.compiles_operations and not self._always:
            self.reason = "each operation would be compiled for the shape of its part"
            return []
        for leaf in sorted({leaf for leaf, _ in jobs}):
            array, dims = task.batch.arrays[leaf], task.batch.dims[leaf]
            axes = space_axes(dims)
            places = int(np.prod([array.shape[a] for a in axes]))
            if not axes or array.dtype.kind != "f" or (places < _SMALL and not self._always):
                self.reason = "the input has few places"
                return []
            own = [(j, box) for j, (at, box) in enumerate(jobs) if at == leaf]
            parts = [[box[a - 1] for a in axes] for _, box in own]
            starts = np.array([[p.start for p in one] for one in parts])
            size = tuple(p.stop - p.start for p in parts[0])
            numbers = np.array([j for j, _ in own])
            boxes = tuple(box for _, box in own)
            found.append(_Windows(leaf, axes, numbers, starts, size, boxes))
        return found

    def each(self) -> Iterator[tuple[int, np.ndarray]]:
        """`(sample, scores (targets, windows))` of one sample after another."""
        for sample in range(self._task.count if self._windows else 0):
            scores = self._followed(sample)
            if scores is None:
                return
            yield sample, scores

    def _followed(self, sample: int) -> np.ndarray | None:
        adapter = self._task.model.adapter
        reasons = self._task.wrapped.partial_runs
        known = [r for r in (reasons.get(self._key(w)) for w in self._windows) if r]
        if known:
            self.reason = known[0]
            return None
        tried = Tally()
        try:
            with tallied(tried):
                return self._scores(sample)
        except NotFollowed as reason:
            count_once(tried)
            self.reason = str(reason)
            reasons.update({self._key(windows): self.reason for windows in self._windows})
        except Exception as error:
            # Whatever it is, the whole run finds out whether it is the model's own error.
            short = adapter.is_out_of_memory(error)
            self.reason = "out of memory" if short else f"{type(error).__name__} in a partial run"
        return None

    def _key(self, windows: _Windows) -> Any:
        own = windows.leaf, windows.size, windows.starts.tobytes(), self._always
        return *shape_key(self._task), *own

    def _scores(self, sample: int) -> np.ndarray | None:
        task = self._task
        leaves = tuple(a[sample : sample + 1] for a in task.x)
        with model_errors(task.model, leaves, task.model.adapter, np.array([sample])):
            recording = recorded(
                task.model.adapter,
                lambda given, see: single_output(task.model.run(given, intercept=see)),
                leaves,
            )
        runs = [
            Partial(task.model.adapter, recording, w.leaf, w.axes, w.starts, w.size)
            for w in self._windows
        ]
        counts = [len(w.jobs) for w in self._windows]
        share = float(np.average([r.share for r in runs], weights=counts))
        saved = (1 - share) * runs[0].cost * self._count
        if not self._always and (share > _PAYS or saved < _WORTH):
            raise NotFollowed(f"a window reaches {share:.0%} of a forward pass")
        scores = np.zeros((len(task.targets), self._count))
        for windows, run in zip(self._windows, runs, strict=True):
            scores[:, windows.jobs] = self._run(sample, windows, run, recording)
        self.share = share
        return scores

    def _run(
        self, sample: int, windows: _Windows, run: Partial, recording: Recording
    ) -> np.ndarray:
        task, count = self._task, len(windows.jobs)
        room = max(8, min(_COPIES, _BYTES // max(run.largest, 1)))
        fixed = task.schedule.batch_size
        room = room if fixed == "auto" else int(fixed)
        groups = np.array_split(np.arange(count), -(-count // room))
        outputs: list[Array] = []

        def evaluate(start: int, stop: int) -> list[Array]:
            return [self._group(sample, windows, run, groups[i]) for i in range(start, stop)]

        width = len(groups[0])
        for _, _, part in task.schedule.run(
            len(groups), evaluate, key="part", width=width, at_most=width
        ):
            outputs += part
        whole = outputs[0] if len(outputs) == 1 else task.xp.concat(outputs, axis=0)
        with asked_once():
            self._check(sample, windows, whole, recording)
        scores = task.scores_of(whole, np.full(count, sample))
        if not np.isfinite(scores).all():
            raise NotFollowed("a score is not finite")
        return scores

    def _group(self, sample: int, windows: _Windows, run: Partial, numbers: np.ndarray) -> Array:
        task = self._task
        held = self._baseline[windows.leaf][sample]
        changed = task.asarray(np.stack([held[windows.boxes[i]] for i in numbers]))
        task.model.count_part(len(numbers))
        own = task.x[windows.leaf].dtype
        return run.run(numbers, changed if changed.dtype == own else task.xp.astype(changed, own))

    def _check(self, sample: int, windows: _Windows, outputs: Array, recording: Recording) -> None:
        """Compare the copy that moves the output most, and the outermost, with whole runs of them.

        Once for a model and its windows: raises `NotFollowed` where they differ.
        """
        known, key = self._task.wrapped.partial_runs, self._key(windows)
        if known.get(key) == "":
            return
        found = self._task.to_numpy(outputs).astype(np.float64)
        before = recording.values[recording.output].array.astype(np.float64)
        moved = np.abs(found - before).reshape(len(found), -1).max(axis=1)
        picked = np.unique([int(moved.argmax()), 0, len(found) - 1])
        leaves = [
            np.repeat(a[sample : sample + 1], len(picked), 0) for a in self._task.batch.arrays
        ]
        for row, number in enumerate(picked):
            box = windows.boxes[number]
            leaves[windows.leaf][(row, *box)] = self._baseline[windows.leaf][(sample, *box)]
        native = tuple(map(self._task.asarray, leaves))
        whole = self._task.outputs_at(native, np.full(len(picked), sample))
        expected = self._task.to_numpy(whole).astype(np.float64)
        room = _TOLERANCE * float(np.abs(expected).max(initial=1e-30))
        if float(np.abs(found[picked] - expected).max(initial=0.0)) > room:
            raise NotFollowed("a partial run differed from a whole one")
        if float(moved.max(initial=0.0)) > _SHOWS * room:
            known[key] = ""
