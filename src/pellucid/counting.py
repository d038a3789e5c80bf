"""Counting evaluations where the model is called, so that no method has to be believed."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from pellucid.adapters.protocol import Adapter, Cut, Intercept, LayerInfo, OperationInfo, Scores
from pellucid.types import Array, Evaluations, Leaves, Outputs


class CountedModel:
    """An adapter's running verbs for one explanation, each row of input counted.

    `peel` is fixed for the whole explanation, so that every method explains the same number.
    """

    def __init__(self, adapter: Adapter, *, peel: bool) -> None:
        self.adapter = adapter
        self.peel = peel
        self._forward = self._backward = self._suffix = 0

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(self._forward, self._backward, self._suffix)

    def run(
        self,
        x: Leaves,
        *,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        self._forward += int(x[0].shape[0])
        return self.adapter.run(
            x, peel=self.peel, intercept=intercept, layers=layers, kinds=kinds, weights=weights
        )

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        value, aux, pullback = self.adapter.vjp(fn, x)
        rows = int(x[0].shape[0])

        def counted(cotangent: Array) -> Leaves:
            self._backward += rows
            return pullback(cotangent)

        return value, aux, counted

    def compiled_gradients(
        self,
        x: Leaves,
        scores: Scores,
        form: Hashable,
    ) -> Callable[[Leaves, tuple[Array, ...]], tuple[Leaves, ...]] | None:
        """The adapter's compiled gradients, each row counted once forward and once a score back."""
        compiled = self.adapter.compiled_gradients(x, scores, form, peel=self.peel)
        if compiled is None:
            return None

        def counted(leaves: Leaves, arguments: tuple[Array, ...]) -> tuple[Leaves, ...]:
            rows = int(leaves[0].shape[0])
            self._forward += rows
            found = compiled(leaves, arguments)
            self._backward += rows * len(found)
            return found

        return counted

    def cut(self, x: Leaves, layer: str) -> "CountedCut":
        self._forward += int(x[0].shape[0])
        return CountedCut(self.adapter.cut(x, layer, peel=self.peel), self.count_part)

    def layers(self, x: Leaves) -> tuple[LayerInfo, ...]:
        """The calls of layers in one run on `x`, which counts."""
        self._forward += int(x[0].shape[0])
        return self.adapter.layers(x)

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        """The operations of one run on `x`, which counts."""
        self._forward += int(x[0].shape[0])
        return self.adapter.operations(x)

    def count_part(self, rows: int, backward: int = 0) -> None:
        """Count rows of which only a part was run, by operations that were recorded here."""
        self._suffix += rows
        self._backward += backward


class CountedCut:
    """A cut whose runs of the upper part are counted."""

    def __init__(self, cut: Cut, count: Callable[..., None]) -> None:
        self._cut, self._count = cut, count
        self.value, self.outputs = cut.value, cut.outputs

    @property
    def affine(self) -> bool:
        """See `Cut.affine`."""
        return self._cut.affine

    def run(self, value: Array) -> Outputs:
        self._count(int(value.shape[0]))
        return self._cut.run(value)

    def gradient(
        self, scores: Scores, arguments: tuple[Array, ...], form: Hashable
    ) -> Array | None:
        """See `Cut.gradient`; counted as a run and a backward pass."""
        found = self._cut.gradient(scores, arguments, form)
        if found is not None:
            rows = int(self.value.shape[0])
            self._count(rows, rows)
        return found
