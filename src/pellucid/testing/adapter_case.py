"""What the laws of adapters are tried on: an adapter, a user's batch, and its outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter, Tier
from pellucid.running.outputs import single_output
from pellucid.testing.laws import Skipped
from pellucid.types import Array, Leaves, Outputs

NAMES = {
    Tier.CALLABLE: "callable",
    Tier.DIFFERENTIABLE: "differentiable",
    Tier.TRANSPARENT: "transparent",
    Tier.TRAINABLE: "trainable",
}


@dataclass
class AdapterCase:
    """`call(x)`, `state()` and `change_weights()` are the user's own ways to the model."""

    adapter: Adapter
    x: Any
    call: Callable[[Any], Any] | None
    state: Callable[[], Any] | None
    change_weights: Callable[[], Any] | None
    before: Any = field(default=None)

    @cached_property
    def leaves(self) -> Leaves:
        return self.adapter.accept(self.x)

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array(self.adapter.to_numpy(leaf)) for leaf in self.leaves)

    @property
    def rows(self) -> int:
        return int(self.arrays[0].shape[0])

    @property
    def floats(self) -> list[int]:
        """The numbers of the leaves that a gradient means something for."""
        return [i for i, a in enumerate(self.arrays) if a.dtype.kind == "f"]

    def needs(self, tier: Tier) -> None:
        """Skip a law that is about a higher tier than the adapter claims."""
        if self.adapter.supports < tier:
            raise Skipped(
                f"the adapter is {NAMES[self.adapter.supports]}, the law about {NAMES[tier]} ones"
            )

    def run(self, leaves: Leaves | None = None, **options: Any) -> list[np.ndarray]:
        """The outputs of a run in NumPy."""
        given = self.leaves if leaves is None else leaves
        return self.numpy(self.adapter.run(given, **options))

    def numpy(self, outputs: Outputs) -> list[np.ndarray]:
        """The arrays of some outputs, in NumPy, copied."""
        return [np.array(self.adapter.to_numpy(a)) for a in arrays_in(outputs)]

    def native(self, arrays: tuple[np.ndarray, ...] | list[np.ndarray]) -> Leaves:
        """NumPy arrays as leaves, in the types of the batch's own."""
        pairs = zip(arrays, self.leaves, strict=True)
        xp, given = self.adapter.xp, []
        for a, leaf in pairs:
            made = self.adapter.asarray(np.ascontiguousarray(a))
            given.append(made if made.dtype == leaf.dtype else xp.astype(made, leaf.dtype))
        return tuple(given)

    def score(self, outputs: Outputs) -> Array:
        """One number a row: the outputs of the first array weighted unlike each other."""
        first = next(iter(arrays_in(single_output(outputs))))
        xp = self.adapter.xp
        flat = xp.reshape(first, (int(first.shape[0]), -1))
        weights = np.cos(np.arange(int(flat.shape[1]))).astype(np.float32) + 0.5
        native = xp.astype(self.adapter.asarray(weights[None]), flat.dtype)
        return xp.sum(flat * native, axis=1)

    def gradient(self, leaves: Leaves | None = None) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The score of each row and its gradient, in NumPy."""
        value, _, pullback = self.adapter.vjp(
            lambda given: (self.score(self.adapter.run(given)), None),
            self.leaves if leaves is None else leaves,
        )
        gradients = pullback(self.adapter.xp.ones_like(value))
        to_numpy = self.adapter.to_numpy
        return np.array(to_numpy(value)), tuple(np.array(to_numpy(g)) for g in gradients)

    @cached_property
    def layers(self) -> list[str]:
        """Calls of layers whose (first) output is real numbers, one row a sample; at most six."""
        from pellucid.adapters.derived import record

        infos = self.adapter.layers(self.leaves)
        spread = np.unique(np.linspace(0, len(infos) - 1, min(6, len(infos))).astype(int))
        paths = [infos[i].path for i in spread]
        values = record(self.adapter, self.leaves, paths)[1] if paths else {}
        kept = []
        for path in paths:
            value = self.adapter.to_numpy(values[path])
            if value.dtype.kind == "f" and value.shape[:1] == (self.rows,):
                kept.append(path)
        if not kept:
            raise Skipped("no layer of this model returns one row of real numbers a sample")
        return kept


def arrays_in(outputs: Outputs) -> list[Array]:
    """The arrays of an output, in order."""
    if isinstance(outputs, Mapping):
        return [a for value in outputs.values() for a in arrays_in(value)]
    if isinstance(outputs, tuple | list):
        return [a for value in outputs for a in arrays_in(value)]
    return [outputs]
