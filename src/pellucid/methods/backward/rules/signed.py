"""Rules of layers with weights that look at signs, at weights alone, or at bounds of the input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pellucid.adapters.protocol import Operation
from pellucid.methods.backward.rules.arithmetic import Arithmetic
from pellucid.methods.backward.rules.linear import StreamedRule, Streams
from pellucid.methods.backward.weighted import Weighted
from pellucid.types import Array


class _Signed(StreamedRule):
    """Rules of what speaks for and against: P = Σ (x_i w_ij)⁺ and N = Σ (x_i w_ij)⁻."""

    bias: bool

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        p, n = _signed(made, Weighted(op), nonnegative=nonnegative)
        return Streams({"for": p(), "against": n()})

    def totals(self, made: Arithmetic, streams: Streams) -> tuple[Array, Array]:
        """P and N with their part of the bias, without derivatives."""
        p, n = (made.stop(streams.shares[key]) for key in ("for", "against"))
        if streams.bias is None or not self.bias:
            return p, n
        zero = made.xp.zeros_like(streams.bias)
        return (
            p + made.xp.maximum(streams.bias, zero), n + made.xp.minimum(streams.bias, zero),
        )  # fmt: skip


@dataclass(frozen=True)
class Gamma(_Signed):
    """R_i = Σ_j (z_ij + γ z_ij^s) / (z_j + γ Σ_i z_ij^s) R_j, s the sign of z_j.

    Montavon et al. 2019, table 10.1, for inputs of any sign: what agrees with the sum is favoured,
    so that the denominator is never nearer to zero than z.
    """

    gamma: float = 0.25
    bias: bool = True

    name = "gamma"

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        xp, gamma = made.xp, self.gamma
        p, n = streams.shares["for"], streams.shares["against"]
        p_total, n_total = self.totals(made, streams)
        fixed = made.stop(z)
        positive = fixed >= 0
        total = p_total + n_total + gamma * xp.where(positive, p_total, n_total)
        slope = made.holding(z) / made.away(total, made.margin(z, None))
        favoured = xp.where(positive, (1 + gamma) * p + n, p + (1 + gamma) * n)
        return favoured * slope


@dataclass(frozen=True)
class AlphaBeta(_Signed):
    """R_i = Σ_j (α z_ij⁺ / P_j − β z_ij⁻ / N_j) R_j, α − β = 1 (Bach et al. 2015, eq. 60)."""

    alpha: float = 2.0
    beta: float = 1.0
    bias: bool = True

    name = "alpha_beta"

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        xp, held, bias = made.xp, made.holding(z), streams.bias
        above = below = made.margin(z, None)
        if bias is not None and self.bias:
            zero = xp.zeros_like(bias)
            above, below = above + xp.maximum(bias, zero), below - xp.minimum(bias, zero)
        up = held / (made.stop(streams.shares["for"]) + above)
        up *= self.alpha  # in place where a framework can, for time goes into memory here
        down = held / (made.stop(streams.shares["against"]) - below)
        down *= self.beta
        return streams.shares["for"] * up - streams.shares["against"] * down


@dataclass(frozen=True)
class ZPlus(_Signed):
    """R_i = Σ_j z_ij⁺ / P_j R_j (Montavon et al. 2017, eq. 13), as α = 1, β = 0."""

    bias: bool = True

    name = "z_plus"

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        p, n = _signed(made, Weighted(op), nonnegative=nonnegative)
        return Streams({"for": p()}, {"against": n})

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        total = made.stop(streams.shares["for"]) + self._extra(made, z, streams)
        return streams.shares["for"] * (made.holding(z) / total)

    def explained(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        total, extra = made.stop(streams.shares["for"]), self._extra(made, z, streams)
        if tuple(total.shape) == tuple(z.shape):
            # In place where a framework can, into the share's own memory: of the share the
            # derivative alone is asked from here on. A block of its own cost 2 to 6 % of LRP.
            total += extra
        else:
            total = total + extra
        return made.adapter.sloped(z, streams.shares["for"], made.holding(z) / total)

    def _extra(self, made: Arithmetic, z: Array, streams: Streams) -> Array | float:
        """ε, and what a bias speaks for."""
        extra = made.margin(z, None)
        if streams.bias is None or not self.bias:
            return extra
        return extra + made.xp.maximum(streams.bias, made.xp.zeros_like(streams.bias))


@dataclass(frozen=True)
class Flat(StreamedRule):
    """R_i = Σ_j 1 / Σ_i 1 R_j: the same to all that a value sees (Lapuschkin et al. 2019)."""

    name = "flat"
    on_zeros = True

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        f = Weighted(op)
        weight = made.xp.ones_like(f.weight)
        return _of_ones(made, f, weight)

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        return _by_total(made, z, streams.shares["square"])


@dataclass(frozen=True)
class WSquare(StreamedRule):
    """R_i = Σ_j w_ij² / Σ_i w_ij² R_j (Montavon et al. 2017, eq. 12)."""

    name = "w_square"
    on_zeros = True

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        f = Weighted(op)
        streams = _of_ones(made, f, f.weight * f.weight)
        streams.squares = True  # a scale belongs to the weights
        return streams

    surrogate = Flat.surrogate


@dataclass(frozen=True)
class Box(StreamedRule):
    """R_i = Σ_j ((x_i − l_i) w_ij⁺ + (x_i − h_i) w_ij⁻) / Σ_i (same) R_j, for l ≤ x ≤ h.

    Montavon et al. 2017, eq. 14. `low` and `high` are what the layer sees for the smallest and the
    largest input, one sample or as many as are explained.
    """

    low: Any = None
    high: Any = None

    name = "box"
    on_zeros = True

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        f, xp = Weighted(op), made.xp
        zero = xp.zeros_like(f.weight)
        up, down = xp.maximum(f.weight, zero), xp.minimum(f.weight, zero)
        zeros = xp.zeros_like(made.stop(f.x))
        ends = [zeros + bound for bound in (self.low, self.high)]
        low, high = (
            made.keep(end, f.x * (end / made.nudged(f.x)))
            for end in (xp.minimum(*ends), xp.maximum(*ends))
        )
        # Behind a negative scale the weights change signs, while the bounds stay where they are.
        return Streams(
            {"for": f(f.x - low, up) + f(f.x - high, down)},
            {"against": lambda: f(f.x - high, up) + f(f.x - low, down)},
        )

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        return _by_total(made, z, streams.shares["for"])


def _signed(
    made: Arithmetic, f: Weighted, *, nonnegative: bool
) -> tuple[Callable[[], Array], Callable[[], Array]]:
    """What gives Σ (x_i w_ij)⁺, and what gives Σ (x_i w_ij)⁻."""
    xp = made.xp
    zero = xp.zeros_like(f.weight)
    if nonnegative:
        return (
            lambda: f(f.x, xp.maximum(f.weight, zero)), lambda: f(f.x, xp.minimum(f.weight, zero)),
        )  # fmt: skip
    up, down = xp.maximum(f.weight, zero), xp.minimum(f.weight, zero)
    x_zero = xp.zeros_like(f.x)
    above, below = xp.where(f.x > 0, f.x, x_zero), xp.where(f.x > 0, x_zero, f.x)
    return lambda: f(above, up) + f(below, down), lambda: f(above, down) + f(below, up)


def _of_ones(made: Arithmetic, f: Weighted, weight: Array) -> Streams:
    """Streams of an input of ones, which is x · 1/x to the backward pass."""
    ones = made.xp.ones_like(made.stop(f.x))
    return Streams({"square": f(made.keep(ones, f.x * (1 / made.nudged(f.x))), weight)})


def _by_total(made: Arithmetic, z: Array, share: Array) -> Array:
    total = made.stop(share)
    return share * (made.holding(z) / made.away(total, made.margin(total, None)))
