"""Which input of a model is made by feature visualisation, and what the others are held at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import CapabilityError, InputError, quote_close
from pellucid.inputs.batch import Batch
from pellucid.model import Model


@dataclass(frozen=True)
class Start:
    """One sample in the model's own structure, whose input number `part` is to be made.

    `real` are the inputs `(n, ...)` of that number that were given as data, None without;
    `name` is empty where there is one input.
    """

    sample: Any
    part: int
    name: str
    real: np.ndarray | None
    columns: tuple[str, ...] | None


def start_of(
    wrapped: Model, data: Any, held: Any, shape: Sequence[int] | None, chosen: str | int | None
) -> Start:
    """What to start from: rows of `data` or `held`, or zeros of the `shape`.

    Raises `InputError` where the shape, the input meant or the others' values are missing,
    `CapabilityError` for an input without a gradient.
    """
    if held is not None:
        kept = wrapped.accept(held)
        _check_one(kept)
    elif data is not None:
        kept = wrapped.accept(data)
    else:
        return Start(_zeros(wrapped, shape), 0, "", None, None)
    part = _part(kept, chosen)
    if kept.arrays[part].dtype.kind != "f":
        raise CapabilityError(
            f"Inputs of {kept.arrays[part].dtype} have no gradient, so none can be optimised."
        )
    # What was accepted last is what the sample is put together like.
    sample = wrapped.adapter.restore([a[:1] for a in kept.arrays])
    real = None if data is None else (kept if held is None else wrapped.accept(data))
    return Start(
        sample,
        part,
        kept.names[part] if len(kept.arrays) > 1 else "",
        None if real is None else real.arrays[part],
        None if real is None else real.columns,
    )


def _check_one(kept: Batch) -> None:
    if len(kept) != 1:
        raise InputError(
            f"Expected held to be one sample, whose other inputs are kept, got {len(kept)}."
        )


def _part(kept: Batch, chosen: str | int | None) -> int:
    names = kept.names
    if chosen is None and len(names) == 1:
        return 0
    if isinstance(chosen, str) and chosen in names:
        return names.index(chosen)
    if isinstance(chosen, int | np.integer) and not isinstance(chosen, bool):
        number = int(chosen)
        if 0 <= number < len(names):
            return number
    if chosen is None:
        raise InputError(
            f"This model has {len(names)} inputs: name the one to make, input={names[0]!r} for"
            " instance; the others are held at held=, or at the first row of data."
        )
    raise InputError(f"The model has no input {chosen!r}. {quote_close(str(chosen), names)}")


def _zeros(wrapped: Model, shape: Sequence[int] | None) -> np.ndarray:
    """One input of zeros, of the shape given or of the model's own."""
    if shape is not None:
        given = [int(s) for s in shape]
        if not given or min(given) < 1:
            raise InputError(f"Expected shape to be that of one input, got {tuple(shape)!r}.")
        return np.zeros((1, *given), dtype=np.float32)
    specs = wrapped.inputs
    if specs is not None and len(specs) > 1:
        raise InputError(
            f"This model has {len(specs)} inputs: input={specs[0].name!r} for instance, with the"
            " others held at held=, one sample, or at the first row of data=."
        )
    (spec,) = specs or (None,)
    known = None if spec is None or not spec.certain else spec.shape
    if known is None or None in known:
        raise InputError(
            f"The model does not say the shape of its inputs ({known}): shape=(3, 224, 224), say,"
            " without a batch axis, or data=."
        )
    return np.zeros((1, *(s or 1 for s in known)), dtype=np.float32)
