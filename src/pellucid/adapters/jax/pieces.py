"""A program cut at events into compiled pieces, between which values may be changed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import jax

from pellucid.adapters.jax.program import Program, Step, Value, evaluate

T = TypeVar("T")

_FEW = 16
"""Steps that are not worth a compilation of their own."""


class Bounded(Generic[T]):
    """The last few things made, by key; safe to use from several threads."""

    def __init__(self, size: int) -> None:
        self._size, self._kept = size, OrderedDict[Any, T]()
        self._lock = threading.RLock()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            kept = self._kept.setdefault(key, made)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
            return kept

    def kept(self) -> list[Any]:
        """What is kept, the latest last."""
        with self._lock:
            return list(self._kept)


@dataclass(frozen=True)
class Event:
    """Where a run stops: before `position`, knowing `reads`; what it decides are `writes`.

    The steps at `positions` are the event's own, and no piece performs them.
    """

    position: int
    positions: frozenset[int]
    reads: tuple[int, ...]
    writes: tuple[int, ...]


class Piece:
    """A few steps compiled as one function of the values they take from outside."""

    def __init__(self, steps: Sequence[Step], made: Sequence[int]) -> None:
        own = {v for step in steps for v in step.outputs}
        self.given = tuple(dict.fromkeys(v for s in steps for v in s.reads if v not in own))
        self.made = tuple(made)
        self.steps = tuple(steps)
        self._passed = self._passed_on()
        self._function = jax.jit(self._evaluate)

    def _evaluate(self, given: Sequence[Any]) -> list[Any]:
        known = dict(zip(self.given, given, strict=True))
        evaluate(self.steps, known)
        return [known[v] for v in self.made]

    def _passed_on(self) -> dict[int, int]:
        """Values that leave as they came, through the exits of layers: the same arrays then."""
        origin: dict[int, int] = {v: v for v in self.given}
        for step in self.steps:
            if step.primitive is None and step.reads and step.reads[0] in origin:
                origin[step.outputs[0]] = origin[step.reads[0]]
        return {v: origin[v] for v in self.made if v in origin}

    def run(self, known: Mapping[int, Any], *, compiled: bool = True) -> dict[int, Any]:
        """What the piece makes, by number; a few steps are done one by one if not `compiled`."""
        if not self.steps:
            return {}
        passed = {v: known[given] for v, given in self._passed.items()}
        if len(passed) == len(self.made):
            return passed
        function = self._function if compiled or len(self.steps) > _FEW else self._evaluate
        results = function([known[v] for v in self.given])
        return {**dict(zip(self.made, results, strict=True)), **passed}


class Chain:
    """The pieces of a program between events, computing no more than `wanted` and the events need.

    `pieces[k]` runs before event k, the last one after all. An event whose writes nobody needs
    still happens.
    """

    def __init__(self, program: Program, events: Sequence[Event], wanted: Iterable[Value]) -> None:
        self.events = tuple(sorted(events, key=lambda e: e.position))
        self.wanted = tuple(wanted)
        outside = {v for v in self.wanted if isinstance(v, int)}
        steps = _needed(program, self.events, outside)
        self.pieces: list[Piece] = []
        borders = [*(e.position for e in self.events), len(program.steps)]
        later = [outside | {v for e in self.events for v in e.reads}]
        groups: list[list[Step]] = []
        start = 0
        for border in borders:
            groups.append([program.steps[i] for i in range(start, border) if i in steps])
            start = border
        for group in reversed(groups[1:]):
            later.append(later[-1] | {v for step in group for v in step.reads})
        for group, read_later in zip(groups, reversed(later), strict=True):
            made = [v for step in group for v in step.outputs if v in read_later]
            self.pieces.append(Piece(group, made))

    def results(self, known: Mapping[int, Any]) -> list[Any]:
        """The wanted values, once all pieces have run."""
        return [known[v] if isinstance(v, int) else v.val for v in self.wanted]


def _needed(program: Program, events: Sequence[Event], wanted: Iterable[int]) -> set[int]:
    """Positions of the steps to perform."""
    given = {v for event in events for v in event.writes}
    own = {i for event in events for i in event.positions}
    found: set[int] = set()
    todo = [v for v in (*wanted, *(r for e in events for r in e.reads)) if v not in given]
    while todo:
        position = program.producer.get(todo.pop())
        if position is None or position in found or position in own:
            continue
        found.add(position)
        todo += [v for v in program.steps[position].reads if v not in given]
    return found
