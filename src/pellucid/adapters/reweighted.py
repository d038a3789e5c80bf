"""A model with other weights, for as long as it is asked: the user's own keeps its own."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from pellucid.adapters.derived import patch, record
from pellucid.adapters.protocol import (
    Adapter,
    Cut,
    InputSpec,
    Intercept,
    LayerInfo,
    OperationInfo,
)
from pellucid.types import Array, Leaves, Outputs


class PatchedCut(Cut):
    """A cut that runs the model from the inputs each time, with the layer's output replaced."""

    def __init__(self, adapter: Adapter, x: Leaves, layer: str, peel: bool) -> None:
        self._adapter, self._x, self._peel = adapter, x, peel
        self.outputs, found = record(adapter, x, [layer], peel=peel)
        ((self._path, self.value),) = found.items()

    def run(self, value: Array) -> Outputs:
        variants = value.shape[0] // self.value.shape[0]
        xp = self._adapter.xp
        x = self._x if variants == 1 else tuple(xp.repeat(a, variants, axis=0) for a in self._x)
        return patch(self._adapter, x, {self._path: value}, peel=self._peel)


class ReweightedAdapter(Adapter):
    """`inner`, run with `replaced` in place of its weights of those names.

    Gradients follow, for they go through `run`; cut at a layer, it runs whole each time.
    """

    def __init__(self, inner: Adapter, replaced: Mapping[str, Array]) -> None:
        self.inner = inner
        self.replaced = dict(replaced)
        self.framework, self.xp = inner.framework, inner.xp
        self.channel_axis, self.supports = inner.channel_axis, inner.supports
        self.class_names, self.feature_names = inner.class_names, inner.feature_names

    def for_one_explanation(self) -> "ReweightedAdapter":
        other = copy(self)
        other.inner = self.inner.for_one_explanation()
        return other

    @property
    def device(self) -> str:
        return self.inner.device

    @property
    def backend(self) -> str:
        return self.inner.backend

    @property
    def outputs_first(self) -> bool:  # type: ignore[override]
        return self.inner.outputs_first

    def channel_axis_of(self, rank: int) -> int:
        return self.inner.channel_axis_of(rank)

    @property
    def layouts(self) -> tuple[str, ...]:
        return self.inner.layouts

    def arranged(self, leaves: Leaves, layout: str) -> Leaves:
        return self.inner.arranged(leaves, layout)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.inner.notes, "the model was run with other weights than its own")

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self.inner.inputs

    def accept(self, x: Any) -> Leaves:
        return self.inner.accept(x)

    def restore(self, leaves: Sequence[Any]) -> Any:
        return self.inner.restore(leaves)

    def as_given(self, leaves: Sequence[Any]) -> Any:
        return self.inner.as_given(leaves)

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        return self.inner.final_activation(x)

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        return self.inner.layers(x)

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        return self.inner.operations(x)

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
        return self.inner.run(
            x, peel=peel, intercept=intercept, layers=layers, kinds=kinds,
            weights={**self.replaced, **(weights or {})},
        )  # fmt: skip

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        return self.inner.vjp(fn, x)

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        return PatchedCut(self, x, layer, peel)

    def stop_gradient(self, a: Array) -> Array:
        return self.inner.stop_gradient(a)

    def custom_vjp(
        self, fn: Callable[..., Array], backward: Callable[..., Any]
    ) -> Callable[..., Array]:
        return self.inner.custom_vjp(fn, backward)

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        known = self.inner.weights(select)
        return {name: self.replaced.get(name, value) for name, value in known.items()}

    def asarray(self, a: np.ndarray) -> Array:
        return self.inner.asarray(a)

    def to_numpy(self, a: Array) -> np.ndarray:
        return self.inner.to_numpy(a)

    def fingerprint(self) -> str:
        return f"{self.inner.fingerprint()}, other weights"

    def is_out_of_memory(self, error: BaseException) -> bool:
        return self.inner.is_out_of_memory(error)
