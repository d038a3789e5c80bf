"""What the operations of a reference run were given, to stand beside those of another run."""

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.adapters.protocol import Intercept, Operation
from pellucid.running.intercepted import OtherOperationsError
from pellucid.types import Array


@dataclass(frozen=True)
class Seen:
    """One operation of the reference run."""

    name: str
    path: str
    inputs: tuple[Array, ...]


class ReferenceRun:
    """The inputs of every operation of the kinds asked for, by index."""

    def __init__(self, stop_gradient: Callable[[Array], Array]) -> None:
        self._seen: dict[int, Seen] = {}
        self._stop = stop_gradient

    @property
    def keeping(self) -> Intercept:
        """The interceptor of the reference run."""

        def keep(op: Operation) -> Array:
            inputs = tuple(
                self._stop(a) if live else a for a, live in zip(op.inputs, op.live, strict=True)
            )
            self._seen[op.index] = Seen(op.name, op.path, inputs)
            return op()

        return keep

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
        return seen.inputs


def _is_same(op: Operation, seen: Seen) -> bool:
    """Whether an operation of another run is this one, on inputs of the same shapes."""
    pairs = zip(op.inputs, seen.inputs, op.live, strict=False)
    return (
        (seen.name, seen.path) == (op.name, op.path)
        and len(op.inputs) == len(seen.inputs)
        and all(tuple(a.shape) == tuple(b.shape) for a, b, live in pairs if live)
    )
