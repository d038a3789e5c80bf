"""Where a model attends: each softmax whose result weighs values, found by following one run."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from pellucid.adapters.protocol import Operation
from pellucid.types import Array, Leaves, shape_of

OPENED: frozenset[str] = frozenset(
    "linear bias activation norm softmax pool mul add route rnn lookup other opaque untracked"
    " custom_gradient".split()
)
"""All kinds but `attention`: a fused call is then run as the operations it stands for."""

PLAINLY: frozenset[str] = frozenset({"softmax"})
"""Enough to meet each softmax again, in models whose loops and recurrent layers have none."""

INSIDE_TOO: frozenset[str] = PLAINLY | {"add"}
"""The same, with loops and recurrent layers opened as they are for all kinds."""

CONTRACTIONS: frozenset[str] = frozenset(
    (
        "matmul __matmul__ __rmatmul__ bmm baddbmm einsum tensordot"
        " MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum XlaDotV2 dot_general"
    ).split()
)
"""Products that sum over an axis, as torch, TensorFlow and JAX call them."""

_PASSES = frozenset({"route", "linear", "bias", "activation", "mul"})
_MASKS = frozenset({"masked_fill", "nan_to_num"})
"""Kinds of operations that a weight may pass on its way: casts, masks, dropout, a constant."""

Run = Callable[[Leaves, Callable[[Operation], Array], frozenset[str]], Any]
"""Runs the model on leaves with an interceptor of some kinds of operations."""


@dataclass(frozen=True)
class AttentionCall:
    """One attention of a run: the softmax at `index`, whose result `product` weighs values with.

    `shape` is that of the weights for one sample and `samples` their axis of the samples; there
    may be heads or windows in it as well, the samples outermost. `keys` is the axis that sums to
    one. The product takes the weights as its input number `place`; `routes` lead from it to the
    linear operation at `projection`, if there is one. A run that intercepts `kinds` meets the
    softmax under this index.
    """

    index: int
    product: int
    place: int
    routes: tuple[int, ...]
    projection: int | None
    path: str
    call: int
    shape: tuple[int, ...]
    samples: int
    keys: int
    kinds: frozenset[str]

    @property
    def queries(self) -> int | None:
        """The axis of those who attend; None where one query of the model's own does."""
        others = [a for a in range(len(self.shape)) if a not in {self.samples, self.keys}]
        alike = [a for a in others if self.shape[a] == self.shape[self.keys]]
        return (alike or others or [None])[-1]

    @property
    def windows(self) -> int:
        """How many parts of a sample attend each to itself; they lie beside the samples.

        Heads that lie there are none, and where they do there is no other axis of them.
        """
        return self.shape[self.samples] if self.heads else 1

    @property
    def heads(self) -> tuple[int, ...]:
        """The axes of heads, groups of heads and the like."""
        taken = {self.samples, self.keys, self.queries}
        return tuple(a for a in range(len(self.shape)) if a not in taken)


def attention_calls(
    run: Run, one: Leaves, two: Leaves, count: int = 1
) -> tuple[AttentionCall, ...]:
    """The attentions of a model in the order in which they happen.

    From runs on `count` samples and on twice as many.
    """
    found = [_followed(run, leaves) for leaves in (one, two)]
    met: set[int] = set()

    def meet(op: Operation) -> Array:
        if op.kind == "softmax":
            met.add(op.index)
        return op()

    if found[0]:
        run(one, meet, PLAINLY)
    kinds = PLAINLY if {s.index for s in found[0]} <= met else INSIDE_TOO
    calls = []
    for single, double in zip(*found, strict=True):
        shapes = single.weights, double.weights
        axes = [a for a, (m, n) in enumerate(zip(*shapes, strict=True)) if n == 2 * m]
        # Weights that are the same for all samples say nothing of any of them.
        if axes and single.keys not in axes:
            calls.append(single.as_call(axes[0], kinds, count))
    return tuple(calls)


@dataclass
class _Seen:
    """A softmax on its way: `follows` are ids of arrays that hold its weights, or its product."""

    index: int
    path: str
    call: int
    weights: tuple[int, ...]
    keys: int
    product: int = -1
    place: int = 0
    projection: int | None = None
    routes: tuple[int, ...] = ()

    def as_call(self, samples: int, kinds: frozenset[str], count: int) -> AttentionCall:
        shape = tuple(s // count if a == samples else s for a, s in enumerate(self.weights))
        return AttentionCall(
            self.index, self.product, self.place, self.routes, self.projection, self.path,
            self.call, shape, samples, self.keys, kinds,
        )  # fmt: skip


def _followed(run: Run, leaves: Leaves) -> list[_Seen]:
    seen: list[_Seen] = []
    weights: dict[int, _Seen] = {}
    mixed: dict[int, tuple[_Seen, tuple[int, ...]]] = {}
    held: list[Any] = []  # so that no array's id is taken by another while the run lasts

    def follow(op: Operation) -> Array:
        out = op()
        held.append((op, out))
        made = [a for a in (out if isinstance(out, list | tuple) else [out]) if a is not None]
        ids = [id(a) for a in op.inputs]
        attending = [weights[i] for i in ids if i in weights]
        shape = shape_of(made[0]) if made else ()
        axis = op.arguments.get("axis") if op.form == "softmax" else None
        if isinstance(axis, int) and len(shape) > 1:
            weights[id(out)] = _Seen(op.index, op.path, op.call, shape, axis % len(shape))
        elif len(attending) == 1 and op.name in CONTRACTIONS and len(ids) > 1:
            (entry,) = attending
            if entry.product < 0:
                entry.product, entry.place = op.index, [i in weights for i in ids].index(True)
                seen.append(entry)
                mixed[id(out)] = entry, ()
        elif len(attending) == 1 and _passes_on(op, ids, weights):
            weights.update((id(a), attending[0]) for a in made)
        else:
            _follow_product(op, ids, made, mixed)
        return out

    run(leaves, follow, OPENED)
    return sorted(seen, key=lambda s: s.index)


def _passes_on(op: Operation, ids: list[int], weights: dict[int, _Seen]) -> bool:
    """Whether an operation leaves weights what they are: a cast, a mask, a factor for each head."""
    if op.kind not in _PASSES and op.name not in _MASKS:
        return False
    own = next(_size(a) for i, a in zip(ids, op.inputs, strict=True) if i in weights)
    others = [a for i, a in zip(ids, op.inputs, strict=True) if i not in weights]
    return not op.weights and (op.kind == "route" or all(_size(a) < own for a in others))


def _size(a: Any) -> int:
    return prod(shape_of(a))


def _follow_product(
    op: Operation,
    ids: list[int],
    made: list[Any],
    mixed: dict[int, tuple[_Seen, tuple[int, ...]]],
) -> None:
    """Follow the weighted values through reshapes to the linear operation that takes them."""
    known = next((mixed[i] for i in ids if i in mixed), None)
    if known is None:
        return
    entry, routes = known
    # A mean that is a sum and a quotient is one route, as where it is one operation.
    if (op.kind == "route" or op.form == "scale") and len(made) == 1:
        mixed[id(made[0])] = entry, (*routes, op.index)
    elif op.kind == "linear" and entry.projection is None:
        entry.projection, entry.routes = op.index, routes
