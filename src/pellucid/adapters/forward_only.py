"""Models that can be run and nothing else: what all their adapters say in the same way."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.adapters.protocol import (
    Adapter,
    Cut,
    InputSpec,
    Intercept,
    LayerInfo,
    OperationInfo,
    Tier,
)
from pellucid.errors import CapabilityError
from pellucid.inputs.frames import Frame, is_frame
from pellucid.types import Array, Leaves, Outputs


class ForwardOnlyAdapter(Adapter):
    """NumPy in, NumPy out, no gradients and no layers.

    A framework says how inputs come in (`accept`, `restore`), how the model is run (`forward`),
    which model it is (`fingerprint`), and in its `refusal` what to do instead.
    """

    xp = np
    channel_axis = -1
    supports = Tier.CALLABLE
    refusal: str
    """The sentence for what it cannot do, with `{what}` in it, and what works."""
    _frame: Frame | None = None
    """The data frame that `accept` was given last, if it was one."""

    @abstractmethod
    def forward(self, x: Leaves, *, peel: bool) -> Outputs:
        """The outputs, with the final softmax or sigmoid taken off if `peel`."""

    def run(
        self,
        x: Leaves,
        *,
        peel: bool = True,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        if intercept is not None or weights:
            raise self.cannot("intercept operations")
        return self.forward(x, peel=peel)

    @property
    def columns(self) -> tuple[str, ...] | None:
        return None if self._frame is None else tuple(map(str, self._frame.names))

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...] | None:
        return None if self._frame is None else self._frame.categories

    def accept_more(self, x: Any) -> Leaves:
        if self._frame is None:
            return super().accept_more(x)
        return (self._frame.encode(x if is_frame(x) else self._frame.named(x)),)

    def as_given(self, leaves: Sequence[Any]) -> Any:
        if self._frame is None:
            return super().as_given(leaves)
        return self._frame.decode(np.asarray(leaves[0]))

    def accept_row(self, row: Mapping[str, Any]) -> np.ndarray:
        return super().accept_row(row) if self._frame is None else self._frame.encode_row(row)

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return None

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        return ()

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        raise self.cannot("list operations")

    def vjp(self, fn: Any, x: Leaves) -> Any:
        raise self.cannot("give gradients")

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        raise self.cannot("be cut at a layer")

    def stop_gradient(self, a: Array) -> Array:
        return a

    def custom_vjp(self, fn: Any, backward: Any) -> Any:
        raise self.cannot("give gradients")

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        raise self.cannot("show its weights")

    def asarray(self, a: np.ndarray) -> Array:
        return a

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a)

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def cannot(self, what: str) -> CapabilityError:
        return CapabilityError(self.refusal.format(what=what))
