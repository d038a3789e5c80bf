"""DeepLIFT's rules: which one an operation gets, and what has none."""

from collections.abc import Callable, Sequence
from typing import Any

from pellucid.adapters.protocol import Adapter, Intercept, Operation
from pellucid.errors import CoverageError
from pellucid.methods.backward.pairs import Pair, Pairs
from pellucid.methods.backward.parts import at, settings_of
from pellucid.methods.backward.reference import ReferenceRun
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.types import Array

RULED = frozenset({"activation", "norm", "softmax", "attention", "pool", "mul"})
"""Kinds that bend, so that they need a rule."""

REFUSED = frozenset("other opaque custom_gradient untracked detached rnn composite".split())

KINKED = frozenset({"relu", "relu6"})
"""Forms of activations that are straight but for their kinks."""

_NORMS = frozenset({"layer_norm", "rms_norm", "group_norm", "instance_norm", "euclidean_norm"})

PASSED = frozenset({"linear", "bias", "add", "route", "lookup"})
"""Kinds that are linear, so that the gradient is what DeepLIFT's linear rule says."""


def rule_of(op: Operation) -> str | None:
    """The name of the rule for an operation; None where it has none."""
    if op.kind in PASSED or op.form == "boolean":
        return "linear"
    if op.form in {"select", "detached_maximum"}:
        return str(op.form)
    live = sum(op.live)
    if op.kind == "norm" and op.form == "affine_norm":
        return "linear"
    if op.kind == "activation" and live == 1:
        return "rescale"
    if op.kind == "pool" and op.form in {"maximum", "minimum"}:
        return "maximum"
    two = {"product", "quotient", "squared_difference"}
    if op.kind == "mul" and op.form in two and live == 2:
        return str(op.form)
    if op.kind == "softmax" and op.form and op.arguments.get("axis") is not None:
        return str(op.form)
    if op.kind == "norm" and op.form in _NORMS:
        return str(op.form)
    if op.kind == "attention" and op.form == "dot_product_attention":
        return str(op.form)
    return None


def is_bent(op: Operation) -> bool:
    """Whether real numbers that depend on the inputs go in: places of words have no derivative."""
    pairs = zip(op.inputs, op.live, strict=True)
    return any("float" in str(a.dtype) for a, live in pairs if live)


def rescaling(adapter: Adapter, reference: ReferenceRun, uncovered: Uncovered) -> Intercept:
    """The interceptor of the run that is differentiated."""
    pairs = Pairs(adapter)

    def decide(op: Operation) -> Array:
        rule = rule_of(op) if is_bent(op) else "linear"
        return uncovered(op) if rule is None else rescaled(pairs, op, rule, reference)

    return decide


def referring(
    adapter: Adapter,
    reference: ReferenceRun,
    interceptor: Callable[[Adapter, ReferenceRun, Uncovered], Intercept],
    uncovered: Uncovered,
) -> Callable[..., tuple[Intercept, Callable[[], tuple[str, ...]]]]:
    """The interceptor again, made of the arrays of `reference.live()`, for `compiled_under`."""
    kept = reference.live()[1]

    def rules(arrays: Sequence[Array], *_: Any) -> tuple[Intercept, Callable[[], tuple[str, ...]]]:
        own = uncovered.again()
        again = ReferenceRun.of_live(adapter.stop_gradient, arrays, kept)
        return interceptor(adapter, again, own), lambda: own.met

    return rules


def rescaled(pairs: Pairs, op: Operation, rule: str, reference: ReferenceRun) -> Array:
    """The operation by its rule."""
    if rule == "linear":
        return op()
    if rule == "maximum":
        return _maximum(pairs, op, reference)
    if rule == "detached_maximum":
        # What is shifted by it is so in both runs, by what differs: it has its part in the change.
        return pairs.keep(op(), op.inputs[_live(op)[0]])
    return _RULES[rule](pairs, op, reference.inputs(op))


def _live(op: Operation) -> list[int]:
    return [i for i, live in enumerate(op.live) if live]


