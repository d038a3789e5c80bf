"""What rules are made of: values with other derivatives, and denominators away from zero."""

from copy import copy
from typing import Any

from pellucid.adapters.protocol import Adapter
from pellucid.methods.backward.rules.layout import Layout
from pellucid.running.intercepted import OtherOperationsError
from pellucid.types import Array


class Arithmetic:
    """Surrogates in the arithmetic of one framework, for a run of `rows` samples.

    `epsilon` is relative to the largest value that a layer has in a sample, or `absolute`. Where
    `zeros` is set, relevance may lie on values that are zero: they then count as a tiny number.
    """

    def __init__(
        self, adapter: Adapter, rows: int, *, epsilon: float, absolute: bool, zeros: bool
    ) -> None:
        self.adapter, self.xp, self.rows = adapter, adapter.xp, rows
        self.stop = adapter.stop_gradient
        self.epsilon, self.absolute, self.zeros = epsilon, absolute, zeros
        self.layout: Layout | None = Layout()

    def on(self, layout: Layout | None) -> "Arithmetic":
        """The same for values in which the samples are as `layout` says."""
        made = copy(self)
        made.layout = layout
        return made

    def keep(self, value: Array, surrogate: Array) -> Array:
        """`value` with the derivative of `surrogate`."""
        return surrogate + self.stop(value - surrogate)

    def nudged(self, x: Array) -> Array:
        """`x`, with a tiny number in the place of zeros."""
        tiny = smallest(self.xp, x.dtype)
        x = self.stop(x)
        return self.xp.where(self.xp.abs(x) < tiny, self.xp.full_like(x, tiny), x)

    def holding(self, x: Array) -> Array:
        """`x` without its derivative, nudged where relevance may lie on zeros."""
        return self.nudged(x) if self.zeros else self.stop(x)

    def passing(self, x: Array, y: Array) -> Array:
        """`y` with all of its relevance given to `x`, number by number."""
        return self.adapter.sloped(y, x, self.holding(y) / self.nudged(x))

    def margin(self, value: Array, epsilon: float | None) -> Array | float:
        """What is added to a denominator: ε, times the largest value of each sample."""
        given = self.epsilon if epsilon is None else epsilon
        if self.absolute:
            return given
        return given * self._largest(self.stop(value)) + smallest(self.xp, value.dtype)

    def away(self, denominator: Array, margin: Array | float) -> Array:
        """The denominator moved away from zero by `margin`."""
        xp = self.xp
        return xp.where(denominator >= 0, denominator + margin, denominator - margin)

    def epsilon_slope(self, value: Array, epsilon: float | None = None) -> Array:
        """The value over itself moved away from zero, z / (z ± ε) = |z| / (|z| + ε)."""
        z = self.stop(value)
        if self.zeros:
            return self.nudged(z) / self.away(z, self.margin(z, epsilon))
        size = self.xp.abs(z)
        denominator = size + self.margin(z, epsilon)
        size /= denominator  # in place where a framework can, for time goes into memory here
        return size

    def all_positive(self, constants: Array) -> bool:
        """Whether numbers that depend on no input are all above zero, as far as is known."""
        if not self.adapter.is_known(constants):
            return False
        return bool(self.adapter.to_numpy(self.xp.min(self.stop(constants))) > 0)

    def _largest(self, value: Array) -> Array:
        """The largest size of each sample's numbers, to stand beside them."""
        xp, shape = self.xp, tuple(value.shape)
        size = xp.abs(value)
        if self.rows == 1 or not shape:
            return xp.max(size)
        if self.layout is None or not self.layout.fits(shape, self.rows):
            raise OtherOperationsError(
                "Which of a layer's numbers are whose is not known, so its samples have to be"
                " looked at one by one.\n  integrated_gradients needs no rules."
            )
        return self.layout.largest(xp, size, self.rows)


def smallest(xp: Any, dtype: Any) -> float:
    """A number of this type that is as good as zero, and whose inverse is still one."""
    tiny = float(xp.finfo(dtype).tiny)
    return tiny**0.5 if tiny < 1e-30 else tiny
