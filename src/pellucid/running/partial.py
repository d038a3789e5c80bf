"""Incremental inference: of copies that differ from a sample in a box, only what the box reaches.

Every operation is computed where its input differs, and a halo of what it looks at besides; the
rest of the sample's own values is taken over. Where a box has grown to most of an array, and where
an operation looks everywhere, the whole array is computed, as an ordinary run would.
Source: Nakandala et al. 2019, "Incremental and approximate inference for faster occlusion-based
deep CNN explanations" (SIGMOD).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter
from pellucid.adapters.sliding import Sliding
from pellucid.running.boxes import Boxes, Mover, joined, looked_at, reached
from pellucid.running.reach import axes_after, close, cost_of, over_all, resized, space_of
from pellucid.running.recorded import NotFollowed, Recording, Step
from pellucid.types import Array, shape_of

_MOST = 0.7
"""From this share of an array on, all of it is computed."""


@dataclass(frozen=True)
class Planned:
    """How a step is done: `way` is "slide", "here" or "whole"; its result differs in `boxes`.

    `boxes=None` says that all of the result is computed.
    """

    step: Step
    way: str
    boxes: Boxes | None = None
    common: Boxes | None = None
    sliding: Sliding | None = None
    finished: tuple[int, ...] = ()


class Partial:
    """Runs copies of one sample that differ from it in boxes of one of its inputs.

    `starts (copies, axes)` and `size` say where, `leaf` of which input, whose spatial axes are
    `axes`. `cost` is about how many multiplications a forward pass has, `share` which part of them
    one copy takes, `largest` the bytes of its largest array. Raises `NotFollowed` where the model
    cannot be run in part at all.
    """

    def __init__(
        self,
        adapter: Adapter,
        recording: Recording,
        leaf: int,
        axes: tuple[int, ...],
        starts: np.ndarray,
        size: tuple[int, ...],
    ) -> None:
        self._adapter, self._recording = adapter, recording
        self._xp = adapter.xp
        self._mover = Mover(adapter.xp, adapter.asarray)
        self._clean: dict[tuple[int, tuple[int, ...]], Array] = {}
        self._leaf = leaf
        shape = recording.values[leaf].array.shape
        self._boxes: dict[int, Boxes | None] = {leaf: Boxes(shape, axes, starts, size)}
        self._steps: list[Planned] = []
        done = whole = 0.0
        for step in recording.steps:
            cost = cost_of(recording, step)
            whole += cost
            if not any(r in self._boxes for r in step.reads):
                continue
            planned = self._plan(step)
            self._steps.append(planned)
            self._boxes.update(dict.fromkeys(step.writes, planned.boxes))
            done += cost * (1.0 if planned.boxes is None else planned.boxes.share)
        if recording.output not in self._boxes:
            raise NotFollowed("the output does not depend on this input")
        self.cost, self.share = whole, done / max(whole, 1.0)
        self.largest = max(map(self._bytes, self._steps))
        self._forget()

    def _bytes(self, planned: Planned) -> int:
        """What a step makes of one copy takes in memory."""
        made = sum(self._recording.values[w].array.nbytes for w in planned.step.writes)
        return made if planned.boxes is None else int(made * planned.boxes.share)

    def _forget(self) -> None:
        """Note after which step no later one reads a value."""
        last: dict[int, int] = {}
        for at, planned in enumerate(self._steps):
            last.update((r, at) for r in planned.step.reads if r is not None)
            for w in planned.step.writes:
                last.setdefault(w, at)
        finished: list[list[int]] = [[] for _ in self._steps]
        for value, at in last.items():
            if value != self._recording.output:
                finished[at].append(value)
        self._steps = [
            replace(p, finished=tuple(f)) for p, f in zip(self._steps, finished, strict=True)
        ]

    def _plan(self, step: Step) -> Planned:
        changed = [r for r in step.reads if r in self._boxes]
        boxes = [self._boxes[r] for r in changed]  # type: ignore[index]
        known = [b for b in boxes if b is not None]
        if len(known) == len(boxes) and not step.several:
            for attempt in (self._as_sliding, self._as_local):
                planned = attempt(step, known)
                if planned is not None and planned.boxes is not None:
                    return planned if planned.boxes.share < _MOST else Planned(step, "whole")
        return Planned(step, "whole")

    def _as_sliding(self, step: Step, boxes: list[Boxes]) -> Planned | None:
        sliding = step.operation.sliding()
        if sliding is None or len(boxes) != 1:
            return None
        if self._boxes.get(step.reads[sliding.place], 0) is not boxes[0]:  # type: ignore[arg-type]
            return None
        sliding = over_all(sliding, boxes[0].axes)
        if sliding is None:
            return None
        shape = self._recording.values[step.writes[0]].array.shape
        return Planned(step, "slide", reached(boxes[0], sliding, shape), sliding=sliding)

    def _as_local(self, step: Step, boxes: list[Boxes]) -> Planned | None:
        """A step whose every output looks at its own place only, as seen on the sample itself."""
        values = self._recording.values
        made, first = values[step.writes[0]].array, boxes[0]
        if any(b.axes != first.axes or b.space != first.space for b in boxes):
            return None
        common = joined(boxes)
        for axes in axes_after(values[self._number(step, first)].array, made, first.axes):
            out = Boxes(made.shape, axes, common.starts, common.size)
            planned = Planned(step, "here", out, common)
            if self._holds(planned):
                return planned
        return None

    def _number(self, step: Step, boxes: Boxes) -> int:
        return next(r for r in step.reads if r is not None and self._boxes.get(r) is boxes)

    def _holds(self, planned: Planned) -> bool:
        """Whether the step gives on two parts of the sample what it gave there on all of it."""
        assert planned.common is not None
        assert planned.boxes is not None
        ends = np.array([planned.common.space]) - np.array(planned.common.size)
        starts = np.concatenate([np.zeros_like(ends), ends])
        common = replace(planned.common, starts=starts)
        try:
            (out,) = planned.step.again(self._inputs_here(planned.step, common, {}, len(starts)))
            found = self._adapter.to_numpy(out)
        except NotFollowed:
            return False
        except Exception:
            # Whatever it does not like about a part of its input: it is then given all of it.
            return False
        wanted = self._windows(planned.step.writes[0], replace(planned.boxes, starts=starts), None)
        return close(found, self._adapter.to_numpy(wanted))

    def _windows(self, value: int, boxes: Boxes, changed: Array | None, **where: Any) -> Array:
        clean = self._native(value, boxes.axes)
        return self._mover.windows(
            clean, boxes, changed, **({"starts": boxes.starts, "size": boxes.size} | where)
        )

    def _native(self, value: int, axes: tuple[int, ...]) -> Array:
        key = value, axes
        if key not in self._clean:
            known = self._recording.values[value]
            self._clean[key] = self._mover.native(known.array, axes, known.dtype)
        return self._clean[key]

    def _inputs_here(
        self, step: Step, common: Boxes, found: dict[int, Array], copies: int, numbers: Any = None
    ) -> tuple[Any, ...]:
        """The step's inputs at some boxes of the space they share."""
        inputs = []
        for read, given in zip(step.reads, step.operation.inputs, strict=True):
            if read is None:
                inputs.append(self._constant_here(given, common))
                continue
            own = self._boxes.get(read)
            if own is not None and numbers is not None:
                own = own.rows(numbers)
            if read in found and own is not None:
                same = own.size == common.size and np.array_equal(own.starts, common.starts)
                where = {"starts": common.starts, "size": common.size}
                inputs.append(found[read] if same else self._windows(
                    read, own, found[read], **where
                ))  # fmt: skip
                continue
            shape = self._recording.values[read].array.shape
            if space_of(shape, common.axes) != common.space:
                raise NotFollowed("inputs of another space")
            inputs.append(self._windows(read, replace(common, shape=shape), None))
        return tuple(inputs)

    def _constant_here(self, given: Any, common: Boxes) -> Any:
        """An input that no copy changes, where it has places of its own at those."""
        shape = shape_of(given)
        if len(shape) != len(common.shape) or shape[0] != 1:
            return given
        if space_of(shape, common.axes) != common.space or max(common.space) == 1:
            return given
        array = np.asarray(self._adapter.to_numpy(given))
        clean = self._mover.native(array, common.axes, given.dtype)
        boxes = replace(common, shape=shape)
        return self._mover.windows(clean, boxes, None, boxes.starts, boxes.size)

    def run(self, numbers: np.ndarray, changed: Array) -> Array:
        """The outputs of the copies `numbers`, whose boxes hold `changed (copies, ...)`."""
        found: dict[int, Array] = {self._leaf: changed}
        for planned in self._steps:
            made = self._performed(planned, numbers, found)
            shapes = [self._recording.values[w].array.shape for w in planned.step.writes]
            for number, shape, array in zip(planned.step.writes, shapes, made, strict=True):
                if planned.boxes is not None:
                    shape = resized(shape, planned.boxes.axes, planned.boxes.size)
                if tuple(array.shape) != (len(numbers), *shape[1:]):
                    raise NotFollowed(f"{planned.step.operation.name} depends on the batch")
                found[number] = array
            for number in planned.finished:
                found.pop(number, None)
        return found[self._recording.output]

    def _performed(
        self, planned: Planned, numbers: np.ndarray, found: dict[int, Array]
    ) -> list[Array]:
        step = planned.step
        if planned.way == "here":
            assert planned.common is not None
            common = planned.common.rows(numbers)
            return step.again(self._inputs_here(step, common, found, len(numbers), numbers))
        if planned.way == "slide":
            assert planned.sliding is not None
            assert planned.boxes is not None
            sliding, read = planned.sliding, step.reads[planned.sliding.place]
            assert read is not None
            own = self._boxes[read]
            assert own is not None
            starts, size = looked_at(planned.boxes.rows(numbers), sliding)
            part = self._windows(
                read, own.rows(numbers), found[read], starts=starts, size=size, fill=sliding.fill
            )
            return [sliding.apply(part)]
        return self._all_of(step, numbers, found)

    def _all_of(self, step: Step, numbers: np.ndarray, found: dict[int, Array]) -> list[Array]:
        """An ordinary run of the step on all of its inputs."""
        inputs, copies = [], len(numbers)
        rank = max(len(self._recording.values[r].array.shape) for r in step.reads if r is not None)
        for read, given in zip(step.reads, step.operation.inputs, strict=True):
            boxes = self._boxes.get(read) if read is not None else None
            if read is not None and read in found:
                given = found[read]
                if boxes is not None:
                    where = {"starts": np.zeros_like(boxes.starts[numbers]), "size": boxes.space}
                    given = self._windows(read, boxes.rows(numbers), given, **where)
            elif read is not None:
                known = self._recording.values[read]
                own = self._adapter.asarray(known.array)
                given = own if own.dtype == known.dtype else self._xp.astype(own, known.dtype)
                given = self._for_each(given, copies, rank)
            elif not any(given is w for w in step.operation.weights.values()):
                given = self._for_each(given, copies, rank)
            inputs.append(given)
        try:
            made = step.again(tuple(inputs))
        except Exception:
            # Its arguments may be right for one row only: then it has to be what a reshape is.
            return self._reshaped(step, copies, inputs)
        shapes = [self._recording.values[w].array.shape for w in step.writes]
        if any(tuple(m.shape) != (copies, *s[1:]) for m, s in zip(made, shapes, strict=True)):
            return self._reshaped(step, copies, inputs)
        return made

    def _for_each(self, given: Any, copies: int, rank: int) -> Any:
        """An input that is the same for all copies, one row for each where it has rows."""
        shape = shape_of(given)
        if len(shape) != rank or shape[0] != 1:
            return given
        return self._xp.broadcast_to(given, (copies, *shape[1:]))

    def _reshaped(self, step: Step, copies: int, inputs: list[Any]) -> list[Array]:
        """What the step makes of every copy, if of the sample it made the same numbers in a row."""
        reads = [(r, a) for r, a in zip(step.reads, inputs, strict=True) if r is not None]
        made = self._recording.values[step.writes[0]].array
        if len(reads) == 1 and len(step.writes) == 1 and made.shape[:1] == (1,):
            before = self._recording.values[reads[0][0]].array
            if before.shape[:1] == (1,) and np.array_equal(before.ravel(), made.ravel()):
                return [self._xp.reshape(reads[0][1], (copies, *made.shape[1:]))]
        raise NotFollowed(f"{step.operation.name} depends on the number of rows")
