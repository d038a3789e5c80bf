"""DeepLIFT's RevealCancel rule: what raises an activation's input apart from what lowers it."""

from collections.abc import Callable, Sequence
from typing import Any

from pellucid.adapters.protocol import Adapter, Operation
from pellucid.methods.backward.pairs import Pairs
from pellucid.methods.backward.parts import at
from pellucid.methods.backward.reference import ReferenceRun
from pellucid.methods.backward.rescale import RULED, is_bent, rescaled, rule_of
from pellucid.methods.backward.splits import Parts, Split, Sums
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.types import Array

REFERENCED = RULED | {"linear", "bias", "add", "route"}
"""Kinds whose inputs of the reference run are needed."""


_FORMULAS = frozenset({"power", "rsqrt", "select"})
"""Forms of activations that are parts of formulas: they are rescaled."""

_WEIGHTED = frozenset({"convolution", "dense"})


def revealing_rule_of(op: Operation) -> str | None:
    """The name of the rule for an operation; None where it has none."""
    rule = rule_of(op)
    return "reveal_cancel" if rule == "rescale" and op.form not in _FORMULAS else rule


class Revealing:
    """The interceptor of the run that is differentiated.

    It follows each sum of a layer, told apart into what adds to it and what takes away, through
    biases, scales, moves and further sums, up to where it is bent.
    """

    def __init__(self, adapter: Adapter, reference: ReferenceRun, uncovered: Uncovered) -> None:
        self._pairs, self._sums = Pairs(adapter), Sums(adapter)
        self._reference, self._uncovered = reference, uncovered
        self._known: dict[int, tuple[Any, list[Split] | Split]] = {}

    def __call__(self, op: Operation) -> Any:
        if not is_bent(op):
            return op()
        rule = rule_of(op)
        if rule is None:
            return self._uncovered(op)
        split = self._function_of_one(op)
        if split is not None and self._reveals(op, split):
            made = split.revealed(self._pairs, kinked=op.form in {"relu", "relu6"})
        else:
            made = rescaled(self._pairs, op, rule, self._reference)
        found = split or self._sum(op, made)
        if found is not None:
            self._known[op.index] = made, found
        return made

    def _split_of(self, op: Operation, place: int) -> Split | None:
        """What is known of an input."""
        source = op.sources[place] if place < len(op.sources) else -1
        if source not in self._known:
            return None
        made, found = self._known[source]
        if not isinstance(found, list):
            return found
        array = op.inputs[place]
        return next((s for m, s in zip(made, found, strict=True) if m is array), None)

    def _reveals(self, op: Operation, split: Split) -> bool:
        """Whether the operation bends a sum, so that the rule is for it."""
        return split.bent and (op.kind == "mul" or revealing_rule_of(op) == "reveal_cancel")

    def _function_of_one(self, op: Operation) -> Split | None:
        """The value as a function of one sum, number by number, where it is one."""
        places = [i for i, live in enumerate(op.live) if live]
        splits = [self._split_of(op, i) for i in places]
        first = splits[0] if splits else None
        if first is None or any(s is None or s.sum is not first.sum for s in splits):
            return None
        bends = op.kind in {"activation", "mul"}
        single = op.kind in {"activation", "bias"} or op.form in {"scale", "affine_norm"}
        if not single and not (
            op.kind == "mul"
            and any(s is not None and s.bent for s in splits)
            and _is_by_number(self._sums.xp, op, places)
        ):
            return None
        functions = [s.function for s in splits if s is not None]

        def function(x: Array) -> Array:
            return at(op, places)(*(f(x) for f in functions))

        made = Split(first.sum, function, bends or first.bent, kinked=not first.bent)
        return made if made.keeps_shape else None

    def _sum(self, op: Operation, made: Any) -> Any:
        """The sum that a linear operation makes, told apart; None where it is not linear."""
        places = [i for i, live in enumerate(op.live) if live]
        if op.kind == "linear" and op.form in _WEIGHTED and len(places) == 1:
            before = self._reference.inputs(op)
            return self._sums.weighted(op, before, made)
        if op.kind not in {"add", "route"} or op.form == "select":
            return None
        before = self._reference.inputs(op)
        parts = [self._sums.parts(self._split_of(op, i), op.inputs[i], before[i]) for i in places]
        together = (self._added if op.kind == "add" else self._moved)(op, parts)

        def base() -> Any:
            return op(inputs=before)

        if not isinstance(made, list | tuple):
            return Split.of(self._sums.late(made, base, together))
        return [
            Split.of(self._sums.late(one, _one(base, k), _both(together, k)))
            for k, one in enumerate(made)
        ]

    def _moved(self, op: Operation, parts: Sequence[Callable[[], Parts]]) -> Any:
        """What adds and what takes away, each moved (joined, averaged) as the values are."""

        def found() -> tuple[Any, Any]:
            places = [i for i, live in enumerate(op.live) if live]
            each = [part() for part in parts]
            zero = self._sums.without_offset(op, places)
            return zero(*(p.up for p in each)), zero(*(p.down for p in each))

        return found

    def _added(self, op: Operation, parts: Sequence[Callable[[], Parts]]) -> Any:
        """Of a sum of several: each part by what it does to the sum."""

        def found() -> tuple[Any, Any]:
            places = [i for i, live in enumerate(op.live) if live]
            zero = self._sums.without_offset(op, places)
            each = [part() for part in parts]
            empty = [self._sums.xp.zeros_like(p.up) for p in each]
            alone = [
                zero(*(side if i == k else e for i, e in enumerate(empty)))
                for k, p in enumerate(each)
                for side in (p.up, p.down)
            ]
            return self._sums.by_sign(alone)

        return found


def _one(made: Callable[[], Any], k: int) -> Callable[[], Array]:
    return lambda: made()[k]


def _both(made: Callable[[], tuple[Any, Any]], k: int) -> Callable[[], tuple[Array, Array]]:
    def found() -> tuple[Array, Array]:
        up, down = made()
        return up[k], down[k]

    return found


def _is_by_number(xp: Any, op: Operation, places: Sequence[int]) -> bool:
    """Whether a product is one number by number: a matrix product of ones is none."""
    if op.form != "product":
        return op.form in {"quotient", "squared_difference"}
    ones = [xp.ones_like(op.inputs[i]) for i in places]
    made = at(op, places)(*ones)
    return tuple(made.shape) == tuple(ones[0].shape) and bool(xp.all(made == 1))
