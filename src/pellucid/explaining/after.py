"""What is checked of a method's attributions, and what looks suspicious about them."""

import numpy as np

from pellucid.adapters.callable import CallableAdapter
from pellucid.adapters.protocol import Tier
from pellucid.arrays import all_finite
from pellucid.errors import MethodError, ModelError
from pellucid.inputs.batch import Batch
from pellucid.methods.base import Attribution, Method
from pellucid.model import Model

_WIDE_GAP = 0.05
"""The share of f(x) − f(x') that may be missing before a result says so."""

_WIDE_FOR_RULES = 0.01
"""The same for methods by rules, of whose parts only rounding may be missing."""

_EXPLODED = 1e3
"""How many times the largest output one value may be before a result of relevance says so."""

_PICTURE = 8
"""Sides from which on a square is taken for a picture's."""


def check_values(method: Method, found: Attribution, batch: Batch) -> None:
    """Raise an error for maps of another shape than declared, or that are not finite."""
    if len(found.values) != len(batch.arrays):
        raise MethodError(
            f"Expected {method.name} to return {len(batch.arrays)} array(s), one an input, got"
            f" {len(found.values)}."
        )
    for i, (values, name) in enumerate(zip(found.values, batch.names, strict=True)):
        _check_shape(method, values, batch, i, None if found.dims is None else found.dims[i])
        if not all_finite(values):
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            where = (
                f"{method.name} found NaN or infinity for {name} in the rows {bad[:20].tolist()}"
            )
            if method.family == "custom" or method.needs < Tier.DIFFERENTIABLE:
                raise ModelError(f"{where}.\n  A division by zero is a usual cause.")
            raise ModelError(
                f"{where}: the model's derivative is not finite there.\n"
                "  occlusion needs no derivative; a square root or logarithm at 0 is a usual cause."
            )


def _check_shape(
    method: Method,
    values: np.ndarray,
    batch: Batch,
    number: int,
    dims: tuple[str, ...] | None,
) -> None:
    """A map has the input's shape, that without its channels, or one whose axes are named."""
    array, own = batch.arrays[number], batch.dims[number]
    shape = tuple(np.shape(values))
    flat = tuple(s for s, d in zip(array.shape, own, strict=True) if d != "channel")
    if dims is None:
        fits = shape in {array.shape, flat}
    else:
        fits = len(shape) == len(dims) and shape[0] == len(batch)
    if not fits:
        either = f" or {flat}" if flat != array.shape else ""
        wanted = f"shape {array.shape}{either}" if dims is None else f"the axes {dims}"
        raise MethodError(
            f"Expected {method.name} to return one map a sample for {batch.names[number]}, with"
            f" {wanted}, got shape {shape}."
        )


def suspicions(method: Method, found: Attribution, batch: Batch) -> tuple[str, ...]:
    """Warnings about maps that are right but say little."""
    if method.family == "controls":
        return ()
    return _without_gradient(method, found, batch) + _empty_maps(found, batch)


def doubtful_layout(model: Model, batch: Batch) -> tuple[str, ...]:
    """Warnings where a function's inputs look like other ones than they were read as."""
    adapter = model.adapter
    if not isinstance(adapter, CallableAdapter) or adapter.layout_known:
        return ()
    found = [
        _doubt(name, array, dims, told=model.input_shapes is not None)
        for name, array, dims in zip(batch.names, batch.arrays, batch.dims, strict=True)
    ]
    return tuple(filter(None, found))


def read_as(model: Model, batch: Batch) -> tuple[str, ...]:
    """Notes on what a function's inputs of three axes were taken for; it does not say itself."""
    if not isinstance(model.adapter, CallableAdapter):
        return ()
    return tuple(
        f"{name} was read as series: {' × '.join(dims)}"
        for name, dims in zip(batch.names, batch.dims, strict=True)
        if "step" in dims
    )


def _doubt(name: str, array: np.ndarray, dims: tuple[str, ...], *, told: bool) -> str:
    if dims == ("sample", "height", "width", "channel"):
        if array.shape[1] not in {1, 3, 4} or array.shape[3] <= 4:
            return ""
        return (
            f"{name} was read as height × width × channels, but its shape looks like channels"
            " first: wrap(function, channels='first'), or 'last' if it is right as it is"
        )
    if dims not in {("sample", "step", "channel"), ("sample", "channel", "step")}:
        return ""
    count, first, last = array.shape
    shape = f"{name} of shape {array.shape} was read as {count} series of {first} steps × {last}"
    if first == last >= _PICTURE:
        return (
            f"{shape} channels, but it looks like pictures without channels: pass x[..., None] for"
            " those, or wrap(function, channels='last') if it is right as it is"
        )
    if not told and count == first >= _PICTURE and last in {1, 3, 4}:
        return (
            f"{shape} channels, but it looks like one picture: pass x[None], or"
            f" wrap(function, inputs={array.shape}), for that; wrap(function, channels='last') if"
            " it is right as it is"
        )
    return ""


