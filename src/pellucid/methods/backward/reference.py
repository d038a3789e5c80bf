"""What the operations of a reference run were given, to stand beside those of another run."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.protocol import Adapter, Intercept, Operation
from pellucid.methods.backward.pairs import Pulled
from pellucid.running.intercepted import OtherOperationsError
from pellucid.running.outputs import check_outputs, model_errors, single_output
from pellucid.types import Array, Leaves, Outputs

if TYPE_CHECKING:
    from pellucid.task import Task


@dataclass(frozen=True)
class Seen:
    """One operation of the reference run."""

    name: str
    path: str
    inputs: tuple[Array | None, ...]
    """None for what depends on no input, where it was not kept."""
    live: tuple[bool, ...]


Kept = tuple[tuple[int, str, str, tuple[bool, ...]], ...]
"""Index, name and path of operations, and which of their inputs are kept."""


class ReferenceRun:
    """The inputs of every operation of the kinds asked for, by index."""

    def __init__(self, stop_gradient: Callable[[Array], Array]) -> None:
        self._seen: dict[int, Seen] = {}
        self._pulled: dict[int, Pulled] = {}
        self._stop = stop_gradient

    @property
    def keeping(self) -> Intercept:
        """The interceptor of the reference run."""

        def keep(op: Operation) -> Array:
            inputs = tuple(
                self._stop(a) if live else a for a, live in zip(op.inputs, op.live, strict=True)
            )
            self._seen[op.index] = Seen(op.name, op.path, inputs, tuple(op.live))
            return op()

        return keep

    def live(self) -> tuple[list[Array], Kept]:
        """What depends on the inputs, in a row, and what it belongs to; for `of_live`."""
        kept = tuple((i, s.name, s.path, s.live) for i, s in self._seen.items())
        seen = self._seen.values()
        arrays = [a for s in seen for a, live in zip(s.inputs, s.live, strict=True) if live]
        return arrays, kept

    @classmethod
    def of_live(
        cls, stop_gradient: Callable[[Array], Array], arrays: Sequence[Array], kept: Kept
    ) -> "ReferenceRun":
        """A run again from its `live`."""
        found, given = cls(stop_gradient), iter(arrays)
        for index, name, path, live in kept:
            inputs = tuple(next(given) if is_live else None for is_live in live)
            found._seen[index] = Seen(name, path, inputs, live)
        return found

    def inputs(self, op: Operation) -> tuple[Array, ...]:
        """What the same operation was given in the reference run.

        Raises `OtherOperationsError`, a `CoverageError`, where the model took another way there.
        """
        seen = self._seen.get(op.index)
        if seen is None or not _is_same(op, seen):
            raise OtherOperationsError(
                f"The model does something else for the baseline than for the input: at operation"
                f" {op.index} ({op.name} in {op.path or 'the model'}) the two runs part.\n"
                "  DeepLIFT compares them step by step; integrated_gradients does not."
            )
        pairs = zip(op.inputs, seen.inputs, strict=True)
        return tuple(own if other is None else other for own, other in pairs)

    def once(self, op: Operation, find: Callable[[], Pulled], adapter: Adapter) -> Pulled:
        """What is found of an operation's reference alone, for all that is compared with it.

        Kept where it is numbers: what a trace finds is no use to another.
        """
        kept = self._pulled.get(op.index)
        if kept is None:
            kept = find()
            if all(op.live) and adapter.is_known(kept[0]):
                self._pulled[op.index] = kept
        return kept


def compiled_reference(
    task: "Task", leaves: Leaves, kinds: frozenset[str], form: Hashable
) -> tuple[Outputs, ReferenceRun] | None:
    """The outputs of a reference run and what it keeps, by one compiled function.

    None where it is to be run step by step.
    """
    if task.opened is not None:
        return None
    adapter, peel, rows = task.model.adapter, task.model.peel, np.arange(int(leaves[0].shape[0]))

    def work(leaves: Leaves) -> tuple[Any, Kept]:
        reference = ReferenceRun(adapter.stop_gradient)
        outputs = adapter.run(leaves, peel=peel, intercept=reference.keeping, kinds=kinds)
        arrays, kept = reference.live()
        return (single_output(outputs), arrays), kept

    with model_errors(task.model, leaves, adapter, rows, "reference inputs"):
        found = task.model.compiled(
            leaves, work, (leaves,), ("reference", form), forward=len(rows), backward=0
        )
    if found is None:
        return None
    (outputs, arrays), kept = found
    check_outputs(outputs, len(rows), adapter, rows)
    return outputs, ReferenceRun.of_live(adapter.stop_gradient, arrays, kept)


def _is_same(op: Operation, seen: Seen) -> bool:
    """Whether an operation of another run is this one, on inputs of the same shapes."""
    pairs = zip(op.inputs, seen.inputs, op.live, strict=False)
    return (
        (seen.name, seen.path) == (op.name, op.path)
        and len(op.inputs) == len(seen.inputs)
        and all(b is None or tuple(a.shape) == tuple(b.shape) for a, b, live in pairs if live)
    )
