"""A traced model opened at one layer: the part below has run, the part above runs at will."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from pellucid.adapters.jax.affine import is_affine
from pellucid.adapters.jax.pieces import Chain
from pellucid.adapters.jax.program import Program
from pellucid.adapters.jax.reading import Reading, exit_event
from pellucid.adapters.protocol import Cut
from pellucid.errors import InputError
from pellucid.types import Array, Leaves, Outputs


class TracedCut(Cut):
    """Below: one piece that has run. Above: one piece from the value and what crosses the cut.

    For k variants of each sample the part above is traced for k times the rows. `again(rows)`
    is the reading, program and chain for as many rows; `arrays` are the weights.
    """

    def __init__(
        self,
        layer: str,
        leaves: Leaves,
        arrays: tuple[Any, ...],
        again: Callable[[Leaves], tuple[Reading, Program]],
    ) -> None:
        self._layer, self._leaves, self._arrays, self._again = layer, leaves, arrays, again
        self._opened = self._open(leaves)
        reading, _, chain, known = self._opened
        known.update(chain.pieces[0].run(known))
        self.value = known[chain.events[0].reads[0]]
        self.outputs = self._above(reading, chain, known, self.value)
        self._for: dict[int, tuple[Reading, Chain, dict[int, Any]]] = {}

    def _open(self, leaves: Leaves) -> tuple[Reading, Program, Chain, dict[int, Any]]:
        reading, program = self._again(leaves)
        chain = reading.chain(program, (exit_event(program.mark_named[self._layer]),))
        return reading, program, chain, reading.known(program, self._arrays, leaves)

    @staticmethod
    def _above(reading: Reading, chain: Chain, known: dict[int, Any], value: Array) -> Outputs:
        now = {**known, chain.events[0].writes[0]: value}
        now.update(chain.pieces[1].run(now))
        return reading.nest(chain.results(now))

    @property
    def affine(self) -> bool:
        _, program, chain, _ = self._opened
        (start,) = chain.events[0].writes
        return is_affine(program, chain.pieces[1].steps, start, chain.wanted)

    def run(self, value: Array) -> Outputs:
        variants = self._variants(value)
        value = jnp.asarray(value, self.value.dtype)
        if variants == 1:
            reading, _, chain, known = self._opened
            return self._above(reading, chain, known, value)
        if variants not in self._for:
            self._for = {variants: self._wider(variants)}
        reading, chain, known = self._for[variants]
        return self._above(reading, chain, known, value)

    def _variants(self, value: Array) -> int:
        rows, before = int(value.shape[0]), int(self.value.shape[0])
        if tuple(value.shape[1:]) != tuple(self.value.shape[1:]) or rows % max(before, 1):
            raise InputError(
                f"The layer's value has shape {tuple(self.value.shape)}; what replaces it must"
                f" have the same, or k times as many rows. {tuple(value.shape)} came."
            )
        return rows // max(before, 1)

    def _wider(self, variants: int) -> tuple[Reading, Chain, dict[int, Any]]:
        """The part above for k times the rows, and what crosses the cut there."""
        repeated = tuple(jnp.repeat(a, variants, axis=0) for a in self._leaves)
        _, narrow, chain, known = self._opened
        reading, program, wider, there = self._open(repeated)
        needed = wider.pieces[1].given
        if _alike(narrow, program) and chain.pieces[1].given == needed:
            rows = int(self._leaves[0].shape[0])
            found = {}
            for v in needed:
                if v in there or v in wider.events[0].writes:
                    continue
                found[v] = _repeated(known[v], program.avals[v].shape, rows, variants)
            if all(a is not None for a in found.values()):
                return reading, wider, {**there, **found}
        # How what crosses relates to the samples is not plain: it is computed for all variants.
        there.update(wider.pieces[0].run(there))
        return reading, wider, there


def _alike(one: Program, other: Program) -> bool:
    """Whether two traces of a model took the same steps, so that numbers mean the same."""
    return len(one.steps) == len(other.steps) and all(
        a.name == b.name and a.outputs == b.outputs
        for a, b in zip(one.steps, other.steps, strict=True)
    )


def _repeated(a: Any, shape: tuple[int, ...], rows: int, variants: int) -> Any:
    """A crosser with each sample's part repeated; None where the samples' axis is not plain."""
    before = tuple(a.shape)
    if before == tuple(shape):
        return a
    if len(before) != len(shape):
        return None
    axes = [i for i, (m, n) in enumerate(zip(before, shape, strict=True)) if m != n]
    if len(axes) != 1 or before[axes[0]] != rows or shape[axes[0]] != rows * variants:
        return None
    return jnp.repeat(a, variants, axis=axes[0])
