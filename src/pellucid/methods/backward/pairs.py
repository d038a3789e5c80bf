"""Operations on a value and its reference together, each with the derivative that DeepLIFT wants.

Every function keeps the value and changes its derivative alone: out = s + sg(z − s), where sg
stops the gradient. So relevance is what an ordinary backward pass finds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from pellucid.adapters.protocol import Adapter
from pellucid.methods.backward.log_sums import Axes, LogSums
from pellucid.types import Array


class Pair(NamedTuple):
    """What an operation is given for the input, differentiable, and for the reference."""

    value: Array
    reference: Array


Pulled = tuple[Array, Callable[[Array], tuple[Array, ...]]]
"""A function's value, and what takes a derivative of it to its inputs."""


class Pairs:
    """The rules of DeepLIFT on pairs, in the arithmetic of one framework."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter, self.xp = adapter, adapter.xp
        self.stop = adapter.stop_gradient

    def keep(self, value: Array, surrogate: Array) -> Array:
        """`value` with the derivative of `surrogate`."""
        return surrogate + self.stop(value - surrogate)

    def elementwise(
        self, function: Callable[[Array], Array], pair: Pair, *, kinked: bool = False
    ) -> Pair:
        """Rescale: the derivative is Δy/Δx, or dy/dx in the middle where Δx is too small for that.

        Where x changes by a share r, rounding moves Δy/Δx by ε/r and the middle's derivative is
        off by r², unless a kink lies between. So below 64 ε the middle is taken, and up to
        r = 0.1 % where both agree to 1 %. A `kinked` function, of straight pieces, needs no
        middle: its Δy/Δx is exact wherever there is a Δx.
        """
        x, reference = self.stop(pair.value), pair.reference
        both = function(x), function(reference)
        slope = self._slope(function, x, reference, *both, kinked=kinked)
        return Pair(self.adapter.sloped(both[0], pair.value, slope), both[1])

    def slope(
        self, function: Callable[[Array], Array], x: Array, reference: Array, *, kinked: bool
    ) -> Array:
        """The derivative that `elementwise` speaks of, between two values without derivatives."""
        both = function(x), function(reference)
        return self._slope(function, x, reference, *both, kinked=kinked)

    def _slope(
        self, function: Callable[[Array], Array], x: Array, reference: Array,
        y: Array, y_reference: Array, *, kinked: bool,
    ) -> Array:  # fmt: skip
        xp = self.xp
        change, size = x - reference, xp.abs(x) + xp.abs(reference)
        epsilon = float(xp.finfo(x.dtype).eps)
        still = xp.abs(change) <= (2 if kinked else 64) * epsilon * size
        if kinked and self.adapter.is_known(still) and not bool(xp.any(still)):
            return self.stop((y - y_reference) / change)
        slope = (y - y_reference) / xp.where(still, xp.ones_like(change), change)
        at = x if kinked else 0.5 * (x + reference)
        _, _, pullback = self.adapter.vjp(lambda given: (function(given[0]), None), (at,))
        (tangent,) = pullback(xp.ones_like(y))
        if not kinked:
            # Of a root where both are zero there is none; what does not move has no share.
            tangent = xp.where(xp.isfinite(tangent), tangent, xp.zeros_like(tangent))
            near = xp.abs(change) <= 1e-3 * size
            agree = xp.abs(slope - tangent) <= 1e-2 * xp.abs(tangent)
            still = xp.logical_or(still, xp.logical_and(near, agree))
        return self.stop(xp.where(still, tangent, slope))

    def product(self, function: Callable[[Array, Array], Array], a: Pair, b: Pair) -> Pair:
        """Linear in each of two inputs: each gets its change times the other's mean."""
        mean_a, mean_b = self._mean(a), self._mean(b)
        surrogate = function(a.value, mean_b) + function(mean_a, b.value)
        return Pair(
            self.keep(function(a.value, b.value), surrogate), function(a.reference, b.reference)
        )

    def quotient(self, a: Pair, b: Pair) -> Pair:
        """Of a times 1/b."""
        inverse = self.elementwise(lambda v: 1 / v, b)
        made = self.product(lambda p, q: p * q, a, inverse)
        return Pair(self.keep(a.value / b.value, made.value), a.reference / b.reference)

    def squared_difference(self, a: Pair, b: Pair) -> Pair:
        """Of (a − b)², whose rescaled derivative is the sum of both differences."""
        difference = a.value - b.value
        reference = a.reference - b.reference
        surrogate = difference * self.stop(difference + reference)
        return Pair(self.keep(difference * difference, surrogate), reference * reference)

    def softmax(self, pair: Pair, axis: Axes) -> Pair:
        """Powers of what `log_softmax` is, rescaled; 0 for what is masked in both runs."""
        pair, masked = self._unmasked(pair)
        both = LogSums(self.xp, self.stop(pair.value), pair.reference, axis)
        surrogate = both.slope * (pair.value - both.through(pair.value))
        shares = self.keep(both.shares, surrogate), both.shares_before
        return Pair(*(self.xp.where(masked, self.xp.zeros_like(s), s) for s in shares))

    def masked(self, pair: Pair, now: Array, before: Array) -> Pair:
        """Scores of which masks hide some, as `now` and `before` have them.

        Where one run alone hides a score, its whole change is the score's, as by the rescale rule.
        """
        xp, low = self.xp, self._low(pair.reference)
        now, before = (xp.maximum(a, xp.full_like(a, low)) for a in (now, before))
        hidden, hidden_before = now <= 0.1 * low, before <= 0.1 * low
        change = self.stop(pair.value) - pair.reference
        turned = xp.logical_and(xp.not_equal(hidden, hidden_before), change != 0)
        slope = (now - before) / xp.where(turned, change, xp.ones_like(change))
        shown = xp.astype(xp.logical_not(hidden), now.dtype)
        slope = xp.where(turned, slope, shown)
        return Pair(self.adapter.sloped(now, pair.value, slope), before)

    def log_softmax(self, pair: Pair, axis: Axes) -> Pair:
        """The input less the logarithm of the sum of its powers."""
        pair, _ = self._unmasked(pair)
        both = LogSums(self.xp, self.stop(pair.value), pair.reference, axis)
        surrogate = pair.value - both.through(pair.value)
        return Pair(self.keep(both.log_shares, surrogate), both.log_shares_before)

    def log_sum(self, pair: Pair, axis: Axes) -> Array:
        """What changes as ln Σ exp(x) does, along axes that are kept."""
        pair, _ = self._unmasked(pair)
        return LogSums(self.xp, self.stop(pair.value), pair.reference, axis).through(pair.value)

    def normalised(self, pair: Pair, axes: tuple[int, ...], epsilon: float, centred: bool) -> Pair:
        """What a layer normalisation does before its weights: (x − mean) / √(variance + ε)."""
        xp = self.xp
        d = pair
        if centred:
            d = Pair(*(v - xp.mean(v, axis=axes, keepdims=True) for v in pair))
        squared = self.elementwise(lambda v: v * v, d)
        variance = Pair(*(xp.mean(v, axis=axes, keepdims=True) + epsilon for v in squared))
        inverse = self.elementwise(lambda v: 1 / xp.sqrt(v), variance)
        return self.product(lambda p, q: p * q, d, inverse)

    def euclidean_norm(self, function: Callable[[Array], Array], pair: Pair) -> Pair:
        """Squares, their sum and its root, rescaled: (x + x₀) / (‖x‖ + ‖x₀‖), 0 where both are 0.

        It is the derivative of ‖x + x₀‖, whose axes are the function's own, times a number.
        """
        xp = self.xp
        y, y_reference = function(pair.value), function(pair.reference)
        surrogate, both = function(pair.value + pair.reference), self.stop(y) + y_reference
        none = both == 0
        factor = self.stop(surrogate) / xp.where(none, xp.ones_like(both), both)
        return Pair(self.keep(y, surrogate * factor), y_reference)

    def maximum(
        self,
        function: Callable[..., Array],
        pairs: tuple[Pair, ...],
        earlier: Pulled,
        *,
        least: bool,
        apart: bool = False,
    ) -> Array:
        """Each output is one of the inputs: Δy goes to the winner, now or in the reference.

        Where the output grew, the input that is the largest now has grown at least as much; where
        it shrank, the one that was the largest in the reference has shrunk as much. So the ratio
        Δy/Δx at that input is between 0 and 1. Lundberg's code in shap does the same. Of a minimum
        (`least`) it is the other way round: one that grew has left its earlier winner behind.
        A winner that stands still hands its own derivative on only where the output stands still
        too: where that fell, it fell with its earlier winner, and owes nothing to this one.
        `earlier` is what `pulling` finds of the references. `apart` says that no two outputs look
        at one input, as in most pooling, so that none wins twice.
        """
        xp, adapter = self.xp, self.adapter
        values = tuple(self.stop(p.value) for p in pairs)
        references = tuple(p.reference for p in pairs)
        y, to_winner = self.pulling(function, values)
        y_reference, to_earlier = earlier
        change = y - y_reference
        growth = change * xp.astype(change >= 0, change.dtype)
        loss = change - growth
        now, before = (loss, growth) if least else (growth, loss)
        resolution = _resolution(xp, y)
        still = xp.abs(change) <= resolution * (xp.abs(y) + xp.abs(y_reference))
        unmoved = xp.astype(still, change.dtype)
        plainly, inverses = [], []
        for x, reference in zip(values, references, strict=True):
            difference = x - reference
            size = resolution * (xp.abs(x) + xp.abs(reference))
            small = xp.abs(difference) <= size + float(xp.finfo(x.dtype).tiny)
            inverse = 1 / xp.where(small, xp.ones_like(difference), difference)
            inverses.append(xp.where(small, xp.zeros_like(inverse), inverse))
            plainly.append(xp.astype(small, inverse.dtype))
        at_once = apart or self._wins_once(to_winner, y)
        if at_once:
            # What stands still and what moves have winners of their own: one pass reaches both.
            now = xp.where(still, unmoved, now)
            stands = to_winner(unmoved)
            factors = [xp.where(s > 0, h, i) for s, h, i in zip(stands, plainly, inverses,
                                                                strict=True)]  # fmt: skip
        else:
            factors = inverses

        def backward(cotangent: Array) -> Any:
            found = []
            to_now, to_before = to_winner(cotangent * now), to_earlier(cotangent * before)
            plain = () if at_once else to_winner(cotangent * unmoved)
            for k, (one, other) in enumerate(zip(to_now, to_before, strict=True)):
                one *= factors[k]  # in place where a framework can: both are this pass's own
                other *= inverses[k]
                one += other
                if not at_once:
                    one += plain[k] * plainly[k]
                found.append(one)
            return tuple(found) if len(found) > 1 else found[0]

        return adapter.derived(function, tuple(p.value for p in pairs), y, backward)

    def pulling(self, function: Callable[..., Array], at: tuple[Array, ...]) -> Pulled:
        """The function's value, and what takes derivatives of it to its inputs."""
        value, _, pullback = self.adapter.vjp(lambda given: (function(*given), None), at)
        return self.stop(value), pullback

    def _wins_once(self, to_winner: Callable[[Array], tuple[Array, ...]], y: Array) -> bool:
        """Whether no input is the winner of two outputs or shares one, as far as is known."""
        xp = self.xp
        if not self.adapter.is_known(y):
            return False
        times = to_winner(xp.ones_like(y))
        return not any(bool(xp.any(xp.logical_and(t != 0, t != 1))) for t in times)

    def select(
        self,
        function: Callable[..., Array],
        pairs: tuple[Pair, ...],
        before: Array,
        flipped: Array,
    ) -> Array:
        """One of several by a condition: where it has flipped, all that moved share Δy equally.

        So a function that is put together of one left of a kink and one right of it gets Δy/Δx, as
        if it had been written as one.
        """
        xp = self.xp
        values = tuple(self.stop(p.value) for p in pairs)
        y = function(*values)
        changes = [v - p.reference for v, p in zip(values, pairs, strict=True)]
        moved = [
            xp.abs(c) > _resolution(xp, v) * (xp.abs(v) + xp.abs(p.reference))
            for c, v, p in zip(changes, values, pairs, strict=True)
        ]
        count = sum((xp.astype(m, y.dtype) for m in moved[1:]), xp.astype(moved[0], y.dtype))
        share = (y - before) / xp.where(count > 0, count, xp.ones_like(count))
        through = xp.zeros_like(y)
        for pair, change, moves in zip(pairs, changes, moved, strict=True):
            slope = share / xp.where(moves, change, xp.ones_like(change))
            slope = xp.where(moves, slope, xp.zeros_like(slope))
            through = through + pair.value * self.stop(slope)
        natural = function(*(p.value for p in pairs))
        return self.keep(y, xp.where(flipped, through, natural))

    def _unmasked(self, pair: Pair) -> tuple[Pair, Array]:
        """The pair with a low number for each −∞, as masks make it, and where both are.

        The difference of −∞ and −∞ is none, so nothing is handed on there.
        """
        xp = self.xp
        hidden = [xp.isinf(self.stop(v)) for v in pair]
        low = xp.full_like(pair.reference, self._low(pair.reference))
        shown = Pair(*(xp.where(h, low, v) for h, v in zip(hidden, pair, strict=True)))
        return shown, xp.logical_and(*hidden)

    def _low(self, like: Array) -> float:
        """A number whose power is 0 beside any score, and whose inverse is none."""
        return max(-1e30, 0.25 * float(self.xp.finfo(like.dtype).min))

    def _mean(self, pair: Pair) -> Array:
        return self.stop((pair.value + pair.reference) * 0.5)


def _resolution(xp: Any, x: Array) -> float:
    """Relative changes below this are none."""
    return 2 * float(xp.finfo(x.dtype).eps)