def _elementwise(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    (place,) = _live(op)
    x = op.inputs[place]
    pair = Pair(x, reference[place])
    made = pairs.elementwise(at(op, [place]), pair, kinked=op.form in KINKED)
    if tuple(made.reference.shape) != tuple(x.shape):
        raise CoverageError(
            f"deeplift takes {op.name} in {op.path or 'the model'} for an activation, but it turns"
            f" {tuple(x.shape)} into {tuple(made.reference.shape)}.\n"
            "  integrated_gradients needs no rules."
        )
    return made.value


def _maximum(pairs: Pairs, op: Operation, reference: ReferenceRun) -> Array:
    places, before = _live(op), reference.inputs(op)
    function, references = at(op, places), tuple(before[i] for i in places)
    both = tuple(Pair(op.inputs[i], r) for i, r in zip(places, references, strict=True))
    earlier = reference.once(op, lambda: pairs.pulling(function, references), pairs.adapter)
    slides = op.sliding() if len(places) == 1 else None
    apart = slides is not None and all(slides.extent(k) <= n for k, n in enumerate(slides.stride))
    return pairs.maximum(function, both, earlier, least=op.form == "minimum", apart=apart)


def _select(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    boolean = [a.dtype == pairs.xp.bool for a in op.inputs]
    if sum(boolean) != 1:
        raise CoverageError(
            f"deeplift knows {op.name} in {op.path or 'the model'} where something true or false"
            " chooses, not a number.\n  integrated_gradients needs no rules."
        )
    switch = boolean.index(True)
    flipped = pairs.xp.not_equal(op.inputs[switch], reference[switch])
    if pairs.adapter.is_known(flipped) and not bool(pairs.xp.any(flipped)):
        return op()
    places = [i for i in _live(op) if not boolean[i]]
    both = tuple(Pair(op.inputs[i], reference[i]) for i in places)
    before = op(inputs=reference)
    if any(tuple(p.value.shape) != tuple(before.shape) for p in both):
        raise CoverageError(
            f"deeplift knows {op.name} in {op.path or 'the model'}, whose condition is not the same"
            " for the baseline, only where all that it chooses from has one shape.\n"
            "  integrated_gradients needs no rules."
        )
    return pairs.select(at(op, places), both, before, flipped)


def _product(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    i, j = _live(op)
    return pairs.product(
        at(op, [i, j]), Pair(op.inputs[i], reference[i]), Pair(op.inputs[j], reference[j])
    ).value


def _quotient(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    a, b = (Pair(op.inputs[i], reference[i]) for i in _live(op))
    return pairs.quotient(a, b).value


def _squared_difference(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    a, b = (Pair(op.inputs[i], reference[i]) for i in _live(op))
    return pairs.squared_difference(a, b).value


def _softmax(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    (place,) = _live(op)
    function = pairs.softmax if op.form == "softmax" else pairs.log_softmax
    made = function(Pair(op.inputs[place], reference[place]), _axes(op))
    return pairs.keep(op(), made.value)


def _axes(op: Operation) -> int | tuple[int, ...]:
    axes = op.arguments["axis"]
    return tuple(map(int, axes)) if isinstance(axes, list | tuple) else int(axes)


def _log_sum(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    (place,) = _live(op)
    y = op()
    through = pairs.log_sum(Pair(op.inputs[place], reference[place]), _axes(op))
    return pairs.keep(y, pairs.xp.reshape(through, tuple(y.shape)))


def _normalisation(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    xp, settings = pairs.xp, op.arguments
    x, x_reference = op.inputs[0], reference[0]
    shape, rank = tuple(x.shape), len(x.shape)
    epsilon = settings.get("eps")
    weights: tuple[Any, ...] = (op.weights.get("weight"), op.weights.get("bias"))
    if op.form in {"layer_norm", "rms_norm"}:
        axes = tuple(range(rank - len(tuple(settings["normalized_shape"])), rank))
        inner, over = shape, axes
        if epsilon is None:
            epsilon = float(xp.finfo(x.dtype).eps) if op.form == "rms_norm" else 1e-5
    else:
        groups = int(settings["num_groups"]) if op.form == "group_norm" else shape[1]
        inner = (shape[0], groups, -1)
        over = (2,)
        if op.form == "instance_norm" and settings.get("use_input_stats") is False:
            return op()
        wide = (-1, *(1,) * (rank - 2))
        weights = tuple(None if w is None else xp.reshape(w, wide) for w in weights)
        epsilon = 1e-5 if epsilon is None else epsilon
    pair = Pair(xp.reshape(x, inner), xp.reshape(x_reference, inner))
    made = pairs.normalised(pair, over, float(epsilon), op.form != "rms_norm").value
    made = xp.reshape(made, shape)
    made = made if weights[0] is None else made * weights[0]
    made = made if weights[1] is None else made + weights[1]
    return pairs.keep(op(), made)


def _euclidean_norm(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    (place,) = _live(op)
    return pairs.euclidean_norm(at(op, [place]), Pair(op.inputs[place], reference[place])).value


def _attention(pairs: Pairs, op: Operation, reference: tuple[Array, ...]) -> Array:
    xp, settings = pairs.xp, settings_of(op, "deeplift")
    query, key, value = (Pair(op.inputs[i], reference[i]) for i in range(3))

    def similar(q: Array, k: Array) -> Array:
        return xp.matmul(q, xp.matrix_transpose(k)) * settings.scale

    scores = pairs.product(similar, query, key)
    before = settings
    if settings.mask is not None and len(op.inputs) > 3 and op.inputs[3] is settings.mask:
        before = settings._replace(mask=reference[3])
    both = settings.masked(xp, pairs.stop(scores.value)), before.masked(xp, scores.reference)
    share = pairs.softmax(pairs.masked(scores, *both), -1)
    return pairs.keep(op(), pairs.product(xp.matmul, share, value).value)


_RULES: dict[str, Callable[[Pairs, Operation, tuple[Array, ...]], Array]] = {
    "rescale": _elementwise,
    "select": _select,
    "product": _product,
    "quotient": _quotient,
    "squared_difference": _squared_difference,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "logsumexp": _log_sum,
    "layer_norm": _normalisation,
    "rms_norm": _normalisation,
    "group_norm": _normalisation,
    "instance_norm": _normalisation,
    "euclidean_norm": _euclidean_norm,
    "dot_product_attention": _attention,
}
