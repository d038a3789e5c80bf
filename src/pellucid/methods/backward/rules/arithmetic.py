"""What rules are made of: values with other derivatives, and denominators away from zero."""

from typing import Any

from pellucid.adapters.protocol import Adapter
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

    def keep(self, value: Array, surrogate: Array) -> Array:
        """`value` with the derivative of `surrogate`."""
        return surrogate + self.stop(value - surrogate)

    def sloped(self, value: Array, slope: Array) -> Array:
        """`value`, whose derivative is multiplied with `slope`."""
        return self.keep(value, value * slope)

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
        return self.keep(y, x * (self.holding(y) / self.nudged(x)))

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
        """The value over itself moved away from zero, z / (z ± ε)."""
        z = self.stop(value)
        return self.holding(z) / self.away(z, self.margin(z, epsilon))

    def all_positive(self, constants: Array) -> bool:
        """Whether numbers that depend on no input are all above zero."""
        return bool(self.adapter.to_numpy(self.xp.min(self.stop(constants))) > 0)

    def _largest(self, value: Array) -> Array:
        """The largest size of each sample's numbers, to stand beside them."""
        xp, shape = self.xp, tuple(value.shape)
        if self.rows == 1 or not shape:
            return xp.max(xp.abs(value))
        axis = self._batch_axis(shape)
        others = tuple(i for i in range(len(shape)) if i != axis)
        size = xp.abs(value)
        if shape[axis] == self.rows:
            return xp.max(size, axis=others, keepdims=True) if others else size
        if shape[axis] % self.rows:  # a packed sequence: each row is of one sample
            return xp.max(size, axis=others, keepdims=True) if others else size
        # Samples and positions share one axis, sample by sample.
        found = xp.max(xp.reshape(size, (self.rows, -1)), axis=1)
        found = xp.repeat(found, shape[axis] // self.rows)
        return xp.reshape(found, (-1, *(1,) * (len(shape) - 1)))

    def _batch_axis(self, shape: tuple[int, ...]) -> int:
        if shape[0] != self.rows and self.rows in shape:
            return shape.index(self.rows)
        return 0


def smallest(xp: Any, dtype: Any) -> float:
    """A number of this type that is as good as zero, and whose inverse is still one."""
    tiny = float(xp.finfo(dtype).tiny)
    return tiny**0.5 if tiny < 1e-30 else tiny
