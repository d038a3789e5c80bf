"""Reference inputs: what "nothing there" means for a model."""

from typing import Any

import numpy as np

from pellucid.arrays import blur
from pellucid.errors import InputError, quote_nearest
from pellucid.inputs.layout import space_axes
from pellucid.inputs.noise import draw_normal
from pellucid.types import is_array, shape_of

NAMES = ("zeros", "mean", "blur", "noise")


def make_baseline(
    spec: Any,
    x: np.ndarray,
    dims: tuple[str, ...],
    *,
    seed: int,
    name: str = "x",
    keep_integers: bool = True,
) -> np.ndarray:
    """The reference for a batch `x`, of its shape and dtype.

    `spec` is a number; an array of the input's shape, with or without the batch axis; "zeros";
    "mean" (each sample's mean, per channel); "blur" (Gaussian, sigma an eighth of the longest
    side); "noise" (normal around the middle of each sample's range, a quarter of the range wide and
    clipped to it; the same draw for every sample). "mean" and "noise" are of one sample's own
    numbers, so for a table they want an input with axes: pass a typical row of the data instead.
    Integer inputs (ids) are kept as they are unless an array is given, for no path leads through
    whole numbers; with `keep_integers=False` they get the baseline too, rounded where it is named.

    Raises `InputError` for an unknown name or a shape that does not fit.
    """
    real = np.issubdtype(x.dtype, np.floating)
    if isinstance(spec, str):
        _check_name(spec)
        if real:
            return _named(spec, x, dims, seed).astype(x.dtype)
        if keep_integers:
            return x.copy()
        return np.rint(_named(spec, x.astype(np.float32), dims, seed)).astype(x.dtype)
    if isinstance(spec, int | float | np.number):
        if not np.isfinite(spec):
            raise InputError(f"Expected a finite baseline, got {spec!r}.")
        if not real and keep_integers:
            return x.copy()
    try:
        array = np.asarray(spec)
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise ValueError("it holds values that are no finite numbers")
        if array.ndim not in {0, x.ndim - 1, x.ndim}:
            raise ValueError(f"it has {array.ndim} axes")
        wide = array if array.ndim == x.ndim else array[None]
        with np.errstate(invalid="ignore"):
            if not real and not (array == array.astype(x.dtype)).all():
                raise ValueError(f"the input is of type {x.dtype}, which does not hold it")
        return np.broadcast_to(wide, x.shape).astype(x.dtype, order="C")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"The baseline of {name} does not fit: expected a number, one of {NAMES}, or an array"
            f" of shape {x.shape} or {x.shape[1:]}, got {_describe(spec)} ({error})."
        ) from error


def _describe(spec: Any) -> str:
    return f"an array of shape {shape_of(spec)}" if is_array(spec) else type(spec).__name__


def _check_name(spec: str) -> None:
    if spec == "dataset":
        raise InputError(
            "baseline='dataset' stands for many rows, and one reference is needed here: pass a row"
            " of the data, or its mean, as an array.\n"
            "  Methods that average over rows take them as background=, such as kernel_shap and"
            " expected_gradients."
        )
    if spec not in NAMES:
        raise InputError(
            f"Unknown baseline {spec!r}: expected one of {NAMES}, a number or an array."
            f" {quote_nearest(spec, NAMES)}"
        )


def _named(spec: str, x: np.ndarray, dims: tuple[str, ...], seed: int) -> np.ndarray:
    space = space_axes(dims)
    if spec == "zeros":
        return np.zeros_like(x)
    if spec == "mean":
        axes = space or tuple(range(1, x.ndim))
        return np.broadcast_to(x.mean(axis=axes, keepdims=True), x.shape)
    if spec == "blur":
        if not space:
            raise InputError("baseline='blur' needs an input with a spatial or time axis.")
        return blur(x, max(x.shape[a] for a in space) / 8, space)
    axes = tuple(range(1, x.ndim))
    low, high = x.min(axis=axes, keepdims=True), x.max(axis=axes, keepdims=True)
    draw = draw_normal(np.random.default_rng([seed, 1]), x.shape[1:], dims[1:])
    return np.clip((low + high) / 2 + (high - low) / 4 * draw, low, high)
