"""A model opened at one layer, and what is differentiated in it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence

from pellucid.types import Array, Outputs

Scores = Callable[[Outputs, tuple[Array, ...]], Sequence[Array]]
"""Of outputs, with what varies from call to call as arguments: one number a row each."""


class Cut(ABC):
    """A model opened at one layer: the part below has run once, the part above runs at will.

    `value` is the layer's (first) output for the inputs the cut was made with, `outputs` the
    model's outputs there. `run(value)` is differentiable in `value` and equals `outputs` for
    the cut's own value. With n inputs, `value` may have n·k rows (k variants of each sample,
    all of one sample's variants together), and `outputs` then has as many.
    """

    value: Array
    outputs: Outputs

    @abstractmethod
    def run(self, value: Array) -> Outputs: ...

    def gradient(
        self, scores: Scores, arguments: tuple[Array, ...], form: Hashable
    ) -> Array | None:
        """The gradient of the one of `scores(run(value), arguments)` at the cut's own value.

        Compiled, as `Adapter.compiled_gradients`; None where `vjp` of `run` has to do it.
        """
        return None

    @property
    def affine(self) -> bool:
        """Whether `run` is known to be an affine function, all else as it is; no promise if not.

        Known from the operations above the layer, never guessed from numbers.
        """
        return False
