"""Sums told apart into what raises and what lowers them, and values that are functions of one."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pellucid.adapters.protocol import Adapter, Operation
from pellucid.methods.backward.pairs import Pairs
from pellucid.methods.backward.parts import at
from pellucid.methods.backward.weighted import Weighted
from pellucid.types import Array


class Parts(NamedTuple):
    """Δx⁺ and Δx⁻ of a value: differentiable, and together its difference from the reference."""

    up: Array
    down: Array


class Sum:
    """A sum: its value and reference, without derivatives, and its parts, found when asked for."""

    def __init__(
        self, now: Array, base: Callable[[], Array], parts: Callable[[], tuple[Array, Array]]
    ) -> None:
        self.now, self._base, self._parts = now, base, parts

    @functools.cached_property
    def base(self) -> Array:
        return self._base()

    @functools.cached_property
    def parts(self) -> Parts:
        return Parts(*self._parts())


class Split:
    """A value as a function of a sum, number by number. `bent`: other than by a line."""

    def __init__(
        self, of: Sum, function: Callable[[Array], Array], bent: bool, *, kinked: bool
    ) -> None:
        self.sum, self.function, self.bent, self._kinked = of, function, bent, kinked

    @classmethod
    def of(cls, given: Sum) -> "Split":
        """The sum itself."""
        return cls(given, lambda x: x, False, kinked=True)

    @functools.cached_property
    def keeps_shape(self) -> bool:
        """Whether it has a number for each of the sum."""
        return tuple(self.function(self.sum.now).shape) == tuple(self.sum.now.shape)

    def revealed(self, pairs: Pairs, *, kinked: bool) -> Array:
        """The value with RevealCancel's derivative with respect to the parts of the sum.

        Δy⁺/Δx⁺ is the mean of the slopes from x′ to x′ + Δx⁺ and from x′ + Δx⁻ to x, and Δy⁻/Δx⁻
        likewise (Shrikumar et al. 2017, section 3.5.2).
        """
        base, now, stop = self.sum.base, self.sum.now, pairs.stop
        up, down = self.sum.parts
        above, below = base + stop(up), base + stop(down)
        kinked = kinked and self._kinked

        def slope(end: Array, start: Array) -> Array:
            return pairs.slope(self.function, end, start, kinked=kinked)

        rising = 0.5 * (slope(above, base) + slope(now, below))
        falling = 0.5 * (slope(below, base) + slope(now, above))
        return pairs.keep(self.function(now), up * rising + down * falling)


class Sums:
    """How sums are told apart, in the arithmetic of one framework."""

    def __init__(self, adapter: Adapter) -> None:
        self.xp, self._stop = adapter.xp, adapter.stop_gradient

    def late(
        self, made: Array, base: Callable[[], Array], parts: Callable[[], tuple[Array, Array]]
    ) -> Sum:
        return Sum(self._stop(made), base, parts)

    def weighted(self, op: Operation, before: tuple[Any, ...], made: Array) -> Split:
        """Σ w_i Δx_i by the signs of w_i Δx_i; half to each where Δx_i is 0 (section 3.5.1)."""

        def parts() -> tuple[Array, Array]:
            f, xp = Weighted(op, 'rule="rescale" needs none.'), self.xp
            zero = xp.zeros_like(f.weight)
            raising, lowering = xp.maximum(f.weight, zero), xp.minimum(f.weight, zero)
            up, down = self._signed(f.x - before[op.live.index(True)])
            return f(up, raising) + f(down, lowering), f(up, lowering) + f(down, raising)

        return Split.of(self.late(made, lambda: op(inputs=before), parts))

    def parts(self, split: Split | None, now: Array, before: Array) -> Callable[[], Parts]:
        """Those of a value: of the sum that it is, else by the sign of its difference."""

        def found() -> Parts:
            if split is None or split.bent:
                return Parts(*self._signed(now - before))
            base = split.sum.base
            start = split.function(base)
            each = [split.function(base + part) - start for part in split.sum.parts]
            return Parts(*self.by_sign(each))

        return found

    def by_sign(self, each: Sequence[Array]) -> tuple[Array, Array]:
        """The sum of what is above zero, and that of what is below."""
        signed = [self._signed(part) for part in each]
        return sum_of([up for up, _ in signed]), sum_of([down for _, down in signed])

    def without_offset(self, op: Operation, places: Sequence[int]) -> Callable[..., Any]:
        """A linear operation less what it makes of zeros."""
        whole = at(op, places)
        nothing = whole(*(self.xp.zeros_like(op.inputs[i]) for i in places))

        def function(*arrays: Array) -> Any:
            made = whole(*arrays)
            if isinstance(made, list | tuple):
                return [m - n for m, n in zip(made, nothing, strict=True)]
            return made - nothing

        return function

    def _signed(self, change: Array) -> tuple[Array, Array]:
        xp, fixed = self.xp, self._stop(change)
        half = xp.full_like(fixed, 0.5)
        up = xp.where(fixed > 0, xp.ones_like(fixed), xp.where(fixed < 0, 0 * half, half))
        return change * up, change * (1 - up)


def sum_of(arrays: Sequence[Array]) -> Array:
    """The sum of arrays, without a zero to start from."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total