def _without_gradient(method: Method, found: Attribution, batch: Batch) -> tuple[str, ...]:
    """A word for the zeros that inputs of whole numbers get from gradients."""
    if method.family != "gradient":
        return ()
    triples = zip(batch.names, batch.arrays, found.values, strict=True)
    whole = [n for n, a, v in triples if a.dtype.kind != "f" and not np.any(v)]
    if not whole:
        return ()
    names = ", ".join(map(repr, whole))
    return (
        f"{names}: whole numbers have no gradient, so the map there is zero; occlusion gives them"
        " one",
    )


_AGAINST = "all the evidence speaks against the target and was cut off; relu=False shows it"
_NO_DIFFERENCE = "the baseline is the input itself, so there is nothing to attribute"
_NO_REACTION = "the explained score does not react to the input there (it is saturated or dead)"


def _empty_maps(found: Attribution, batch: Batch) -> tuple[str, ...]:
    """A word for maps of zeros, with the reason as far as it can be known."""
    samples: dict[str, list[int]] = {}
    for i in range(len(found.values[0])):
        if any(np.any(values[i]) for values in found.values):
            continue
        if found.all_against is not None and found.all_against[i]:
            reason = _AGAINST
        elif found.baseline is not None and _same(found.baseline, batch, i):
            reason = _NO_DIFFERENCE
        else:
            reason = _NO_REACTION
        samples.setdefault(reason, []).append(i)
    return tuple(
        f"the map of sample(s) {numbers[:20]} is zero everywhere: {reason}"
        for reason, numbers in samples.items()
    )


def _same(baseline: tuple[np.ndarray, ...], batch: Batch, sample: int) -> bool:
    """Whether the reference of a sample is the sample."""
    pairs = zip(baseline, batch.arrays, strict=True)
    return all(
        np.array_equal(b[sample], a[sample], equal_nan=a.dtype.kind == "f") for b, a in pairs
    )


def without_rules(found: Attribution) -> tuple[str, ...]:
    """A warning where operations passed on their plain gradient for want of a rule."""
    if not found.uncovered:
        return ()
    named = ", ".join(found.uncovered[:5]) + (", ..." if len(found.uncovered) > 5 else "")
    return (
        f"{len(found.uncovered)} operation(s) without a rule passed on their plain gradient, as"
        f" on_uncovered='gradient' allows: {named}",
    )


def wide_gaps(
    method: Method, found: Attribution, gap: np.ndarray | None, score: np.ndarray
) -> tuple[str, ...]:
    """A warning where the values do not add up, unless the method has said so itself.

    Rules add up but for rounding, so that less than of an integral's steps is too much.
    """
    if gap is None or method.shares_with_biases:
        return ()
    if any("not converged" in warning for warning in found.warnings):
        return ()
    by_rules, before = method.family == "backward", found.baseline_score
    is_wide = gap > _WIDE_GAP
    if by_rules and before is not None:
        ends = np.abs([score, np.broadcast_to(before, np.shape(score))])
        missing = gap * np.abs(score - before)
        is_wide = is_wide | ((gap > _WIDE_FOR_RULES) & (missing > 1e-3 * ends.max(axis=0)))
    wide = np.flatnonzero(is_wide)
    if not wide.size:
        return ()
    advice = (
        "a mask that is another one for the baseline is a usual cause, or rounding"
        if by_rules
        else "more steps may help"
    )
    return (
        f"the values of sample(s) {wide[:20].tolist()} do not add up to what they share out: up to"
        f" {gap.max():.0%} of it is missing or too much (see `gap`); {advice}",
    )


def exploded(
    method: Method, found: Attribution, score: np.ndarray, outputs: np.ndarray | None
) -> tuple[str, ...]:
    """A warning where relevance is far larger than anything that was to be shared out."""
    if not method.shares_with_biases:
        return ()
    whole = np.abs(np.asarray(score, np.float64)).reshape(len(score), -1).max(axis=1)
    if outputs is not None and len(outputs) == len(score):
        whole = np.maximum(whole, np.abs(outputs).reshape(len(score), -1).max(axis=1))
    each = [np.abs(v).reshape(len(v), -1).max(axis=1, initial=0) for v in found.values]
    largest = np.max(each, axis=0)
    far = np.flatnonzero(largest > _EXPLODED * whole)
    if not far.size:
        return ()
    worst = far[np.argmax(largest[far])]
    return (
        f"the relevance of sample(s) {far[:20].tolist()} has exploded: single values of"
        f" {largest[worst]:.2g} for outputs of {whole[worst]:.2g}, so what was shared out cancelled"
        " almost wholly on its way; a larger epsilon, or a composite such as epsilon_plus, keeps it"
        " bounded",
    )
