"""The logarithm of a sum of powers in two runs, and what each summand did to its change.

A softmax is p_i = exp(x_i − s) with s = ln Σ exp(x_k). The rescale rule at both functions gives,
with the logarithmic mean L(a, b) = (a − b) / (ln a − ln b),

Δs = Σ w_k Δx_k,  w_k = L(exp x_k, exp x′_k) / L(exp s, exp s′),  Δp_i = L(p_i, p′_i) (Δx_i − Δs).

L is homogeneous and concave, so that every w_k is at least 0 and their sum at most 1, however far
apart the runs are. With d = ln a − ln b and g(d) = (1 − exp(−|d|)) / |d|, L(a, b) = max(a, b) g(d):
nothing is subtracted that could cancel, and no power is larger than 1.
"""

from typing import Any

from pellucid.types import Array

Axes = int | tuple[int, ...]


class LogSums:
    """ln Σ exp(x) along axes, and the slopes with which DeepLIFT takes its change apart.

    From values without derivatives, all finite. `weights` are w_k; `shares` and `shares_before`
    are p and p′, whose logarithms are known as well.
    """

    def __init__(self, xp: Any, now: Array, before: Array, axes: Axes) -> None:
        self._xp, self._axes = xp, axes
        top, top_before = (xp.max(a, axis=axes, keepdims=True) for a in (now, before))
        log, log_before = (
            xp.log(xp.sum(xp.exp(a), axis=axes, keepdims=True))
            for a in (now - top, before - top_before)
        )
        self.log_shares, self.log_shares_before = now - top - log, before - top_before - log_before
        # Both relative to the highest of all, so that what is rounded is small wherever it counts.
        highest = xp.maximum(top, top_before)
        powers = xp.maximum(now, before) - highest
        sums = xp.maximum(top - highest + log, top_before - highest + log_before)
        change = (top - top_before) + (log - log_before)
        flatness = self._flatness(now - before) / self._flatness(change)
        self.weights = xp.exp(powers - sums) * flatness

    def through(self, x: Array) -> Array:
        """What changes by Δs with x."""
        return self._xp.sum(self.weights * x, axis=self._axes, keepdims=True)

    @property
    def shares(self) -> Array:
        return self._xp.exp(self.log_shares)

    @property
    def shares_before(self) -> Array:
        return self._xp.exp(self.log_shares_before)

    @property
    def slope(self) -> Array:
        """L(p, p′)."""
        now, before = self.log_shares, self.log_shares_before
        return self._xp.exp(self._xp.maximum(now, before)) * self._flatness(now - before)

    def _flatness(self, change: Array) -> Array:
        """G of a change, 1 where there is none."""
        xp, size = self._xp, self._xp.abs(change)
        still = size == 0
        size = xp.where(still, xp.ones_like(size), size)
        return xp.where(still, xp.ones_like(size), -xp.expm1(-size) / size)
