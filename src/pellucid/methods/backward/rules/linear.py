"""Rules of layers with weights: how a sum's relevance is shared out among what was summed.

A layer is a chain: an operation with weights, and what adds a bias or scales afterwards (a batch
normalisation is so merged into the layer before it). A rule starts streams at the operation,
shares of the layer's value that are linear in x, takes them through the chain, and makes the
surrogate of the layer's value z from them at its end.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from pellucid.adapters.protocol import Operation
from pellucid.errors import CoverageError
from pellucid.methods.backward.rules.arithmetic import Arithmetic
from pellucid.methods.backward.weighted import Weighted
from pellucid.types import Array


@dataclass
class Streams:
    """Shares of a layer's value on their way through its chain, and the bias so far."""

    shares: dict[str, Array]
    spare: dict[str, Callable[[], Array]] = field(default_factory=dict)
    """Shares that are computed only where a scale turns signs around."""
    bias: Array | None = None
    squares: bool = False
    """Whether the share is one of squared weights, which a scale multiplies twice."""


class Rule(ABC):
    """How the relevance of a layer's value is shared out. Frozen dataclasses, and final."""

    name: ClassVar[str]
    on_zeros: ClassVar[bool] = False
    """Whether an input that is zero may get relevance."""

    @abstractmethod
    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        """What z is replaced by in the backward pass."""

    def explained(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        """The value z with the derivative of its surrogate."""
        return made.keep(z, self.surrogate(made, z, streams))


class StreamedRule(Rule):
    """A rule that needs more than the layer's value: streams through its chain."""

    @abstractmethod
    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        """The streams at the operation with weights."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """R_i = Σ_j x_i w_ij / (z_j ± ε) R_j (Bach et al. 2015, eq. 58)."""

    epsilon: float | None = None

    name = "epsilon"

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        return z * made.epsilon_slope(z, self.epsilon)

    def explained(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        return made.adapter.sloped(z, z, made.epsilon_slope(z, self.epsilon))


@dataclass(frozen=True)
class Norm(StreamedRule):
    """As epsilon without the bias in the denominator, so that the inputs get all relevance."""

    name = "norm"

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        return Streams({"plain": op(bias=False)})

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        share = streams.shares["plain"]
        margin = made.margin(share, None)
        return share * (made.holding(z) / made.away(made.stop(share), margin))


@dataclass(frozen=True)
class Pass(StreamedRule):
    """R_i = R_i: for a layer whose value has the shape of its input."""

    name = "pass"
    on_zeros = True

    def start(self, made: Arithmetic, op: Operation, *, nonnegative: bool) -> Streams:
        return Streams({"fixed": Weighted(op).x})

    def surrogate(self, made: Arithmetic, z: Array, streams: Streams | None) -> Array:
        assert streams is not None
        x = streams.shares["fixed"]
        if tuple(x.shape) != tuple(z.shape):
            raise CoverageError(
                f"The rule pass fits a layer that keeps the shape of its input, not one from"
                f" {tuple(x.shape)} to {tuple(z.shape)}."
            )
        return x * (made.holding(z) / made.nudged(x))


def through(made: Arithmetic, op: Operation, place: int, streams: Streams, *, moves: bool) -> None:
    """Take the streams through a later operation of the chain, whose live input is at `place`.

    `moves` says whether an operation that moves numbers comes later still, so that a bias needs
    the whole shape.
    """
    xp = made.xp

    def at(value: Array) -> Array:
        return op(inputs=(*op.inputs[:place], value, *op.inputs[place + 1 :]))

    if op.form == "move":
        before = tuple(op.inputs[place].shape)
        streams.shares = {
            k: v if k == "fixed" and tuple(v.shape) != before else at(v)
            for k, v in streams.shares.items()
        }
        streams.spare = {k: _after(at, v) for k, v in streams.spare.items()}
        streams.bias = None if streams.bias is None else at(streams.bias)
        return
    value = made.stop(op.inputs[place])
    if not moves and all(
        len(a.shape) < len(value.shape) or int(a.shape[0]) == 1
        for i, a in enumerate(op.inputs)
        if i != place
    ):
        value = value[:1]
    offset = at(xp.zeros_like(value))
    if op.kind == "bias":
        streams.bias = offset if streams.bias is None else streams.bias + offset
        return
    slope = at(xp.ones_like(value)) - offset
    _scale(made, streams, slope)
    if streams.bias is not None:
        offset = offset + slope * streams.bias
    streams.bias = offset


def _scale(made: Arithmetic, streams: Streams, slope: Array) -> None:
    """Multiply the streams, of which those with a sign change places under a negative slope."""
    xp, shares = made.xp, streams.shares
    if "for" in shares and not made.all_positive(slope):
        p = shares["for"]
        n = shares["against"] if "against" in shares else streams.spare.pop("against")()
        up = slope > 0
        shares["for"] = xp.where(up, slope * p, slope * n)
        shares["against"] = xp.where(up, slope * n, slope * p)
    else:
        for key in {"for", "against"} & shares.keys():
            shares[key] = shares[key] * slope
        streams.spare = {k: _after(lambda v: v * slope, f) for k, f in streams.spare.items()}
    if "plain" in shares:
        shares["plain"] = shares["plain"] * slope
    if "square" in shares and streams.squares:
        shares["square"] = shares["square"] * slope * slope


def _after(then: Callable[[Array], Array], first: Callable[[], Array]) -> Callable[[], Array]:
    return lambda: then(first())
