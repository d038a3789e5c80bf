"""What can be wrong with a batch of inputs, and what to do about it."""

from collections.abc import Mapping, Sized
from itertools import combinations
from typing import Any

import numpy as np

from pellucid.adapters.protocol import InputSpec
from pellucid.arrays import all_finite
from pellucid.errors import InputError
from pellucid.types import Leaves


def specs_for(count: int, specs: tuple[InputSpec, ...] | None) -> tuple[InputSpec, ...] | None:
    """What is known of each of `count` inputs; nothing, where a guess was of another number."""
    if specs is None or len(specs) == count:
        return specs
    if not all(s.certain for s in specs):
        return None
    raise InputError(
        f"Expected {len(specs)} inputs ({', '.join(s.name for s in specs)}), got {count}."
    )


def check_text(leaves: Leaves, names: tuple[str, ...], specs: tuple[InputSpec, ...] | None) -> None:
    """Raise `InputError` for text where numbers are expected."""
    for leaf, name, spec in zip(leaves, names, specs or (None,) * len(leaves), strict=True):
        wants_text = spec is None or spec.dtype in {None, "string"}
        if "string" in str(leaf.dtype) and not wants_text:
            raise InputError(f"Expected numbers for {name}, got text.")


def refuse_swapped(shapes: list[tuple[int, ...]], specs: tuple[InputSpec, ...] | None) -> None:
    """Raise `InputError` for two inputs of which each has the shape of the other."""
    for i, j in combinations(range(len(shapes)), 2):
        if specs is None or _fits(shapes[i], specs[i]) or _fits(shapes[j], specs[j]):
            continue
        if _fits(shapes[i], specs[j]) and _fits(shapes[j], specs[i]):
            raise InputError(
                f"Expected {specs[i].name} of shape {_shown(specs[i])} and {specs[j].name} of shape"
                f" {_shown(specs[j])} per sample, got {shapes[i]} and {shapes[j]}.\n  Each has the"
                " shape of the other: exchange the two."
            )


def _fits(shape: tuple[int, ...], spec: InputSpec) -> bool:
    """Whether an input may be meant by `spec`, with a batch axis or without."""
    if spec.shape is None or not spec.certain:
        return True
    given = shape[len(shape) - len(spec.shape) :]
    axes = len(spec.shape)
    sizes = zip(spec.shape, given, strict=False)
    return len(shape) in {axes, axes + 1} and all(w is None or w == g for w, g in sizes)


def lacks_batch_axis(shape: tuple[int, ...], spec: InputSpec | None) -> bool:
    """Whether an input is one sample; `InputError` for a rank that fits neither way."""
    if spec is None or spec.shape is None:
        return len(shape) == 1
    wanted = len(spec.shape)
    if len(shape) == wanted:
        return True
    if len(shape) == wanted + 1 or not spec.certain:
        return False
    raise InputError(
        f"Expected {spec.name} to have shape {_shown(spec)}, with or without a batch axis,"
        f" got {len(shape)} axes: {shape}."
    )


def check_arrays(
    arrays: tuple[np.ndarray, ...],
    names: tuple[str, ...],
    specs: tuple[InputSpec, ...] | None,
    *,
    missing: bool = False,
) -> None:
    """Raise `InputError` for shapes, lengths and numbers that no model could take.

    With `missing`, NaN is for the model to refuse.
    """
    lengths = {a.shape[0] for a in arrays if a.ndim}
    if any(a.ndim == 0 for a in arrays):
        raise InputError("Expected arrays with at least one axis, got a single number.")
    if len(lengths) > 1:
        raise InputError(f"The inputs have different numbers of samples: {sorted(lengths)}.")
    if 0 in lengths:
        raise InputError("The batch is empty: there is nothing to explain.")
    for i, (a, name) in enumerate(zip(arrays, names, strict=True)):
        spec = specs[i] if specs else None
        if a.size == 0:
            raise InputError(f"{name} has an empty axis: shape {a.shape}.")
        if spec is not None and spec.certain and spec.shape is not None:
            fits = all(w is None or w == g for w, g in zip(spec.shape, a.shape[1:], strict=True))
            if not fits:
                raise InputError(
                    f"Expected {name} to have shape {_shown(spec)} per sample, got {a.shape[1:]}."
                    + _shape_hint(spec.shape, a.shape)
                )
        if a.dtype.kind != "f" or all_finite(a):
            continue
        flat = a.reshape(len(a), -1)
        fine = ~np.isinf(flat) if missing else np.isfinite(flat)
        if not fine.all():
            bad = np.flatnonzero(~fine.all(axis=1))
            infinite = not np.isnan(flat).any() or missing
            if infinite:
                raise InputError(
                    f"{name} holds infinity in the rows {bad[:20].tolist()} of the batch.\n"
                    "  Infinity is no value that effects can be told from: clip it to the largest"
                    " number that means something, or drop those rows."
                )
            raise InputError(
                f"{name} holds NaN or infinity in the rows {bad[:20].tolist()} of the batch.\n"
                "  Impute or drop them; or wrap(model, missing_values=True), if the model takes NaN"
                " for what is missing in a table."
            )


def check_background(given: Any) -> None:
    """Raise `InputError` for a background without rows, and for shap's own kind of one."""
    if type(given).__name__ == "DenseData":
        raise InputError(
            "background= is a shap DenseData, as shap.kmeans makes it: weighted centres, which are"
            " no rows of the data.\n  pellucid.inputs.summarise(rows, 10, how='kmeans') makes a"
            " background of weighted rows; or WeightedRows(kmeans.data, kmeans.weights)."
        )
    one_input = not isinstance(given, tuple | Mapping)
    if one_input and isinstance(given, Sized) and len(given) == 0:
        raise InputError("background= has no rows: pass some rows of the data.")


def _shape_hint(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    """What to do about a shape, where it is one of the usual mistakes."""

    def fits(shape: tuple[int, ...]) -> bool:
        pairs = zip(wanted, shape, strict=False)
        return len(shape) == len(wanted) and all(w is None or w == g for w, g in pairs)

    if len(given) > 2 and fits((*given[2:], given[1])):
        return "\n  The channels come last here: numpy.moveaxis(x, 1, -1)."
    if len(given) > 2 and fits((given[-1], *given[1:-1])):
        return "\n  The channels come first here: numpy.moveaxis(x, -1, 1)."
    if fits((*given[1:], 1)) or fits((*given, 1)[1:]):
        return "\n  The channel axis is missing: x[..., None]."
    return ""


def _shown(spec: InputSpec) -> str:
    inner = ", ".join("any" if d is None else str(d) for d in spec.shape or ())
    return f"({inner})"
