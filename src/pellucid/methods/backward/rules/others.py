"""Rules of what has no weights: products, normalisations, attention."""

from collections.abc import Callable, Sequence

from pellucid.adapters.protocol import Operation
from pellucid.errors import CoverageError
from pellucid.methods.backward.parts import at, settings_of
from pellucid.methods.backward.rules.arithmetic import Arithmetic
from pellucid.types import Array


def live_places(op: Operation, planned: Sequence[bool]) -> list[int]:
    """Which inputs carry relevance."""
    return [i for i, live in enumerate(planned) if live]


def halved(made: Arithmetic, function: Callable[..., Array], a: Array, b: Array) -> Array:
    """A product's relevance by halves to both factors (Achtibat et al. 2024, eq. 13, 15).

    R_a = Σ a b / (2 z ± ε) R, and the same for b.
    """
    z = function(made.stop(a), made.stop(b))
    slope = 0.5 * made.epsilon_slope(z)
    surrogate = (function(a, made.stop(b)) + function(made.stop(a), b)) * slope
    return made.keep(z, surrogate)


def to_one(made: Arithmetic, op: Operation, places: Sequence[int], taker: int) -> Array:
    """A product's relevance to one factor alone, the other taken for a constant.

    So a gate gives its relevance to the signal (Arras et al. 2017, section 3.1), and a
    normalisation, 1/σ, to what it scales (Achtibat et al. 2024, proposition 3.4).
    """
    inputs = list(op.inputs)
    for place in places:
        if place != taker:
            inputs[place] = made.stop(inputs[place])
    return op(inputs=tuple(inputs))


def squared_difference(made: Arithmetic, op: Operation, places: Sequence[int]) -> Array:
    """(a − b)² as an activation of a − b."""
    difference = op.inputs[places[0]] - op.inputs[places[1]]
    return made.keep(op(), difference * made.stop(difference))


def elementwise(made: Arithmetic, op: Operation, place: int) -> Array:
    """An activation passes relevance on: R_x = R_y, number by number."""
    x, y = op.inputs[place], at(op, [place])(made.stop(op.inputs[place]))
    if tuple(y.shape) != tuple(x.shape):
        raise CoverageError(
            f"lrp takes {op.name} in {op.path or 'the model'} for an activation, but it turns"
            f" {tuple(x.shape)} into {tuple(y.shape)}.\n  integrated_gradients needs no rules."
        )
    return made.passing(x, y)


def normalised(made: Arithmetic, op: Operation) -> Array:
    """A layer, group, instance or root-mean-square norm with its σ taken for a constant."""
    xp, settings = made.xp, op.arguments
    x = op.inputs[0]
    shape, rank = tuple(x.shape), len(x.shape)
    weight = op.weights.get("weight")
    epsilon = settings.get("eps")
    if op.form in {"layer_norm", "rms_norm"}:
        size = len(tuple(settings["normalized_shape"]))
        inner, axes = shape, tuple(range(rank - size, rank))
        if epsilon is None:
            epsilon = float(xp.finfo(x.dtype).eps) if op.form == "rms_norm" else 1e-5
    else:
        groups = int(settings["num_groups"]) if op.form == "group_norm" else shape[1]
        if op.form == "instance_norm" and settings.get("use_input_stats") is False:
            return op()
        inner, axes = (shape[0], groups, -1), (2,)
        weight = None if weight is None else xp.reshape(weight, (-1, *(1,) * (rank - 2)))
    flat = xp.reshape(x, inner)
    centred = flat if op.form == "rms_norm" else flat - xp.mean(flat, axis=axes, keepdims=True)
    fixed = made.stop(centred)
    spread = xp.mean(fixed * fixed, axis=axes, keepdims=True) + (
        1e-5 if epsilon is None else epsilon
    )
    surrogate = xp.reshape(centred / xp.sqrt(spread), shape)
    return made.keep(op(), surrogate if weight is None else surrogate * weight)


def attention(made: Arithmetic, op: Operation, *, frozen: bool) -> Array:
    """Scaled dot-product attention as the products and the softmax it is made of.

    The softmax by its Taylor expansion, R_i = x_i (R_i − s_i Σ_j R_j) (Achtibat et al. 2024,
    eq. 11), which is what its own derivative does. `frozen` takes the weights for constants.
    """
    xp, settings = made.xp, settings_of(op, "lrp")
    query, key, value = op.inputs[:3]
    scores = halved(made, lambda q, k: xp.matmul(q, xp.matrix_transpose(k)), query, key)
    scores = settings.masked(xp, scores * settings.scale)
    powers = xp.exp(scores - made.stop(xp.max(scores, axis=-1, keepdims=True)))
    share = powers / xp.sum(powers, axis=-1, keepdims=True)
    if frozen:
        return made.keep(op(), xp.matmul(made.stop(share), value))
    return made.keep(op(), halved(made, xp.matmul, share, value))
