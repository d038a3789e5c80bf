"""One run of a model on one sample, its operations kept so that parts of it can be run again."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter, Intercept, Operation
from pellucid.errors import CapabilityError
from pellucid.types import Array, Leaves, Outputs, is_array, shape_of


class NotFollowed(Exception):  # noqa: N818 - control flow of partial runs, never shown
    """Something of the model cannot be run in part; the message says what."""


@dataclass(frozen=True)
class Value:
    """An array of the run: its numbers, and the native type it had."""

    array: np.ndarray
    dtype: Any


@dataclass(frozen=True)
class Step:
    """An operation, and which values it read (None: it does not depend on the input) and made."""

    operation: Operation
    reads: tuple[int | None, ...]
    writes: tuple[int, ...]
    several: bool

    def again(self, inputs: tuple[Any, ...]) -> list[Array]:
        out = self.operation(inputs=inputs)
        return list(out) if self.several else [out]


@dataclass(frozen=True)
class Recording:
    """The values of a run, the model's inputs first, its steps, and which value it returned."""

    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    output: int


class _Recorder:
    """Knows every array by the object it is, or by its numbers where it was handed on as another.

    A model that works in place changes the numbers of an object, and a framework may return the
    same numbers as a new object: numbers decide.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self._by_object: dict[int, int] = {}
        self._by_numbers: dict[Any, int] = {}
        self._marks: list[Any] = []
        self._shapes: set[tuple[int, ...]] = set()
        self._held: list[Any] = []

    def add(self, array: Array) -> int:
        kept = np.array(self._adapter.to_numpy(array))
        number = len(self.values)
        self.values.append(Value(kept, array.dtype))
        self._marks.append(_mark(kept))
        self._shapes.add(kept.shape)
        self._by_object[id(array)] = self._by_numbers[self._marks[-1]] = number
        self._held.append(array)  # so that no other object gets its id
        return number

    def find(self, array: Any) -> int | None:
        if not is_array(array) or shape_of(array) not in self._shapes:
            return None
        number = self._by_object.get(id(array))
        mark = _mark(np.asarray(self._adapter.to_numpy(array)))
        if number is not None and self._marks[number] == mark:
            return number
        return self._by_numbers.get(mark)

    def intercept(self, operation: Operation) -> Any:
        if operation.kind == "layer":
            return operation()
        reads = tuple(map(self.find, operation.inputs))
        if any(alive and r is None for alive, r in zip(operation.live, reads, strict=False)):
            raise NotFollowed(f"what {operation.name} reads was made out of sight")
        out = operation()
        several = isinstance(out, list | tuple)
        made = list(out) if several else [out]
        if any(r is not None for r in reads):
            if not all(is_array(a) for a in made):
                raise NotFollowed(f"{operation.name} returns more than arrays")
            writes = tuple(map(self.add, made))
            self.steps.append(Step(operation, reads, writes, several))
        return out


def _mark(array: np.ndarray) -> tuple[Any, ...]:
    flat = np.ascontiguousarray(array)
    return flat.shape, flat.dtype.str, zlib.crc32(flat.reshape(-1).view(np.uint8).data)


def recorded(
    adapter: Adapter, run: Callable[[Leaves, Intercept], Outputs], leaves: Leaves
) -> Recording:
    """The recording of `run` on one row; raises `NotFollowed` where it cannot be made.

    `leaves` are new arrays of the caller's, which the model may be given as they are.
    """
    recorder = _Recorder(adapter)
    for leaf in leaves:
        recorder.add(leaf)
    try:
        outputs = run(leaves, recorder.intercept)
    except CapabilityError as error:
        raise NotFollowed(str(error).split("\n")[0]) from error
    if not is_array(outputs):
        raise NotFollowed("the model returns more than one array")
    output = recorder.find(outputs)
    if output is None:
        raise NotFollowed("the model's output was made out of sight")
    return Recording(tuple(recorder.values), tuple(recorder.steps), output)
